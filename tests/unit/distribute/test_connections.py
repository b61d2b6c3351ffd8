"""Connections of the config server's port: strangers' are few and short, and crowd out no router's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from support.config_server import GATEWAY, Stand, serving
from support.published import compiled, policy
from support.servers import certificates, server_context
from support.tokens import NOW, RSA, STRANGER, trust
from weir_operator.distribute import connections, refusals
from weir_operator.distribute.offline import OfflineCheck
from weir_operator.distribute.reviews import CachedReviewer
from weir_operator.kube.accounts import ServiceAccount
from weir_router.contract import RouterReport

OURS = "weir-config/weir"
REPORT = msgspec.json.encode(RouterReport(router="r"))


class ApiServer:
    """A reviewer that counts, and accepts every token that it is asked about."""

    def __init__(self) -> None:
        self.asked = 0

    async def review(self, token: str) -> ServiceAccount:
        self.asked += 1
        return GATEWAY


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with serving() as stand:
        stand.publish(compiled(policy()))
        yield stand


async def connect(stand: Stand) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(stand.url.rpartition(":")[2]))


async def ended(reader: asyncio.StreamReader) -> bytes:
    """The bytes that came until the server closed."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_2000_connections_with_made_up_tokens_reach_no_api_server_and_delay_no_router():
    api_server = ApiServer()
    check = OfflineCheck(lambda: trust(RSA, audience=OURS), wall=lambda: NOW)
    async with serving(CachedReviewer(api_server, check=check, own=(GATEWAY,))) as stand:
        stand.publish(compiled(policy()))
        forged, answers = STRANGER.token(aud=[OURS]), 0

        async def stranger(number: int) -> None:
            nonlocal answers
            answer = await stand.poll(f"{forged[:-20]}{number:04}{forged[-16:]}")
            assert answer.status == 401
            answers += 1

        flood = [asyncio.create_task(stranger(number)) for number in range(2000)]
        router = asyncio.create_task(stand.poll(RSA.token("weir-system", "weir-router", aud=[OURS])))
        assert (await router).status == 200
        assert api_server.asked == 1
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        assert answers > 0


async def test_a_stranger_s_connection_ends_with_the_answer(stand: Stand):
    reader, writer = await connect(stand)
    writer.write(b"POST /v1/poll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\nContent-Length: 0\r\n\r\n")
    answer = await ended(reader)
    assert answer.startswith(b"HTTP/1.1 401 ")
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"POST /v1/poll HT", b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_stranger_who_says_nothing_more_is_closed(stand: Stand, sent: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "STRANGER_SECONDS", 0.05)
    reader, writer = await connect(stand)
    writer.write(sent)
    answer = await ended(reader)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 404 ")
    writer.close()


async def test_a_head_that_trickles_is_closed_all_the_same(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "STRANGER_SECONDS", 0.2)
    reader, writer = await connect(stand)

    async def trickle() -> None:
        writer.write(b"GET / HTTP/1.1\r\n")
        while True:
            writer.write(b"a: b\r\n")
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    await ended(reader)
    trickling.cancel()
    writer.close()


async def test_a_silent_handshake_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(connections, "STRANGER_SECONDS", 0.05)
    async with serving(tls=server_context(certificates(tmp_path))) as stand:
        reader, writer = await connect(stand)
        assert await ended(reader) == b""
        writer.close()


async def test_of_too_many_strangers_the_oldest_goes_and_no_router(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "STRANGERS_MAX", 10)
    etag = (await stand.poll()).etag
    router = asyncio.create_task(stand.poll(seen=etag, wait=50))
    await stand.until_waiting()
    strangers = [await connect(stand) for _ in range(11)]
    assert await ended(strangers[0][0]) == b""
    assert not router.done()
    router.cancel()
    for _, writer in strangers:
        writer.close()


async def test_a_connection_counts_before_its_handshake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(connections, "STRANGERS_MAX", 10)
    async with serving(tls=server_context(certificates(tmp_path))) as stand:
        strangers = [await connect(stand) for _ in range(11)]
        assert await ended(strangers[0][0]) == b""
        for _, writer in strangers:
            writer.close()


async def test_a_namespace_has_its_share_of_connections(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "NAMESPACE_MAX", 3)
    etag = (await stand.poll("tenant")).etag
    polls = [asyncio.create_task(stand.poll("tenant", seen=etag, wait=50)) for _ in range(3)]
    await stand.until_waiting(3)
    answer = await stand.poll("tenant")
    assert (answer.status, answer.message) == (503, "namespace team-a has 3 connections, the most that it may have")
    assert (await stand.poll("gateway")).status == 200
    stand.publish(compiled(policy(models=("two",))), 2)
    await asyncio.gather(*polls)


async def test_a_body_that_trickles_is_refused(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refusals.body_of, "__defaults__", (0.05,))
    reader, writer = await connect(stand)
    writer.write(b"POST /v1/poll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tenant\r\nContent-Length: 9\r\n\r\n{")
    assert (await ended(reader)).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_nothing_is_counted_any_more_once_all_have_gone(monkeypatch: pytest.MonkeyPatch):
    made: list[connections.Limits] = []
    limits = connections.Limits
    monkeypatch.setattr(connections, "Limits", lambda: made.append(limits()) or made[-1])
    async with serving() as stand:
        stand.publish(compiled(policy()))
        for token in ("gateway", "tenant", None):
            await stand.poll(token)
        _, writer = await connect(stand)
        writer.close()
    (counted,) = made
    assert (len(counted._strangers), counted._by_peer, counted._of_namespace) == (0, {}, {})
