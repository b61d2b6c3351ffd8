"""The transport takes proxies from its environment, and nothing else."""

import contextlib

import pytest

from support.servers import listening
from weir_router.call.transport import AutoTransport, auto
from weir_router.call.transport.aiohttp_client import AiohttpTransport

ANSWER = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"


@contextlib.asynccontextmanager
async def listener():
    """A server that keeps the head of each request."""
    heads = []

    async def answer(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(ANSWER)
        await writer.drain()

    async with listening(answer) as port:
        yield port, heads


@pytest.fixture(params=[AiohttpTransport, AutoTransport])
async def transport(request):
    transport = request.param()
    yield transport
    await transport.close()


async def post(transport, url):
    response = await transport.post(url, {"authorization": "Bearer sk-x"}, b"{}", 2.0)
    body = await response.read_all()
    response.release()
    return body


async def test_a_proxy_of_the_environment_is_used(transport, monkeypatch):
    async with listener() as (port, heads):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert await post(transport, "http://upstream.invalid/v1/x") == b"ok"
    assert heads[0].startswith("post http://upstream.invalid/v1/x ")


async def test_hosts_in_no_proxy_are_reached_directly(transport, monkeypatch):
    async with listener() as (port, heads):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert await post(transport, f"http://127.0.0.1:{port}/v1/x") == b"ok"
    assert heads[0].startswith("post /v1/x ")


async def test_a_netrc_file_never_speaks_for_a_backend(transport, monkeypatch, tmp_path):
    """aiohttp's `trust_env` would read ~/.netrc for each request, and send its password to the upstream."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password leaked\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with listener() as (port, heads):
        await post(transport, f"http://127.0.0.1:{port}/v1/x")
    assert "authorization: bearer sk-x" in heads[0]
    assert "basic" not in heads[0]


async def test_a_credential_in_the_url_is_sent_as_basic_authorization(transport):
    async with listener() as (port, heads):
        response = await transport.post(f"http://user:pass@127.0.0.1:{port}/v1/x", {}, b"{}", 2.0)
        response.release()
    assert "authorization: basic " in heads[0]


async def test_urls_of_single_requests_are_not_remembered():
    transport = AutoTransport()
    async with listener() as (port, heads):
        for url in (f"http://127.0.0.1:{port}/v1/x/1", f"http://user:pass@127.0.0.1:{port}/v1/x/2"):
            response = await transport.ask("DELETE", url, {}, b"", 2.0)
            assert await response.read_all() == b"ok"
            response.release()
    assert [head.split(" http")[0] for head in heads] == ["delete /v1/x/1", "delete /v1/x/2"]
    assert not transport._targets
    assert not transport._chosen
    await transport.close()


async def test_urls_of_earlier_configs_are_forgotten(monkeypatch):
    monkeypatch.setattr(auto, "MOST_URLS", 3)
    transport = AutoTransport()
    async with listener() as (port, heads):
        for number in range(10):
            assert await post(transport, f"http://127.0.0.1:{port}/v{number}/x") == b"ok"
    assert len(heads) == 10
    assert len(transport._targets) <= 3
    await transport.close()
