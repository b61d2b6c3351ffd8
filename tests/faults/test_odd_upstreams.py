"""Upstreams that do not exist or are not model servers: every caller gets an answer from the other backend."""

import asyncio
import contextlib
import gzip
import socket

import pytest

from support.callers import one, settled, shapes_at_once, trail_of
from support.servers import deaf_port, listening
from support.stand import UPSTREAM_KEY, stand
from weir_cli.sim import SimModel
from weir_router.call.transport import base
from weir_router.contract import Dialect, Timeouts

A = "llm/t0/a"
QUICK = Timeouts(connect=0.5, ttft=0.5, idle=0.5)
TWO = [SimModel("a")], [SimModel("b", answer="from b")]


@contextlib.asynccontextmanager
async def says(answer: bytes, *, stays: bool = False):
    """A server that sends `answer` to every client; yields its base URL, and the requests it received."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            heard.append(await reader.read(65536))
            writer.write(answer)
            await writer.drain()
            if stays:
                await reader.read()
            writer.close()
            await writer.wait_closed()

    async with listening(talk) as port:
        yield f"http://127.0.0.1:{port}/v1", heard


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


SSE = head("content-type: text/event-stream", "connection: close")
JSON = head("content-type: application/json", "connection: close")

GARBAGE = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "status": b"HTTP/1.1 abc OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
    "negative length": head("content-type: application/json", "content-length: -5"),
    "two lengths": head("content-length: 5", "content-length: 6") + b"hello!",
    "both framings": head("content-length: 5", "transfer-encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    "chunk size": head("content-type: text/event-stream", "transfer-encoding: chunked") + b"zz\r\nhello",
    "endless header": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    "only early hints": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "no content": head("connection: close", status="204 No Content"),
    "partial content": head("content-length: 2", "content-type: application/json", status="206 Partial Content")
    + b"{}",
    "HTML": head("content-type: text/html", "content-length: 13") + b"<html></html>",
    "empty JSON": JSON + b"{}",
    "a number": JSON + b"42",
    "null choices": JSON + b'{"choices": null}',
    "cut JSON": JSON + b'{"choices": [{"mess',
    "not gzip": head("content-type: application/json", "content-encoding: gzip", "connection: close") + b"hello",
    "unknown encoding": head("content-type: application/json", "content-encoding: x", "connection: close") + b"hello",
    "length too long": head("content-type: application/json", "content-length: 999") + b"{}",
    "empty stream": SSE,
    "only DONE": SSE + b"data: [DONE]\n\n",
    "bytes": SSE + bytes(range(256)) * 8,
    "not UTF-8": SSE + b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n',
    "a list": SSE + b"data: [1, 2]\n\n",
    "deep": SSE + b"data: " + b'{"a":' * 50_000 + b"\n\n",
    "choices of numbers": SSE + b'data: {"choices": [1]}\n\n',
    "delta of text": SSE + b'data: {"choices": [{"delta": "x"}]}\n\n',
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_answered_by_the_other(answer):
    async with says(answer) as (url, _), stand(*TWO, changes={"a": {"base_url": url, "timeouts": QUICK}}) as s:
        for result in await shapes_at_once(s):
            assert result.ended, result.body
            assert result.text == "from b"
            assert (await trail_of(s, result))[-1] == ("b", "ok")
        await settled(s)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.1:{port}/v1",
        "http://nowhere.invalid/v1",
        "https://127.0.0.1:{sim}/v1",
        "http://[::1/v1",
        "x://y",
    ],
    ids=["refused port", "no such host", "TLS to plain text", "no URL", "unknown scheme"],
)
async def test_what_cannot_be_reached_is_answered_by_the_other(where):
    async with stand(*TWO) as probe:
        sim = probe.sim.url.rsplit(":", 1)[1]
        url = where.format(port=unused_port(), sim=sim)
        timeouts = Timeouts(connect=0.3, ttft=5.0)
        async with stand(*TWO, changes={"a": {"base_url": url, "timeouts": timeouts}}) as s:
            for result in await shapes_at_once(s):
                assert result.text == "from b"
                assert await trail_of(s, result) == [("a", "connect"), ("b", "ok")]


async def test_a_host_that_answers_no_handshake_costs_the_connect_timeout():
    with deaf_port() as port:
        url = f"http://127.0.0.1:{port}/v1"
        timeouts = Timeouts(connect=0.2, ttft=5.0)
        async with stand(*TWO, changes={"a": {"base_url": url, "timeouts": timeouts}}) as s:
            result = await one(s)
            assert result.text == "from b"
            assert await trail_of(s, result) == [("a", "connect"), ("b", "ok")]
            assert result.seconds < 1.0


async def test_a_redirect_is_not_followed_and_puts_the_backend_out():
    async with says(JSON + b"{}") as (elsewhere, heard):
        redirect = head(f"location: {elsewhere}/chat/completions", "content-length: 0", status="307 Temporary Redirect")
        async with says(redirect) as (url, told), stand(*TWO, changes={"a": {"base_url": url}}) as s:
            result = await one(s)
            assert result.text == "from b"
            assert await trail_of(s, result) == [("a", "model"), ("b", "ok")]
            assert UPSTREAM_KEY.encode() in told[0]
            assert heard == []
            assert s.router.board.view()[A].state == "ejected"


CHUNKS = [
    b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "zip"}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
]
WHOLE = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "zip"}, "finish_reason": "stop"}]}'


@pytest.mark.parametrize("stream", [True, False])
async def test_a_compressed_answer_is_read_although_none_was_asked_for(stream):
    kind, body = ("text/event-stream", b"".join(CHUNKS)) if stream else ("application/json", WHOLE)
    answer = head(f"content-type: {kind}", "content-encoding: gzip", "connection: close") + gzip.compress(body)
    async with says(answer) as (url, heard), stand([SimModel("a")], changes={"a": {"base_url": url}}) as s:
        result = await one(s, stream=stream)
        assert result.ended
        assert result.text == "zip"
        assert "content-encoding" not in result.headers
        assert b"accept-encoding: identity" in heard[0].lower()


async def test_an_answer_beyond_all_bounds_is_given_up(monkeypatch):
    monkeypatch.setattr(base, "MAX_WHOLE_ANSWER", 10_000)
    bomb = gzip.compress(b" " * 5_000_000 + WHOLE)
    answer = head("content-type: application/json", "content-encoding: gzip", "connection: close") + bomb
    async with says(answer) as (url, _), stand(*TWO, changes={"a": {"base_url": url}}) as s:
        result = await one(s)
        assert result.text == "from b"
        assert await trail_of(s, result) == [("a", "malformed"), ("b", "ok")]


async def test_an_error_whose_body_never_ends_is_silence():
    answer = head("content-type: application/json", "content-length: 99", status="500 Oops") + b'{"error"'
    changes = {"a": {"base_url": "", "timeouts": Timeouts(ttft=0.2)}}
    async with says(answer, stays=True) as (url, _):
        changes["a"]["base_url"] = url
        async with stand(*TWO, changes=changes) as s:
            result = await one(s)
            assert result.text == "from b"
            assert result.seconds < 1.0


@pytest.mark.parametrize("ending", ["cut", "stall"])
@pytest.mark.parametrize("dialect", list(Dialect))
async def test_what_breaks_after_its_stop_reason_is_a_whole_answer(ending, dialect):
    """Only `[DONE]` is missing; the caller has the model's whole answer."""
    answer = head("content-type: text/event-stream", "transfer-encoding: chunked")
    for chunk in (CHUNKS[0], CHUNKS[1].removesuffix(b"data: [DONE]\n\n")):
        answer += b"%x\r\n%b\r\n" % (len(chunk), chunk)
    async with contextlib.AsyncExitStack() as stack:
        url, _ = await stack.enter_async_context(says(answer, stays=ending == "stall"))
        changes = {"a": {"base_url": url, "timeouts": QUICK}}
        s = await stack.enter_async_context(stand([SimModel("a")], changes=changes))
        for stream in (True, False):
            result = await one(s, dialect, stream=stream)
            assert result.ended
            assert result.text == "zip"
        assert s.router.board.view()[A].state == "closed"
        await settled(s)


