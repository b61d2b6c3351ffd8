"""The HTTP client against real sockets: what it sends, and what its failures are called."""

import asyncio
import contextlib

import pytest

from weir_router.call.transport import base
from weir_router.call.transport.aiohttp_client import AiohttpTransport
from weir_router.call.transport.pool import Http1Transport
from weir_router.errors import AttemptFailed, FailureKind

OK = b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 5\r\n\r\nhello"


@pytest.fixture(params=[AiohttpTransport, Http1Transport])
async def client(request):
    made = request.param()
    yield made
    await made.close()


async def whole(client, url, headers=None):
    """One request to its last byte."""
    response = await client.post(url, headers or {}, b"{}", 1.0)
    try:
        return await response.read_all()
    finally:
        response.release()


@contextlib.asynccontextmanager
async def serving(*answers):
    """A server that gives one answer per request, on as many connections as are opened."""
    heard, left = [], list(answers)

    async def talk(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while left:
                head = await reader.readuntil(b"\r\n\r\n")
                heard.append((writer.get_extra_info("peername"), head.lower()))
                await reader.readexactly(2)
                writer.write(left.pop(0))
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", heard


async def test_a_connection_is_used_again_and_cookies_are_not_kept(client):
    async with serving(OK, OK) as (url, heard):
        for _ in range(2):
            assert await whole(client, url) == b"hello"
    assert heard[0][0] == heard[1][0]
    assert b"cookie" not in heard[1][1]


async def test_a_connection_left_in_the_middle_of_a_body_is_not_used_again(client):
    half = OK[:-2]
    async with serving(half, OK) as (url, heard):
        first = await client.post(url, {}, b"{}", 1.0)
        assert await first.read() == b"hel"
        first.release()
        await whole(client, url)
    assert heard[0][0] != heard[1][0]


async def test_weir_says_its_name_and_wants_no_compression(client):
    async with serving(OK) as (url, heard):
        await whole(client, url, {"x-mine": "yes"})
    assert b"user-agent: weir/" in heard[0][1]
    assert b"accept-encoding: identity" in heard[0][1]
    assert b"x-mine: yes" in heard[0][1]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", FailureKind.RESET),
        (b"nonsense\r\n\r\n", FailureKind.MALFORMED),
        (OK[:-2], FailureKind.RESET),
    ],
)
async def test_failures_have_names(client, answer, kind):
    async with serving(answer) as (url, _):
        with pytest.raises(AttemptFailed) as caught:
            await whole(client, url)
        assert caught.value.kind is kind


async def test_a_credential_that_cannot_be_sent_is_not_quoted(client):
    async with serving(OK) as (url, _):
        with pytest.raises(AttemptFailed) as caught:
            await client.post(url, {"authorization": "Bearer sk-se\ncret"}, b"{}", 1.0)
        assert caught.value.kind is FailureKind.CONNECT
        assert "sk-" not in caught.value.message


async def test_a_whole_answer_is_bounded(client, monkeypatch):
    monkeypatch.setattr(base, "MAX_WHOLE_ANSWER", 4)
    async with serving(OK) as (url, _):
        with pytest.raises(AttemptFailed, match="larger than 4 bytes"):
            await whole(client, url)
