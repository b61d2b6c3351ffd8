"""The transports against servers of other projects: nginx, OpenSSL's TLS through asyncio, with certificates of a
private CA.
"""

import asyncio
import json
import socket
import ssl
import threading
import time

import pytest

from support.servers import certificates, free_port, nginx, one_request, server_context, talking
from weir_router.call.transport.aiohttp_client import AiohttpTransport
from weir_router.call.transport.pool import Http1Transport
from weir_router.errors import AttemptFailed, FailureKind

LARGE = b"x" * 2_000_000


@pytest.fixture(scope="module")
def private_ca(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(private_ca, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(private_ca / "ca.pem"))
    return private_ca


@pytest.fixture
async def client():
    made = Http1Transport()
    yield made
    await made.close()


@pytest.fixture(scope="module")
def web(tmp_path_factory, private_ca):
    """The two ports of nginx in front of itself: plain and with TLS."""
    folder = tmp_path_factory.mktemp("nginx")
    plain, tls = free_port(), free_port()
    (folder / "large").write_bytes(LARGE)
    server = f"""
      listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; server_name localhost; root {folder};
      ssl_certificate {private_ca}/server.pem; ssl_certificate_key {private_ca}/server.key;
      client_max_body_size 1k; keepalive_requests 3; error_page 405 =200 $uri;
      location /json {{ default_type application/json; return 200 '{{"connection": "$connection"}}'; }}
      location /chunked {{ proxy_pass http://127.0.0.1:{plain}/json; proxy_http_version 1.1; sub_filter a a; }}
      location /http10 {{ proxy_pass http://127.0.0.1:{plain}/json; }}
      location /drop {{ return 444; }}
    """
    with nginx(folder, server):
        for port in (plain, tls):
            wait_for(port)
        yield plain, tls


def wait_for(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    pytest.fail("nginx does not listen")


async def whole(client, url, body=b"{}"):
    response = await client.post(url, {}, body, 2.0)
    try:
        return response.status, await response.read_all()
    finally:
        response.release()


@pytest.fixture(params=[AiohttpTransport, Http1Transport])
async def either(request):
    made = request.param()
    yield made
    await made.close()


@pytest.mark.parametrize("path", ["json", "chunked", "http10"])
async def test_nginx_answers(either, web, path):
    status, body = await whole(either, f"http://127.0.0.1:{web[0]}/{path}")
    assert status == 200
    assert json.loads(body)["connection"]


async def test_nginx_sends_a_large_file(either, web):
    assert await whole(either, f"http://127.0.0.1:{web[0]}/large") == (200, LARGE)


async def test_nginx_refuses_a_body_before_it_has_come(either, web):
    status, body = await whole(either, f"http://127.0.0.1:{web[0]}/json", LARGE)
    assert status == 413
    assert b"Too Large" in body


async def test_nginx_closes_without_an_answer(either, web):
    with pytest.raises(AttemptFailed) as caught:
        await whole(either, f"http://127.0.0.1:{web[0]}/drop")
    assert caught.value.kind is FailureKind.RESET


@pytest.mark.parametrize("secure", [False, True])
async def test_connections_to_nginx_are_used_as_often_as_it_allows(client, web, trusted, secure):
    url = f"https://localhost:{web[1]}/json" if secure else f"http://127.0.0.1:{web[0]}/json"
    connections = [json.loads((await whole(client, url))[1])["connection"] for _ in range(9)]
    assert [connections.count(it) for it in dict.fromkeys(connections)] == [3, 3, 3]


async def test_many_requests_at_once_over_tls_are_all_answered(client, web, trusted):
    answers = await asyncio.gather(*(whole(client, f"https://localhost:{web[1]}/large") for _ in range(20)))
    assert answers == [(200, LARGE)] * 20


async def test_a_server_of_an_unknown_authority_is_refused(either, web):
    with pytest.raises(AttemptFailed, match="TLS failed") as caught:
        await whole(either, f"https://localhost:{web[1]}/json")
    assert caught.value.kind is FailureKind.CONNECT


async def test_a_certificate_for_another_host_is_refused(client, web, trusted):
    with pytest.raises(AttemptFailed, match="TLS failed"):
        await whole(client, f"https://127.0.0.1:{web[1]}/json")


async def test_plain_text_behind_https_is_refused(either, web):
    with pytest.raises(AttemptFailed) as caught:
        await whole(either, f"https://127.0.0.1:{web[0]}/json")
    assert caught.value.kind is FailureKind.CONNECT


async def test_authorities_are_read_once_and_not_on_the_loop(client, web, trusted, monkeypatch):
    """Reading them takes 30 ms or more, in which all streams would stop."""
    threads, read = [], ssl.create_default_context

    def reads():
        threads.append(threading.current_thread())
        return read()

    monkeypatch.setattr(ssl, "create_default_context", reads)
    await asyncio.gather(*(whole(client, f"https://localhost:{web[1]}/json") for _ in range(5)))
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("kind", [Http1Transport, AiohttpTransport])
async def test_further_authorities_are_asked_for_with_each_connection(web, private_ca, kind):
    further = ""
    transport = kind(authorities=lambda: further)
    url = f"https://localhost:{web[1]}/drop"
    try:
        with pytest.raises(AttemptFailed, match="certificate verify failed"):
            await transport.post(url, {}, b"{}", 5.0)
        further = (private_ca / "ca.pem").read_text()
        with pytest.raises(AttemptFailed) as failure:
            await transport.post(url, {}, b"{}", 5.0)
        assert failure.value.kind is FailureKind.RESET  # the server's doing, after the handshake
        further = "-----BEGIN CERTIFICATE-----"
        with pytest.raises(AttemptFailed) as failure:
            await transport.post(url, {}, b"{}", 5.0)
        assert failure.value.kind is FailureKind.CONNECT
    finally:
        await transport.close()


async def test_a_stream_over_tls_comes_piece_by_piece(client, trusted):
    gate = asyncio.Event()

    async def talk(reader, writer):
        await one_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(3):
            writer.write(b"3\r\none\r\n")
            await gate.wait()
            gate.clear()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with talking(talk, server_context(trusted)) as url:
        response = await client.post(url, {}, b"{}", 2.0)
        for _ in range(3):
            assert await response.read() == b"one"
            gate.set()
        assert await response.read() == b""
        response.release()


async def test_a_tls_handshake_that_hangs_costs_the_connect_timeout(client):
    closed = asyncio.Event()

    async def talk(reader, writer):
        while await reader.read(1000):
            pass
        closed.set()

    async with talking(talk) as url:
        with pytest.raises(AttemptFailed, match="within the connect timeout"):
            await client.post(url.replace("http:", "https:"), {}, b"{}", 0.5)
        await asyncio.wait_for(closed.wait(), 1.0)
