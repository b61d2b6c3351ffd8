"""The benchmark's models give the same answers as the simulator, at their own pace."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator

import msgspec
import pytest
from bench.job import Job
from bench.open_loop import OpenLoop
from bench.processes import MODELS, Process, asked, models

from weir_cli.sim import SimModel
from weir_cli.sim.exchange import ExchangeBook
from weir_router.contract import WireFormat

PAUSE = 0.02  # seconds between chunks of bench-stream


@pytest.fixture(scope="module")
def serving(tmp_path_factory) -> Iterator[Process]:
    with models(tmp_path_factory.mktemp("models"), cores="0") as process:
        yield process


@pytest.fixture(scope="module")
def book() -> ExchangeBook:
    return ExchangeBook(msgspec.convert(MODELS["models"], list[SimModel]), seed=0)


async def answered(port: int, *sent: bytes, length: int) -> bytes:
    """The body of the answer to a request in some parts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in sent:
        writer.write(part)
        await asyncio.sleep(0.05)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    body = await reader.readexactly(length)
    writer.close()
    return body


async def test_a_stream_is_the_simulators_with_a_pause_before_each_further_content(serving, book):
    body = asked("bench-stream", stream=True)
    said = b"".join(book.look_up(WireFormat.CHAT, body.encode()).wire)
    started = time.perf_counter()
    assert await answered(serving.port, Job(port=0, body=body).request(), length=len(said)) == said
    assert time.perf_counter() - started >= 99 * PAUSE


async def test_a_plain_answer_is_the_simulators_and_a_request_may_come_in_parts(serving, book):
    body = asked("bench-plain")
    said = book.look_up(WireFormat.CHAT, body.encode()).body
    request = Job(port=0, body=body).request()
    assert await answered(serving.port, request[:100], request[100:], length=len(said)) == said


async def test_whoever_leaves_in_the_middle_takes_nobody_along(serving):
    _, leaving = await asyncio.open_connection("127.0.0.1", serving.port)
    leaving.write(Job(port=0, body=asked("bench-stream", stream=True)).request())
    leaving.transport.abort()
    job = Job(port=serving.port, body=asked("bench-stream", stream=True), streamed=True, connections=50, seconds=3.0)
    (outcome,) = await asyncio.to_thread(list, OpenLoop(job, 20.0).play())
    assert outcome.failed == 0
    assert outcome.answers > 0
    assert outcome.chunks == pytest.approx(len(outcome.gaps) + len(outcome.latencies), rel=0.1)
    assert statistics.median(outcome.gaps) == pytest.approx(PAUSE, rel=0.05)


async def test_a_model_that_nobody_knows_is_refused(serving):
    reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
    writer.write(Job(port=0, body=asked("nobody")).request())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    writer.close()
