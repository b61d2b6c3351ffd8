"""The open loop of the benchmark: requests come at their rate, without waiting for answers. Run by `bench.load`.

Without an event loop: one system call per request and one per read. Moments are exact on both sides: a request's is
taken before it is written, an answer's is the kernel's own, of when the bytes came to the socket. How long they waited
there for this process, which shares its core with the models, does not count.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from bench.answer import Answer, Outcome
from bench.job import Job

FIRST = 0.05
"""Seconds from the last connection to the first request."""

GRAIN = 0.001
"""Seconds between two reads of answers. Each costs a wake-up; a late read does not make an answer late."""

_SLACK = Path("/proc/self/timerslack_ns")
"""Nanoseconds by which a sleep may be longer, 50,000 by default. Requests due within that time would go as one."""

_STAMPED = 35  # SO_TIMESTAMPNS, which Python does not name
_STAMP = struct.Struct("qq")
_STAMP_ROOM = socket.CMSG_SPACE(_STAMP.size)
_READ = 8192  # bytes: far more than comes at once


class Caller:
    """One keep-alive connection."""

    def __init__(self, loop: OpenLoop, port: int) -> None:
        self._loop = loop
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _STAMPED, 1)
        self._answer: Answer | None = None

    def fileno(self) -> int:
        """File descriptor of its socket, for a poll."""
        return self._socket.fileno()

    def send(self) -> float:
        """Sends a request, and says when."""
        sent = time.time()
        self._answer = Answer(sent, self._loop.last)
        with contextlib.suppress(ConnectionError):  # a read finds it closed
            self._socket.send(self._loop.request)
        return sent

    def read(self) -> None:
        """Reads what came; it can be read."""
        try:
            data, extra, _, _ = self._socket.recvmsg(_READ, _STAMP_ROOM)
        except ConnectionError:
            data = b""
        if not data:
            self._loop.lost(self, busy=self._answer is not None)
        elif self._answer is not None:
            good = self._answer.take(data, _moment(extra), self._loop.outcome)
            if good is not None:
                self._answer = None
                self._loop.answered(self, good)

    def close(self) -> None:
        """Closes the connection. Requests under way are dropped."""
        self._socket.close()


def _moment(extra: list[tuple[int, int, bytes]]) -> float:
    """When the last of the bytes came to the socket, in seconds of `time.time`."""
    if not extra:
        return time.time()  # the kernel begins to stamp a moment after the first socket has asked for it
    seconds, nanoseconds = _STAMP.unpack(extra[0][2])
    return float(seconds + nanoseconds * 1e-9)


class OpenLoop:
    """A job with a rate: requests come as those of people who do not know of each other.

    A Poisson process, on the connection that has been free the longest; where none is, a request waits for one. A whole
    answer that is under way at the end is awaited, a stream is left.
    """

    def __init__(self, job: Job, rate: float) -> None:
        self.outcome = Outcome()
        self.request, self.last = job.request(), job.last_bytes()
        self._job = job
        self._rate = rate
        self._random = random.Random(rate)
        self._poll = select.epoll()
        self._callers: dict[int, Caller] = {}
        self._idle: deque[Caller] = deque()
        self._due: deque[float] = deque()  # of requests that wait for a connection
        self._under_way = 0

    def answered(self, caller: Caller, good: bool) -> None:
        """An answer is whole; its connection takes the request that has waited longest, or waits for one itself."""
        self.outcome.answers += good
        self.outcome.failed += not good
        self._under_way -= 1
        self._idle.append(caller)
        self._send()

    def lost(self, caller: Caller, *, busy: bool) -> None:
        """A connection has ended, in the middle of an answer or between two."""
        del self._callers[caller.fileno()]
        caller.close()
        if busy:
            self.outcome.failed += 1
            self._under_way -= 1
        else:
            self._idle.remove(caller)

    def play(self) -> Iterator[Outcome]:
        """Runs the job: an outcome per window. Prints an empty line when one begins to count, and one when it ends."""
        _SLACK.write_text("1")
        try:
            self._connect()
            self._next = time.time() + FIRST
            self._run(self._next + self._job.warm)
            for _ in range(self._job.windows):
                yield self._window()
        finally:
            for caller in self._callers.values():
                caller.close()
            self._poll.close()

    def _window(self) -> Outcome:
        self.outcome = outcome = Outcome()
        self._random.seed(self._rate)  # the same arrivals for every proxy
        self._next = max(self._next, time.time())  # what would have come since the last window does not
        os.write(1, b"\n")
        started, cpu = time.perf_counter(), time.process_time()
        self._run(self._next + self._job.seconds)
        outcome.seconds, outcome.cpu = time.perf_counter() - started, time.process_time() - cpu
        os.write(1, b"\n")
        if not self._job.streamed:
            self._rest()
            outcome.failed += self._under_way + len(self._due)
        return outcome

    def _connect(self) -> None:
        for _ in range(self._job.connections):
            caller = Caller(self, self._job.port)
            self._callers[caller.fileno()] = caller
            self._poll.register(caller, select.EPOLLIN)
        self._idle.extend(self._callers.values())

    def _run(self, end: float) -> None:
        """Everything that comes before `end`, and nothing after it, though this process may be held up."""
        while (now := time.time()) < end:
            time.sleep(max(0.0, min(self._next - now, GRAIN)))
            self._arrive(end)
            self._read()
        self._arrive(end)

    def _rest(self) -> None:
        end = time.time() + self._job.timeout
        while self._under_way and time.time() < end:
            time.sleep(GRAIN)
            self._read()

    def _read(self) -> None:
        for descriptor, _ in self._poll.poll(0):
            self._callers[descriptor].read()

    def _arrive(self, end: float) -> None:
        now = min(time.time(), end)
        while self._next < now:
            self._due.append(self._next)
            self._next += self._random.expovariate(self._rate)
        self._send()

    def _send(self) -> None:
        while self._due and self._idle:
            self._under_way += 1
            self.outcome.late.append(self._idle.popleft().send() - self._due.popleft())
