"""The load of the benchmark: a raw asyncio client, so that it is not what is measured. Run as a process of its own.

`python -m bench.load '{"port": 8080, ...}'` prints a line of JSON. A closed loop of `connections` for plain answers;
`connections` streams at once for streamed ones. Ends after `total` answers or at `timeout`, whichever is first, and
says how many failed. With a `rate` it is an open loop instead (`bench.open_loop`), which prints a line per window.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import cast

import msgspec
import uvloop

from bench.answer import Answer, Outcome
from bench.job import Job
from bench.open_loop import OpenLoop

NICE = 10
"""Niceness of a load of streams: the models on its core, which have moments of their own to keep, go first."""


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends the next request as soon as the last answer is whole."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        self._run.free(self)

    def send(self) -> None:
        """Sends a request."""
        self._answer = Answer(time.perf_counter(), self._run.last)
        self._transport.write(self._run.request)

    def end(self) -> None:
        """There is no next request."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        good = self._answer.take(data, time.perf_counter(), self._run.outcome)
        if good is not None:
            self._run.outcome.answers += good
            self._run.free(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._run.closed()


class Run:
    """One job under way."""

    def __init__(self, job: Job) -> None:
        self.outcome = Outcome()
        self.request, self.last = job.request(), job.last_bytes()
        self._job = job
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

    def closed(self) -> None:
        """One connection is closed."""
        self._open -= 1
        if self._open == 0:
            self._done.set()

    async def play(self) -> Outcome:
        """Runs the job."""
        started = time.perf_counter()
        async with asyncio.timeout(self._job.timeout), self._connected():
            await self._done.wait()
        self.outcome.seconds = time.perf_counter() - started
        self.outcome.failed = self._job.total - self.outcome.answers
        return self.outcome

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        connections = [
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._job.port)
            for _ in range(self._job.connections)
        ]
        try:
            yield
        finally:
            for transport, _ in connections:
                transport.abort()


def _take_turn(*, streamed: bool) -> None:
    """Sets the open loop's turn on the core that it shares with the models: after them for streams, else first.

    Requests that are late come several at once, and queue in the proxy for it: by up to 3 ms where the models' turn was
    waited for.
    """
    if streamed:
        os.nice(NICE)
    else:
        with contextlib.suppress(PermissionError):  # root's; without, it is late
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def main() -> None:
    """Reads the job from the command line, prints the outcome."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    gc.disable()  # nothing here is in a cycle, and figures of a minute are a long list to look through
    if job.rate is not None:
        _take_turn(streamed=job.streamed)
    outcomes = [uvloop.run(Run(job).play())] if job.rate is None else OpenLoop(job, job.rate).play()
    for outcome in outcomes:
        print(msgspec.json.encode(outcome).decode(), flush=True)


if __name__ == "__main__":
    main()
