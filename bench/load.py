"""The load of the benchmark: a raw asyncio client, so that it is not what is measured. Run as a process of its own.

`python -m bench.load '{"port": 8080, ...}'` prints one JSON line. A closed loop of `connections` for plain answers;
`connections` streams at once for streamed ones. Ends after `total` answers or at `timeout`, whichever is first, and
says how many failed. With a `rate` it is an open loop instead, which prints an empty line when it begins to
count, and one when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import cast

import msgspec
import uvloop

from bench.alarm import Alarm

FIRST = 0.05
"""Seconds from an open loop's last connection to its first request."""


class Job(msgspec.Struct, kw_only=True):
    """What to send, and how much of it."""

    port: int
    path: str = "/v1/chat/completions"
    body: str
    headers: dict[str, str] = {}
    connections: int = 32
    total: int = 1000
    streamed: bool = False
    last: str = "[DONE]"  # what a whole stream ends with
    rate: float | None = None  # requests per second, whatever becomes of them; None: as fast as answers come
    warm: float = 0.0  # with a rate: seconds before anything counts
    seconds: float = 0.0  # with a rate: seconds that count, in place of `total`
    timeout: float = 120.0  # seconds for the whole job


class Outcome(msgspec.Struct, kw_only=True):
    """What came back. Times in seconds."""

    answers: int = 0
    failed: int = 0
    chunks: int = 0
    seconds: float = 0.0
    cpu: float = 0.0  # seconds that the load itself took
    latencies: list[float] = []  # plain: whole answers; streamed: first content
    gaps: list[float] = []  # streamed: between reads that carried a chunk
    late: list[float] = []  # with a rate: from when a request was due to when it was sent


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends the next request as soon as the last answer is whole."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        self._run.free(self)

    def send(self) -> None:
        """Sends a request."""
        self._buffer = b""
        self._begins = self._first = True
        self._last = self._sent = time.perf_counter()
        self._transport.write(self._run.request)

    def end(self) -> None:
        """There is no next request."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._begins:
            self._begins = False
            self._streams = self._run.job.streamed and data.startswith(b"HTTP/1.1 200")  # a refusal is no stream
        if self._streams:
            self._stream(data)
        else:
            self._whole(data)

    def _whole(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        start = lower.find(b"content-length: ")
        if start >= 0:
            length = int(lower[start + 16 :].split(b"\r\n", 1)[0])
            complete = len(body) >= length
        else:
            complete = body.endswith(b"0\r\n\r\n")
        if complete:
            self._finish(head.startswith(b"HTTP/1.1 200"))

    def _stream(self, data: bytes) -> None:
        chunks = data.count(b"data: {")
        now = time.perf_counter()
        if chunks:
            self._run.outcome.chunks += chunks
            if self._first:
                self._run.outcome.latencies.append(now - self._sent)
                self._first = False
            else:
                self._run.outcome.gaps.append(now - self._last)
            self._last = now
        self._buffer = (self._buffer + data)[-64:]
        if self._buffer.endswith(b"0\r\n\r\n"):
            self._finish(self._run.last in self._buffer)

    def _finish(self, good: bool) -> None:
        self._run.finished(good)
        if not self._run.job.streamed:
            self._run.outcome.latencies.append(time.perf_counter() - self._sent)
        self._run.free(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._run.closed()


class Run:
    """One job under way."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.outcome = Outcome()
        body = job.body.encode()
        headers = {
            "host": "127.0.0.1",
            "content-type": "application/json",
            **job.headers,
            "content-length": str(len(body)),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.request = f"POST {job.path} HTTP/1.1\r\n{lines}\r\n".encode() + body
        self.last = job.last.encode()
        self._left = job.total
        self._open = job.connections
        self._done = asyncio.Event()

    def free(self, connection: Connection) -> None:
        """A connection has nothing to wait for."""
        self._left -= 1
        if self._left >= 0:
            connection.send()
        else:
            connection.end()

    def finished(self, good: bool) -> None:
        """One answer is whole."""
        self.outcome.answers += good
        self.outcome.failed += not good

    def closed(self) -> None:
        """One connection is closed."""
        self._open -= 1
        if self._open == 0:
            self._done.set()

    async def play(self) -> Outcome:
        """Runs the job."""
        started = time.perf_counter()
        async with asyncio.timeout(self.job.timeout), self.connected():
            await self._done.wait()
        self.outcome.seconds = time.perf_counter() - started
        self.outcome.failed = self.job.total - self.outcome.answers
        return self.outcome

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """All connections are open inside of the block."""
        loop = asyncio.get_running_loop()
        connections = [
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.job.port)
            for _ in range(self.job.connections)
        ]
        try:
            yield
        finally:
            for transport, _ in connections:
                transport.abort()


class OpenLoop(Run):
    """A job with a rate: requests come as those of people who do not know of each other, whatever becomes of others.

    A Poisson process, on the connection that has been free the longest; where none is, a request waits for one. A whole
    answer that is under way at the end is awaited, a stream is left.
    """

    def __init__(self, job: Job, rate: float) -> None:
        super().__init__(job)
        self._rate = rate
        self._random = random.Random(rate)  # the same arrivals whoever answers them
        self._idle: deque[Connection] = deque()
        self._due: deque[float] = deque()  # of requests that wait for a connection
        self._under_way = 0

    def free(self, connection: Connection) -> None:
        """It takes the request that has waited longest, or waits for one itself."""
        self._idle.append(connection)
        self._send()

    def finished(self, good: bool) -> None:
        """One answer is whole."""
        super().finished(good)
        self._under_way -= 1
        if self._under_way == 0:
            self._done.set()

    async def play(self) -> Outcome:
        """Runs the job."""
        async with self.connected():
            self._next = time.perf_counter() + FIRST
            self._alarm = Alarm(self._arrive)
            self._alarm.set(self._next)
            await asyncio.sleep(FIRST + self.job.warm)
            self.outcome = outcome = Outcome()
            os.write(1, b"\n")
            started, cpu = time.perf_counter(), time.process_time()
            await asyncio.sleep(self.job.seconds)
            outcome.seconds, outcome.cpu = time.perf_counter() - started, time.process_time() - cpu
            os.write(1, b"\n")
            self._alarm.close()
            if not self.job.streamed:
                await self._rest()
                outcome.failed += self._under_way + len(self._due)
        return outcome

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.job.timeout):
                while self._under_way:
                    self._done.clear()
                    await self._done.wait()

    def _arrive(self) -> None:
        now = time.perf_counter()
        while self._next <= now:
            self._due.append(self._next)
            self._next += self._random.expovariate(self._rate)
        self._alarm.set(self._next)
        self._send()

    def _send(self) -> None:
        while self._due and self._idle:
            self._under_way += 1
            self._idle.popleft().send()
            self.outcome.late.append(time.perf_counter() - self._due.popleft())


def main() -> None:
    """Reads the job from the command line, prints the outcome."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    outcome = uvloop.run((Run(job) if job.rate is None else OpenLoop(job, job.rate)).play())
    os.set_blocking(1, True)  # the loop has left the pipe as it likes pipes, and a write would end in its middle
    with open(1, "wb") as output:
        output.write(msgspec.json.encode(outcome) + b"\n")


if __name__ == "__main__":
    main()