async def test_a_whole_answer_does_not_repeat_the_credential():
    """Whether the upstream sends it as a whole, or as a stream that cuts the credential in two."""
    whole = WHOLE.replace(b"zip", UPSTREAM_KEY.encode())
    halves = UPSTREAM_KEY[:9], UPSTREAM_KEY[9:]
    deltas = b"".join(
        b'data: {"choices": [{"index": 0, "delta": {"content": "%b"}}]}\n\n' % it.encode() for it in halves
    )
    stop = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    for kind, body in (("application/json", whole), ("text/event-stream", deltas + stop)):
        answer = head(f"content-type: {kind}", f"content-length: {len(body)}") + body
        async with says(answer) as (url, heard), stand(*TWO, changes={"a": {"base_url": url}}) as s:
            result = await one(s)
            assert UPSTREAM_KEY.encode() in heard[0]
            assert result.text == "[redacted]"


async def test_headers_of_an_upstream_are_short_and_without_the_credential():
    answer = head(
        "content-type: application/json",
        f"x-request-id: {UPSTREAM_KEY}",
        f"openai-version: {'v' * 1_000}",
        f"content-length: {len(WHOLE)}",
    )
    async with says(answer + WHOLE) as (url, heard), stand(*TWO, changes={"a": {"base_url": url}}) as s:
        result = await one(s)
        assert result.text == "zip"
        assert UPSTREAM_KEY.encode() in heard[0]
        assert result.headers["x-request-id"] == "[redacted]"
        assert result.headers["openai-version"] == "v" * 256
