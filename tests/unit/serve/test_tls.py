"""TLS for callers over real sockets: served, rotated, bounded, and beside a plain port."""

import asyncio
import contextlib
import io
import shutil
import socket
import ssl

import aiohttp
import pytest
import uvloop

from support.servers import certificates
from support.stand import KEY, stand
from support.tls import trusting
from weir_cli.sim import SimModel
from weir_router.app import Router
from weir_router.serve.http import Certificate, server, tls

KEYS = {"authorization": f"Bearer {KEY}"}
BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def files(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        certificates(tmp_path / name)
    install(tmp_path, "old")
    return tmp_path


def install(folder, name):
    for file in ("server.pem", "server.key"):
        shutil.copy(folder / name / file, folder / f"{file}.part")
        (folder / f"{file}.part").replace(folder / file)


def trust(files, name):
    return trusting((files / name / "ca.pem").read_bytes())


@pytest.fixture
async def secure(files):
    certificate = Certificate(files / "server.pem", files / "server.key")
    async with (
        stand([SimModel("m")]) as s,
        Router(port=0, admin_port=0, certificate=certificate, plain=("127.0.0.1", 0), grace=1.0) as router,
    ):
        router.store.apply(s.config, s.secrets)
        yield router


async def asked(url, context=None, **more):
    url = url.replace("127.0.0.1", "localhost") + "/v1/chat/completions"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=BODY | more, headers=KEYS, ssl=context or True) as answer,
    ):
        return answer.status, await answer.text()


async def test_callers_speak_tls_and_beside_it_plain(secure, files):
    assert secure.url.startswith("https://")
    assert (await asked(secure.url, trust(files, "old")))[0] == 200
    status, text = await asked(secure.url, trust(files, "old"), stream=True)
    assert (status, "[DONE]" in text) == (200, True)
    assert secure.plain_url.startswith("http://")
    assert (await asked(secure.plain_url))[0] == 200


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_handshake_that_begins_before_the_router_has_looked_at_the_connection_ends_well(files, run):
    async def shaken():
        certificate = Certificate(files / "server.pem", files / "server.key")
        async with Router(port=0, admin_port=0, certificate=certificate, grace=1.0) as router:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            end = trust(files, "old").wrap_bio(incoming, outgoing, server_hostname="localhost")
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            with socket.create_connection(("127.0.0.1", int(router.url.rpartition(":")[2]))) as caller:
                caller.sendall(outgoing.read())  # the loop has had no turn since the connection was made
                caller.setblocking(False)
                async with asyncio.timeout(5):
                    while end.version() is None:
                        incoming.write(await asyncio.get_running_loop().sock_recv(caller, 65536))
                        with contextlib.suppress(ssl.SSLWantReadError):
                            end.do_handshake()

    run(shaken())


async def test_a_refused_caller_over_tls_gets_its_answer(secure, files):
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            secure.url.replace("127.0.0.1", "localhost") + "/v1/chat/completions",
            data=io.BytesIO(b"x" * 2_000_000),
            ssl=trust(files, "old"),
        ) as answer,
    ):
        assert answer.status == 401


async def test_a_certificate_is_rotated_without_an_end_of_connections(secure, files, monkeypatch):
    monkeypatch.setattr(server, "LOOK_EVERY", 0.02)
    old = trust(files, "old")
    url = secure.url.replace("127.0.0.1", "localhost") + "/v1/models"
    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers=KEYS, ssl=old) as answer:
            assert answer.status == 200
        shutil.copy(files / "new" / "server.key", files / "server.key")  # torn: the last one goes on
        certificate = secure._certificate
        before = certificate.context
        certificate.renew()
        assert certificate.context is before
        install(files, "new")
        certificate.renew()
        assert (await asked(secure.url, trust(files, "new")))[0] == 200
        with pytest.raises(aiohttp.ClientError):
            await asked(secure.url, trust(files, "old"))
        async with session.get(url, headers=KEYS, ssl=old) as answer:  # the old connection
            assert answer.status == 200


@pytest.mark.filterwarnings("ignore:ssl:DeprecationWarning")
async def test_old_versions_of_tls_are_refused(secure, files):
    context = trust(files, "old")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.open_connection("127.0.0.1", int(secure.url.rpartition(":")[2]), ssl=context)


async def refused(router):
    async with asyncio.timeout(5):
        while ("callers", "handshake") not in router.metrics.refused:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_handshake_that_does_not_end_is_given_up_and_holds_a_place(secure, monkeypatch):
    monkeypatch.setattr(tls, "HANDSHAKE_TIMEOUT", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(secure.url.rpartition(":")[2]))
    async with asyncio.timeout(5):
        while secure._places.taken != 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await refused(secure)
    assert await reader.read() == b""
    assert secure._places.taken == 0
    writer.close()


async def test_a_caller_without_tls_is_refused_and_without_a_place_too(secure):
    _, writer = await asyncio.open_connection("127.0.0.1", int(secure.url.rpartition(":")[2]))
    writer.write(b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n")
    await refused(secure)
    secure._places.limit = 0
    other, last = await asyncio.open_connection("127.0.0.1", int(secure.url.rpartition(":")[2]))
    with contextlib.suppress(ConnectionError):
        assert await other.read() == b""
    assert ("callers", "connections") in secure.metrics.refused
    writer.close()
    last.close()


def test_files_that_are_no_certificate_are_said(tmp_path):
    (tmp_path / "cert").write_text("no")
    with pytest.raises(ValueError, match="no certificate with its key"):
        Certificate(tmp_path / "cert", tmp_path / "missing")
