"""Both HTTP clients against real sockets: their requests, the answers they read, and the kinds of failures."""

import asyncio
import contextlib
import gzip
import time
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.servers import deaf_port, free_port, one_request, talking
from weir_router.call.transport import base
from weir_router.call.transport.aiohttp_client import AiohttpTransport
from weir_router.call.transport.pool import Http1Transport
from weir_router.errors import AttemptFailed, FailureKind

OK = b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nx-trailer: y\r\n\r\n"
LARGE = b"x" * 3_000_000
CLIENTS = [AiohttpTransport, Http1Transport]


@pytest.fixture(params=CLIENTS)
async def client(request):
    made = request.param()
    yield made
    await made.close()


async def whole(client, url, headers=None, body=b"{}"):
    """Sends one request; returns its answer, read to the last byte."""
    response = await client.post(url, headers or {}, body, 1.0)
    try:
        return await response.read_all()
    finally:
        response.release()


async def failure(client, url, headers=None):
    """The failure of one request."""
    with pytest.raises(AttemptFailed) as caught:
        await whole(client, url, headers)
    return caught.value


@contextlib.asynccontextmanager
async def serving(*answers):
    """A server that gives one answer per request, on as many connections as are opened."""
    heard, left = [], list(answers)

    async def talk(reader, writer):
        while left:
            head, body = await one_request(reader)
            heard.append((writer.get_extra_info("peername"), head, body))
            writer.write(left.pop(0))
            await writer.drain()

    async with talking(talk) as url:
        yield f"{url}/v1", heard


async def test_a_connection_is_used_again_and_cookies_are_not_kept(client):
    async with serving(OK, OK) as (url, heard):
        for _ in range(2):
            assert await whole(client, url) == b"hello"
    assert heard[0][0] == heard[1][0]
    assert b"cookie" not in heard[1][1]


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_other_methods_use_the_same_connections(client, method):
    async with serving(OK, OK) as (url, heard):
        await whole(client, url)
        response = await client.ask(method, f"{url}/a?b=c&d=1", {"x-mine": "yes"}, b"", 1.0)
        assert await response.read_all() == b"hello"
        response.release()
    assert heard[0][0] == heard[1][0]
    assert heard[1][1].startswith(f"{method} /v1/a?b=c&d=1 HTTP/1.1".lower().encode())
    assert b"x-mine: yes" in heard[1][1]


async def test_a_url_that_cannot_be_sent_is_a_failure_to_connect(client):
    with pytest.raises(AttemptFailed) as caught:
        await client.ask("GET", "ftp://x/v1", {}, b"", 1.0)
    assert caught.value.kind is FailureKind.CONNECT


async def test_a_connection_left_in_the_middle_of_a_body_is_not_used_again(client):
    half = OK[:-2]
    async with serving(half, OK) as (url, heard):
        first = await client.post(url, {}, b"{}", 1.0)
        assert await first.read() == b"hel"
        assert not first.ended()
        first.release()
        await whole(client, url)
    assert heard[0][0] != heard[1][0]


async def test_weir_says_its_name_and_wants_no_compression(client):
    async with serving(OK) as (url, heard):
        await whole(client, url, {"x-mine": "yes"})
    assert b"user-agent: weir/" in heard[0][1]
    assert b"accept-encoding: identity" in heard[0][1]
    assert b"x-mine: yes" in heard[0][1]


async def test_headers_of_the_request_win(client):
    async with serving(OK) as (url, heard):
        await whole(client, url, {"user-agent": "mine"})
    assert heard[0][1].count(b"user-agent") == 1
    assert b"user-agent: mine" in heard[0][1]


async def test_path_and_query_are_sent_as_the_url_says(client):
    async with serving(OK) as (url, heard):
        await whole(client, f"{url}/größe of it?version=2&x=%26#here")
    assert heard[0][1].startswith(b"post /v1/gr%c3%b6%c3%9fe%20of%20it?version=2&x=%26 http/1.1\r\n")


