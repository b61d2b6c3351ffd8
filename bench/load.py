"""The load of the benchmark: a raw asyncio client, so that it is not what is measured. Run as a process of its own.

`python -m bench.load '{"port": 8080, ...}'` prints one JSON line. A closed loop of `connections` for plain answers;
`connections` streams at once for streamed ones. Ends after `total` answers or at `timeout`, whichever is first, and
says how many failed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from typing import cast

import msgspec
import uvloop


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
    rate: float | None = None  # requests per second over all connections; None: as fast as answers come
    timeout: float = 120.0  # seconds for the whole job


class Outcome(msgspec.Struct, kw_only=True):
    """What came back. Times in seconds."""

    answers: int = 0
    failed: int = 0
    chunks: int = 0
    seconds: float = 0.0
    latencies: list[float] = []  # plain: whole answers; streamed: first content
    gaps: list[float] = []  # streamed: between reads that carried a chunk


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends the next request as soon as the last answer is whole."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        self._next = asyncio.get_running_loop().time() + self._run.offset()
        self._go_on()

    def _go_on(self) -> None:
        if self._run.period == 0:
            self._send()
            return
        self._next += self._run.period  # by the clock, however long the last answer took
        asyncio.get_running_loop().call_at(self._next, self._send)

    def _send(self) -> None:
        if not self._run.take():
            self._transport.close()
            return
        self._buffer = b""
        self._begins = self._first = True
        self._last = self._sent = time.perf_counter()
        self._transport.write(self._run.request)

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
        self._go_on()

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
        self.period = job.connections / job.rate if job.rate else 0.0
        self._left = job.total
        self._open = job.connections
        self._done = asyncio.Event()

    def offset(self) -> float:
        """Connections do not send in step."""
        return self.period * random.random()

    def take(self) -> bool:
        """Whether one more request may be sent."""
        self._left -= 1
        return self._left >= 0

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
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        connections = [
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.job.port)
            for _ in range(self.job.connections)
        ]
        try:
            async with asyncio.timeout(self.job.timeout):
                await self._done.wait()
        finally:
            for transport, _ in connections:
                transport.abort()
        self.outcome.seconds = time.perf_counter() - started
        self.outcome.failed = self.job.total - self.outcome.answers
        return self.outcome


def main() -> None:
    """Reads the job from the command line, prints the outcome."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    outcome = uvloop.run(Run(job).play())
    os.set_blocking(1, True)  # the loop has left the pipe as it likes pipes, and a write would end in its middle
    with open(1, "wb") as output:
        output.write(msgspec.json.encode(outcome) + b"\n")


if __name__ == "__main__":
    main()
