"""HTTP that no SDK sends: every request gets a valid answer, and the next request is served."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import zlib
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel
from weir_router.contract import MAX_BODY_BYTES

PATH = "/v1/chat/completions"
GOOD = msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": "Hi"}]})
AUTH = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
async def gateway() -> AsyncIterator[Stand]:
    async with stand([SimModel("m")]) as it:
        yield it
        async with aiohttp.ClientSession(it.url) as session, session.post(PATH, data=GOOD, headers=AUTH) as response:
            assert response.status == 200  # after all of it


async def ask(it: Stand, body: bytes = GOOD, method: str = "POST", path: str = PATH, **headers: str) -> tuple[int, str]:
    """Sends a request; returns the status and the error message (or the whole text)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(it.url) as session,
        session.request(method, path, data=body, headers={**AUTH, **named}, allow_redirects=False) as response,
    ):
        text = await response.text()
    assert "Traceback" not in text
    if response.status >= 400 and text:
        return response.status, msgspec.json.decode(text)["error"]["message"]
    return response.status, text


async def raw(it: Stand, data: bytes) -> bytes:
    """The answer to bytes on a connection of their own, to its end."""
    host, _, port = it.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert b"Traceback" not in answer
    return answer


def request(*headers: str, body: bytes = GOOD, start: str = f"POST {PATH} HTTP/1.1") -> bytes:
    lines = [start, "host: x", f"authorization: Bearer {KEY}", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log messages of level ERROR and above."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ";;"]
)
async def test_the_content_type_means_nothing(gateway: Stand, content_type: str) -> None:
    assert (await ask(gateway, content_type=content_type))[0] == 200


async def test_an_empty_body_is_named(gateway: Stand) -> None:
    status, message = await ask(gateway, b"")
    assert status == 400
    assert "empty" in message


async def test_a_body_in_chunks_is_read(gateway: Stand) -> None:
    chunks = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in GOOD) + b"0\r\n\r\n"
    answer = await raw(gateway, request("transfer-encoding: chunked", "connection: close", body=chunks))
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_read(gateway: Stand, coding: str, pack: object) -> None:
    assert callable(pack)
    assert (await ask(gateway, pack(GOOD), content_encoding=coding))[0] == 200


async def test_what_is_not_compressed_as_it_says_is_400(gateway: Stand, caplog: pytest.LogCaptureFixture) -> None:
    status, message = await ask(gateway, GOOD, content_encoding="gzip")
    assert status == 400
    assert "Content-Encoding" in message
    assert not errors_in(caplog)


async def test_chunks_that_are_none_are_400(gateway: Stand, caplog: pytest.LogCaptureFixture) -> None:
    answer = await raw(gateway, request("transfer-encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"))
    assert answer.split()[1] == b"400"
    assert not errors_in(caplog)


async def test_a_zip_bomb_is_413(gateway: Stand) -> None:
    bomb = gzip.compress(b" " * (MAX_BODY_BYTES * 8), 9)
    status, _ = await ask(gateway, bomb, content_encoding="gzip")
    assert status == 413


async def test_33_mebibytes_are_413_in_the_dialect(gateway: Stand) -> None:
    body = b'{"model":"auto","pad":"' + b"x" * (MAX_BODY_BYTES + 1024 * 1024) + b'"}'
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request(f"content-length: {len(body)}", body=body))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 413")
    assert b"x-should-retry: false" in head.lower()
    assert b"request_too_large" in await asyncio.wait_for(reader.read(2000), 10)
    writer.close()


async def test_http_1_0_is_answered_and_closed(gateway: Stand) -> None:
    answer = await raw(gateway, request(start=f"POST {PATH} HTTP/1.0"))
    assert answer.startswith(b"HTTP/1.0 200")


async def test_pipelined_requests_are_answered_in_order(gateway: Stand) -> None:
    bad = request(body=b"{}")
    answer = await raw(gateway, request() + bad + request("connection: close"))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400", b"200"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_405(gateway: Stand, method: str) -> None:
    status, message = await ask(gateway, b"", method=method)
    assert status == 405
    assert method == "HEAD" or "POST /v1/chat/completions" in message


@pytest.mark.parametrize(
    "path",
    ["/v1%2fmessages", "/v1/../v1/messages", "/v1/./messages", "/V1/messages", "/v1/messages%2f", "/%00", "/%ff"],
)
async def test_paths_that_are_nearly_right_are_404(gateway: Stand, path: str) -> None:
    answer = await raw(gateway, request("connection: close", start=f"POST {path} HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 404"), answer
    assert b"base URL" in answer


@pytest.mark.parametrize("path", ["/v1/models/..%2f..%2fetc", "/v1/models/%00", "/v1/models/%ff", "/v1/models/a/b?c=d"])
async def test_unknown_models_are_404(gateway: Stand, path: str) -> None:
    answer = await raw(gateway, request("connection: close", start=f"GET {path} HTTP/1.1", body=b""))
    assert answer.startswith(b"HTTP/1.1 404"), answer


@pytest.mark.parametrize(
    "header",
    [
        "x-weir-feature: \xff\xfe",
        "x-weir-feature: " + "f" * 5_000,
        "user-agent: \xe9\x80\x81",
        "accept: text/html",
        "expect: 100-continue",
        "anthropic-beta: \xff",
        "openai-organization: \xff",
        "x-request-id: \xc3\x28",
        "cookie: " + "a=b; " * 1000,
        "x-empty:",
        "accept-encoding: br;q=zzz",
        'forwarded: for="_x',
    ],
)
async def test_odd_headers_do_not_matter(gateway: Stand, header: str) -> None:
    answer = await raw(gateway, request(header, "connection: close"))
    assert b"HTTP/1.1 200" in answer, answer[:500]


@pytest.mark.parametrize("value", ["fast", "\xff", "0s", "9" * 5_000])
async def test_a_latency_budget_that_is_none_is_a_400_that_says_so(gateway: Stand, value: str) -> None:
    answer = await raw(gateway, request(f"x-weir-ttft: {value}", "connection: close"))
    assert answer.startswith(b"HTTP/1.1 400"), answer[:500]
    assert b"The header x-weir-ttft is" in answer
    assert b"such as 800ms or 2s" in answer


@pytest.mark.parametrize("header", ["authorization: Bearer weir_\xff", "x-api-key: \xff\x80", "x-api-key: weir_\xe9"])
async def test_keys_that_are_no_text_are_unknown_keys(gateway: Stand, header: str) -> None:
    wire = request(header, "connection: close").replace(f"authorization: Bearer {KEY}\r\n".encode(), b"")
    answer = await raw(gateway, wire)
    assert answer.startswith(b"HTTP/1.1 401"), answer


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS on a plain port
        b"GET\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400(gateway: Stand, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    answer = await raw(gateway, data)
    assert answer == b"" or answer.split()[1] in (b"400", b"401"), answer
    assert not errors_in(caplog)


async def test_a_caller_that_leaves_in_the_middle_of_its_body_is_forgotten(gateway: Stand) -> None:
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(request(f"content-length: {len(GOOD) * 2}"))
    await writer.drain()
    writer.transport.abort()
