"""Followers report their routers to the leader: over real connections, and only changes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.config_server import GATEWAY, TENANT, Polled, Stand, serving
from support.published import compiled
from support.tls import trusting
from weir_operator.distribute import relay as module
from weir_operator.distribute.leader import Leader, LeaderUnreachable
from weir_operator.distribute.relay import HEARTBEAT_SECONDS, Follower
from weir_operator.distribute.reports import REPORT_SECONDS
from weir_operator.publish.authority import make_authority, make_certificate
from weir_operator.publish.certificate import load
from weir_router.contract import BackendReport, RouterReport

ONE = compiled()


class Pair:
    """A leader, and a follower whose routers poll `behind`; both have the leader's clock."""

    def __init__(self, leader: Stand, behind: Stand, token: Path, trust: ssl.SSLContext | None) -> None:
        self.leader, self.behind = leader, behind
        self.url: str | None = leader.url
        self.token = token
        self.trust = trust
        self.follower = Follower(
            behind.server.known,
            "weir-operator-1",
            self.way("weir-operator"),
            monotonic=lambda: leader.now,
        )

    def way(self, server_name: str) -> Leader:
        return Leader(
            lambda: self.url,
            token_file=self.token,
            trust=lambda: self.trust or ssl.create_default_context(),
            server_name=server_name,
        )

    async def poll(self, router: str = "r", token: str = "gateway", **fields: Any) -> None:
        await self.behind.poll(token, data=msgspec.json.encode(RouterReport(router=router, **fields)))

    async def look(self) -> bool:
        return await self.follower.look(self.behind.session)

    def skip(self, seconds: float) -> None:
        self.leader.now += seconds
        self.behind.now += seconds

    @property
    def known(self) -> dict[str, RouterReport]:
        return {it.report.router: it.report for it in self.leader.server.reports}


@contextlib.asynccontextmanager
async def related(
    path: Path, served: ssl.SSLContext | None = None, trust: ssl.SSLContext | None = None
) -> AsyncIterator[Pair]:
    (path / "token").write_text("operator\n")
    async with serving(tls=served) as leader, serving() as behind:
        leader.publish(ONE)
        behind.publish(ONE)
        yield Pair(leader, behind, path / "token", trust)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with related(tmp_path) as pair:
        yield pair


async def test_the_leader_knows_a_followers_routers_as_its_own(pair: Pair):
    await pair.poll("gw-0", revision=1)
    await pair.poll("app", "tenant")
    assert await pair.look()
    assert pair.leader.heard == 1
    found = {it.report.router: (it.account, it.gateway, it.current) for it in pair.leader.server.reports}
    assert found == {"gw-0": (GATEWAY, True, False), "app": (TENANT, False, False)}


async def test_a_router_at_a_follower_is_current_by_what_the_leader_offers(pair: Pair):
    etag = (await pair.behind.poll()).etag
    await pair.behind.poll(seen=etag)
    await pair.look()
    assert [it.current for it in pair.leader.server.reports] == [True]


async def test_while_nothing_changes_only_a_heartbeat_is_sent_and_it_brings_the_figures(pair: Pair):
    await pair.poll(backends={"b": BackendReport(state="closed", requests=1)})
    assert await pair.look()
    await pair.poll(backends={"b": BackendReport(state="closed", requests=9)})
    assert not await pair.look()
    pair.skip(HEARTBEAT_SECONDS)
    assert await pair.look()
    assert pair.known["r"].backends["b"].requests == 9


async def test_a_change_and_a_router_that_is_gone_are_told_with_the_next_look(pair: Pair):
    await pair.poll("old")
    await pair.look()
    pair.skip(REPORT_SECONDS - 10)
    await pair.poll("new")
    await pair.look()
    assert set(pair.known) == {"old", "new"}
    pair.skip(20)
    await pair.poll("new", backends={"b": BackendReport(state="open")})
    await pair.look()
    assert {name: it.backends for name, it in pair.known.items()} == {"new": {"b": BackendReport(state="open")}}


async def test_a_leader_that_began_anew_hears_all_again(pair: Pair):
    await pair.poll("one")
    await pair.look()
    async with serving() as successor:
        pair.url = successor.url
        await pair.look()
        assert [it.report.router for it in successor.server.reports] == ["one"]
    async with serving() as same_address:
        pair.follower._to = pair.url = same_address.url  # as a pod that restarts keeps its address
        await pair.poll("two")
        await pair.look()
        await pair.look()
        assert {it.report.router for it in same_address.server.reports} == {"one", "two"}


async def test_who_leads_itself_tells_nobody(pair: Pair):
    pair.url = None
    await pair.poll()
    assert not await pair.look()


@pytest.mark.parametrize("token", ["gateway", "tenant"])
async def test_nobody_but_the_operator_may_tell_of_others_routers(pair: Pair, token: str):
    pair.token.write_text(token)
    await pair.poll()
    with pytest.raises(LeaderUnreachable, match="HTTP 403"):
        await pair.look()
    assert pair.known == {}


@pytest.mark.parametrize(("content", "said"), [(b"\xff", "does not hold a token"), (b"unknown", "HTTP 401")])
async def test_a_token_that_is_none_is_said_without_quoting_it(pair: Pair, content: bytes, said: str):
    pair.token.write_bytes(content)
    with pytest.raises(LeaderUnreachable, match=said) as raised:
        await pair.look()
    assert "unknown" not in str(raised.value)


async def test_what_is_no_relay_is_refused(pair: Pair):
    headers = {"Authorization": "Bearer operator"}
    async with pair.leader.session.post(f"{pair.leader.url}/v1/reports", data=b"[]", headers=headers) as answer:
        said = Polled(answer.status, answer.headers, await answer.read())
    assert (said.status, "not a Relay" in said.message) == (400, True)


async def test_a_relay_may_be_larger_than_any_report(pair: Pair):
    backends = {f"llm/tier-{number}/backend": BackendReport(state="closed") for number in range(10_000)}
    for router in ("a", "b"):
        await pair.poll(router, backends=backends)
    await pair.look()
    assert sum(len(it.backends) for it in pair.known.values()) == 20_000


async def test_the_leaders_certificate_is_checked_by_its_name_whatever_its_address(tmp_path: Path):
    now = datetime.now(UTC)
    authority = make_authority("weir", now)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(served, make_certificate(authority, ["weir-operator"], now))
    async with related(tmp_path, served, trusting(authority.certificate)) as pair:
        pair.url = pair.leader.url.replace("localhost", "127.0.0.1")
        await pair.poll("one")
        await pair.look()
        assert set(pair.known) == {"one"}
        pair.follower._leader = pair.way("another")
        await pair.poll("two")
        with pytest.raises(LeaderUnreachable, match="Certificate"):
            await pair.look()


async def test_it_goes_on_when_a_leader_is_away_and_says_so_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(module, "RELAY_SECONDS", 0.01)
    url, pair.url = pair.url, "http://127.0.0.1:9"
    await pair.poll("one")
    running = asyncio.create_task(pair.follower.run())
    async with asyncio.timeout(20):
        while not caplog.records:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(caplog.records) == 1
        pair.url = url
        while not pair.known:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