async def test_a_large_body_arrives_whole(client):
    async with serving(OK) as (url, heard):
        assert await whole(client, url, body=LARGE) == b"hello"
    assert heard[0][2] == LARGE


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        CHUNKED,
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200\r\nCONTENT-LENGTH:5\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + CHUNKED,
    ],
)
@pytest.mark.parametrize("drip", [False, True])
async def test_every_framing_is_understood(client, answer, drip):
    async def talk(reader, writer):
        await one_request(reader)
        for i in range(0, len(answer), 1 if drip else len(answer)):
            writer.write(answer[i : i + 1] if drip else answer)
            await writer.drain()
            await asyncio.sleep(0)

    async with talking(talk) as url:
        response = await client.post(url, {}, b"{}", 1.0)
        assert (response.status, await response.read_all(), response.ended()) == (200, b"hello", True)
        assert "link" not in response.headers
        response.release()


async def test_bytes_are_handed_out_as_they_come(client):
    gate = asyncio.Event()

    async def talk(reader, writer):
        await one_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for part in (b"one", b"two"):
            writer.write(part)
            await gate.wait()
            gate.clear()

    async with talking(talk) as url:
        response = await client.post(url, {}, b"{}", 1.0)
        for part in (b"one", b"two"):
            assert await response.read() == part
            gate.set()
        assert await response.read() == b""
        response.release()


async def test_headers_are_found_in_lower_case_and_the_first_of_a_name_counts(client):
    async with serving(OK.replace(b"set-cookie: a=b", b"X-Request-ID: one\r\nx-request-id: two")) as (url, _):
        response = await client.post(url, {}, b"{}", 1.0)
        response.release()
    assert response.headers["x-request-id"] == "one"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", FailureKind.RESET),
        (b"HTTP/1.1 200 OK\r\nx: ", FailureKind.RESET),
        (b"nonsense\r\n\r\n", FailureKind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: a\0b\r\n\r\n", FailureKind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!", FailureKind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n", FailureKind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n", FailureKind.MALFORMED),
        (OK[:-2], FailureKind.RESET),
        (CHUNKED[:60], FailureKind.RESET),
    ],
)
async def test_failures_have_names(client, answer, kind):
    async with serving(answer) as (url, _):
        assert (await failure(client, url)).kind is kind


async def test_a_refused_port_is_a_failure_to_connect(client):
    assert (await failure(client, f"http://127.0.0.1:{free_port()}/v1")).kind is FailureKind.CONNECT


@pytest.mark.parametrize(
    "url", ["x://y", "http://", "http://[::1/v1", "/v1", "http://nowhere.invalid/v1", f"http://{'a' * 70}.invalid/"]
)
async def test_what_is_no_address_is_a_failure_to_connect(client, url):
    assert (await failure(client, url)).kind is FailureKind.CONNECT


async def test_a_host_that_answers_no_handshake_costs_the_connect_timeout(client):
    with deaf_port() as port, pytest.raises(AttemptFailed, match="within the connect timeout") as caught:
        await client.post(f"http://127.0.0.1:{port}/", {}, b"{}", 0.1)
    assert caught.value.kind is FailureKind.CONNECT


async def test_a_connection_is_tried_again_where_the_router_did_not_run_for_longer_than_the_connect_timeout():
    client = Http1Transport()
    async with serving(OK) as (url, _):
        asyncio.get_running_loop().call_later(0.01, time.sleep, 0.4)  # as a process that is stopped, or gets no CPU
        with deaf_port() as port:
            started = time.monotonic()
            with pytest.raises(AttemptFailed, match="within the connect timeout"):
                await client.post(f"http://127.0.0.1:{port}/", {}, b"{}", 0.1)
            assert time.monotonic() - started > 0.5
        asyncio.get_running_loop().call_soon(time.sleep, 0.4)
        response = await client.post(url, {}, b"{}", 0.1)
        assert await response.read_all() == b"hello"
        response.release()
    await client.close()


