"""Bodies that the router must not hold: of strangers, where none is wanted, and too many at once."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import random
import re
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import pytest

from support.servers import one_request, talking
from support.stand import KEY, NAMESPACE, Stand, stand
from support.tokens import RSA, STRANGER, trust
from weir_cli.sim import SimModel
from weir_router.admit.memory import PER_BYTE
from weir_router.clock import ManualClock
from weir_router.config.access import Access
from weir_router.contract import ReviewAnswer

OPENAI, ANTHROPIC = "POST /v1/chat/completions", "POST /v1/messages"
GOOD = msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": "Hi"}]})
LARGE = 31 * 1024 * 1024
CHUNKED = "transfer-encoding: chunked"
FLOOD = b"a" * (1 << 20)


@pytest.fixture
async def gateway() -> AsyncIterator[Stand]:
    async with stand([SimModel("m")], clock=ManualClock()) as it:
        it.apply(msgspec.structs.replace(it.config, tokens=trust(RSA)))
        yield it
        assert await ask(it) == 200
        assert it.router.memory.held == 0


async def ask(it: Stand, body: bytes = GOOD, key: str = KEY, **headers: str) -> int:
    sent = {"authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with (
        aiohttp.ClientSession(it.url) as session,
        session.post("/v1/chat/completions", data=io.BytesIO(body), headers=sent) as response,
    ):
        return response.status


def head(start: str, *headers: str) -> bytes:
    framing = [] if CHUNKED in headers else [f"content-length: {LARGE}"]
    return "\r\n".join([f"{start} HTTP/1.1", "host: localhost", *framing, *headers, "", ""]).encode()


async def flood(url: str, wire: bytes) -> bytes:
    """The answer to `wire` and as much of a large body as the router takes, up to the connection's end."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    sending = asyncio.create_task(_send(writer, FLOOD, chunked=CHUNKED.encode() in wire, head=wire))
    try:
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        sending.cancel()
        writer.transport.abort()


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """Checks that the router and the senders never allocate as much as a body together."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < LARGE / 2
    finally:
        tracemalloc.stop()


async def _send(writer: asyncio.StreamWriter, part: bytes, *, chunked: bool, head: bytes) -> None:
    writer.write(head)
    for _ in range(31):
        writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        await writer.drain()


@pytest.mark.parametrize(
    ("status", "start", "headers"),
    [
        (401, OPENAI, ()),
        (401, ANTHROPIC, ()),
        (401, OPENAI, (CHUNKED,)),
        (401, OPENAI, ("authorization: Bearer weir_wrong",)),
        (401, ANTHROPIC, ("x-api-key: weir_wrong",)),
        (401, ANTHROPIC, ("x-api-key: sk-ant-of-a-provider", "expect: 100-continue")),
        (401, OPENAI, (f"authorization: Bearer {STRANGER.token()}",)),
        (401, OPENAI, ("authorization: Bearer eyJ.eyJ.x",)),
        (401, OPENAI, ("content-encoding: gzip",)),
        (401, "GET /v1/models", ()),
        (404, "POST /v1/nothing", ()),
        (404, "POST /v1/nothing", (CHUNKED,)),
        (405, "PUT /v1/chat/completions", (f"authorization: Bearer {KEY}",)),
        (405, "GET /v1/chat/completions", ()),
        (200, "GET /v1/models", (f"authorization: Bearer {KEY}",)),
    ],
)
async def test_a_body_that_is_not_wanted_is_not_kept(
    gateway: Stand, status: int, start: str, headers: tuple[str, ...]
) -> None:
    with little_memory():
        answers = await asyncio.gather(*(flood(gateway.url, head(start, *headers)) for _ in range(3)))
    for answer in answers:
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"%d" % status]
        assert b"connection: close" in answer
        content = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])
        assert "error" in content or status == 200
        assert start != ANTHROPIC or content["type"] == "error"


async def test_the_admin_port_keeps_no_body(gateway: Stand) -> None:
    for start, status in (("GET /healthz", b"200"), ("POST /metrics", b"405"), ("POST /x", b"404")):
        with little_memory():
            answer = await flood(gateway.router.admin_url, head(start))
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [status]


async def test_a_pipelined_request_of_a_stranger_gets_its_401_in_its_turn(gateway: Stand) -> None:
    good = head(OPENAI, f"authorization: Bearer {KEY}").replace(str(LARGE).encode(), str(len(GOOD)).encode()) + GOOD
    answer = await flood(gateway.url, good + head(OPENAI))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"401"]


async def test_callers_with_a_token_and_without_a_key_send_large_bodies(gateway: Stand) -> None:
    body = GOOD[:-1] + b',"user":"' + random.Random(1).randbytes(1_000_000).hex().encode() + b'"}'
    token = RSA.token(NAMESPACE, "web")
    assert await ask(gateway, body, token) == 200
    assert await ask(gateway, body, token, expect="100-continue") == 200
    assert await ask(gateway, gzip.compress(body), content_encoding="gzip") == 200
    gateway.apply(msgspec.structs.replace(gateway.config, anonymous_namespace=NAMESPACE))
    assert await ask(gateway, body, "sk-of-a-provider") == 200
    assert {line["status"] for line in gateway.log.lines} == {200}


async def test_bodies_of_known_callers_together_are_bounded() -> None:
    """Three of ten fit, the others are refused at once; all are served once there is room."""
    size, fit = 300_000, 3
    wire = f"{OPENAI} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {size}\r\n\r\n".encode()
    pad = GOOD[:-1] + b',"user":"' + b"x" * (size - len(GOOD) - 10) + b'"}'
    async with stand([SimModel("m")], memory=2**20 * PER_BYTE) as it, AsyncExitStack() as stack:
        assert await ask(it) == 200  # its key is known from now on
        host, _, port = it.url.removeprefix("http://").partition(":")
        callers = [await asyncio.open_connection(host, int(port)) for _ in range(10)]
        for _, writer in callers:
            stack.callback(writer.transport.abort)
            writer.write(wire + pad[:1000])
        heads = [asyncio.create_task(reader.readuntil(b"\r\n\r\n")) for reader, _ in callers]
        while sum(task.done() for task in heads) < len(callers) - fit:
            await asyncio.wait([task for task in heads if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        refused = [task.result() for task in heads if task.done()]
        assert it.router.memory.held == fit * size * PER_BYTE
        assert all(answer.startswith(b"HTTP/1.1 503") and b"retry-after: 2" in answer for answer in refused)
        assert it.last["error"] == "overloaded"
        assert "see --memory" in it.last["error_message"]
        for task, (_, writer) in zip(heads, callers, strict=True):
            if not task.done():
                writer.write(pad[1000:])
        answers = await asyncio.gather(*heads)
        assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) == fit
        assert await ask(it, pad) == 200
        assert it.router.memory.held == 0


@pytest.mark.parametrize(("refusal", "status"), [(None, 200), ("the pod is gone", 401)])
async def test_no_body_is_read_while_a_token_is_reviewed(tmp_path: Path, refusal: str | None, status: int) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def review(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        asked.set()
        await may_answer.wait()
        answer = msgspec.json.encode(ReviewAnswer(refusal))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(answer) + answer)

    (tmp_path / "token").write_text("of-the-router")
    async with (
        talking(review) as url,
        stand([SimModel("m")], clock=ManualClock(), reviewer=Access(url, tmp_path / "token")) as it,
    ):
        it.apply(msgspec.structs.replace(it.config, tokens=trust(RSA, review=True)))
        host, _, port = it.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        wire = head(OPENAI, f"authorization: Bearer {RSA.token()}", "connection: close", "expect: 100-continue")
        writer.write(wire.replace(str(LARGE).encode(), str(len(GOOD)).encode()))
        await asyncio.wait_for(asked.wait(), 10)
        assert it.router.memory.held == 0
        may_answer.set()
        if refusal is None:
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert it.router.memory.held == len(GOOD) * PER_BYTE
            writer.write(GOOD)
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert it.router.memory.held == 0
        writer.close()


async def test_what_a_body_unpacks_to_is_counted_too() -> None:
    async with stand([SimModel("m")], memory=2**20) as it:
        assert await ask(it, gzip.compress(GOOD), content_encoding="gzip") == 200
        bomb, large = (gzip.compress(GOOD + b" " * size, 9) for size in (2**21, 2**18))
        assert await ask(it, bomb, content_encoding="gzip") == 413  # it could never fit
        assert await ask(it, large, content_encoding="gzip") == 200
        assert it.router.memory.take(2**18, "another")
        assert await ask(it, large, content_encoding="gzip") == 503
        it.router.memory.give_back(2**18, "another")
        assert it.router.memory.held == 0
