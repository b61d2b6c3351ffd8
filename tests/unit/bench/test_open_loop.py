"""The open loop of the benchmark: requests come at their rate, without waiting for answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from bench.answer import Outcome
from bench.job import Job
from bench.open_loop import Caller, OpenLoop

from support.servers import listening

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
RATE = 200.0


@contextlib.asynccontextmanager
async def server(wait: Callable[[], Awaitable[object]], answer: bytes = ANSWER) -> AsyncIterator[int]:
    """The port of a server that answers each request after `wait`, or closes if the answer is empty."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n{}"):
                await wait()
                if not answer:
                    writer.close()
                writer.write(answer)

    async with listening(serve) as port:
        yield port


async def played(port: int, **more: float) -> Outcome:
    loop = OpenLoop(Job(port=port, body="{}", rate=RATE, connections=100, **more), RATE)
    (outcome,) = await asyncio.to_thread(list, loop.play())
    return outcome


async def test_slow_answers_do_not_slow_requests_down():
    async with server(lambda: asyncio.sleep(0.2)) as port:
        outcome = await played(port, seconds=1.0)
    assert outcome.failed == 0
    assert outcome.answers == len(outcome.latencies) == pytest.approx(RATE, rel=0.3)
    assert statistics.median(outcome.late) < 0.05
    assert min(outcome.latencies) >= 0.2


async def test_what_is_never_answered_has_failed():
    async with server(asyncio.Event().wait) as port:
        outcome = await played(port, seconds=0.2, timeout=0.1)
    assert outcome.answers == 0
    assert outcome.failed == pytest.approx(RATE * 0.2, rel=0.6)


async def test_who_is_held_up_sends_what_was_due_before_the_end_and_no_more(monkeypatch):
    async with server(lambda: asyncio.sleep(0)) as port:
        punctual = await played(port, seconds=0.5)
        sleep = time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: sleep(seconds + 0.2))
        late = await played(port, seconds=0.5)
    assert punctual.answers == late.answers == len(late.late)
    assert max(late.late) > 0.1


async def test_a_connection_that_ends_has_failed_and_takes_no_further_request():
    async with server(lambda: asyncio.sleep(0), b"") as port:
        outcome = await played(port, seconds=1.0, timeout=0.1)
    assert outcome.answers == 0
    assert outcome.failed == pytest.approx(RATE, rel=0.3)
    assert len(outcome.late) <= 100


async def test_what_is_sent_while_warm_does_not_count():
    async with server(lambda: asyncio.sleep(0)) as port:
        outcome = await played(port, warm=0.5, seconds=0.2)
    assert outcome.answers == pytest.approx(RATE * 0.2, rel=0.6)


def test_an_answer_that_is_read_late_is_not_late():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        loop = OpenLoop(Job(port=port, body="{}"), RATE)
        caller = Caller(loop, port)
        answering, _ = listening.accept()
        latencies = loop.outcome.latencies
        while len(latencies) < 50 and min(latencies, default=1.0) > 0.05:  # the kernel takes a moment to begin to stamp
            caller.send()
            answering.send(ANSWER)
            time.sleep(0.1)
            caller.read()
        assert latencies[-1] < 0.05
        caller.close()
        answering.close()
