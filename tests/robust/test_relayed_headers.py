"""Headers between a sidecar and its gateway: those of one connection and foreign keys are not relayed."""

import asyncio
import contextlib

import aiohttp
import pytest

from support.sidecar import sidecar
from support.stand import KEY

BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
PROVIDER = "sk-provider-key-0123456789"


@contextlib.asynccontextmanager
async def gateway():
    """A gateway that answers with headers of its connection, and the heads that it got."""
    heads = []

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
            lines = "Connection: close, X-Hop\r\nX-Hop: secret\r\nX-Stays: yes\r\ncontent-length: 2\r\n"
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{lines}\r\n{{}}".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


async def relayed(tmp_path, headers):
    async with (
        gateway() as (url, heads),
        sidecar(tmp_path, gateway_url=url) as side,
        aiohttp.ClientSession(side.url) as session,
        session.post("/v1/chat/completions", json=BODY, headers=headers) as answer,
    ):
        assert answer.status == 200
        return heads[-1], answer.headers


async def test_headers_that_connection_names_go_no_further(tmp_path):
    head, answer = await relayed(tmp_path, {"connection": "keep-alive, x-Hop", "x-hop": "secret", "x-stays": "yes"})
    assert "x-stays: yes" in head
    assert "x-stays" in answer
    assert "x-hop" not in head
    assert "x-hop" not in answer


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {PROVIDER}", "x-api-key": KEY},
        {"authorization": f"Basic {PROVIDER}", "x-api-key": KEY},
        {"authorization": f"Bearer {KEY}", "x-api-key": PROVIDER},
        {"authorization": f"Bearer {KEY}", "api-key": PROVIDER},
        {"authorization": f"Bearer {PROVIDER}", "x-goog-api-key": PROVIDER},
        {"authorization": f"Bearer {PROVIDER}", "x-api-key": PROVIDER},
        {"x-api-key": PROVIDER},
    ],
)
async def test_only_the_key_that_counts_goes_to_the_gateway(tmp_path, headers):
    head, _ = await relayed(tmp_path, headers)
    assert PROVIDER not in head
    assert (KEY in head) is (KEY in str(headers))
    assert (head.count("authorization:"), head.count("x-api-key:")) in ((1, 0), (0, 1))