@pytest.mark.parametrize("bad", ["\n", "\r", "\r\nx: y\r\n", "\0"])
async def test_a_credential_that_cannot_be_sent_is_not_quoted(client, bad):
    async with serving(OK) as (url, heard):
        failed = await failure(client, url, {"authorization": f"Bearer sk-se{bad}cret"})
    assert failed.kind is FailureKind.CONNECT
    assert "sk-" not in failed.message
    assert not heard


@pytest.mark.parametrize("name", ["x\r\ny", "x\ny: z"])
async def test_a_header_name_breaks_out_of_no_line(client, name):
    async with serving(OK) as (url, heard):
        assert (await failure(client, url, {name: "v"})).kind is FailureKind.CONNECT
    assert not heard


async def test_a_whole_answer_is_bounded(client, monkeypatch):
    monkeypatch.setattr(base, "MAX_WHOLE_ANSWER", 4)
    async with serving(OK) as (url, _):
        with pytest.raises(AttemptFailed, match="larger than 4 bytes"):
            await whole(client, url)


async def test_a_redirect_is_an_answer(client):
    async with serving(b"HTTP/1.1 307 X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", OK) as (url, heard):
        response = await client.post(url, {}, b"{}", 1.0)
        response.release()
    assert response.status == 307
    assert len(heard) == 1


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_what_comes_compressed_is_read_all_the_same(client, encoding, compress):
    plain = b" ".join(b"%d" % number for number in range(500_000))
    body = compress(plain)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    async with serving(head + body, OK) as (url, heard):
        assert await whole(client, url) == plain
        assert await whole(client, url) == b"hello"
    assert heard[0][0] == heard[1][0]


async def test_what_cannot_be_decompressed_is_a_failure(client):
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nhello") as (url, _):
        response = await client.post(url, {}, b"{}", 1.0)
        with pytest.raises(AttemptFailed):
            await response.read_all()
        response.release()


async def test_an_answer_before_the_end_of_the_request_is_an_answer(client):
    done = asyncio.Event()

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")  # and not a byte of the body
        writer.write(OK.replace(b"200 OK", b"413 Too Large"))
        await done.wait()

    async with talking(talk) as url:
        response = await client.post(url, {}, LARGE * 10, 1.0)
        assert response.status == 413
        response.release()
        done.set()


@pytest.mark.parametrize("answer", [b"", OK[:-2]], ids=["before the answer", "in the body"])
async def test_a_cancelled_call_closes_its_connection(client, answer):
    asked, closed = asyncio.Event(), asyncio.Event()

    async def talk(reader, writer):
        await one_request(reader)
        writer.write(answer)
        asked.set()
        assert await reader.read() == b""
        closed.set()

    async with talking(talk) as url:
        task = asyncio.create_task(whole(client, url))
        await asked.wait()
        await asyncio.sleep(0.01)  # so that it has read what there is
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 1.0)


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 204 No\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"content-length: 5\r\n",
        b"transfer-encoding: chunked\r\n",
        b"content-encoding: gzip\r\n",
        b"connection: close\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"\n",
        b"ffffffffffffffff\r\n",
        gzip.compress(b"hello"),
    ]
)
ANYTHING = st.lists(st.lists(PIECES | st.binary(max_size=20), max_size=5).map(b"".join), max_size=4)


@pytest.mark.parametrize("kind", CLIENTS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=st.booleans(), parts=ANYTHING)
def test_whatever_comes_is_an_answer_or_a_failure(kind, first, parts):
    """Answers in one part or several, on a new or used connection, cause no other exception and no hang."""

    async def talk(reader, writer):
        if first:
            await one_request(reader)
            writer.write(OK)
        await one_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    async def ask():
        client = kind()
        async with talking(talk) as url:
            try:
                if first:
                    assert await whole(client, url) == b"hello"
                async with asyncio.timeout(5):
                    await whole(client, url)
            except AttemptFailed:
                pass
            finally:
                await client.close()

    asyncio.run(ask())
