"""The endpoint over HTTP: permissions, and no answer before all routers have reported."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from support.config_server import GATEWAY, OPERATOR, TENANT, KnownTokens, Polled
from support.published import compiled
from weir_operator.distribute.autoscaling import PREFIX, RELAYED_PREFIX, SETTLED_SECONDS, Autoscaling
from weir_operator.distribute.leader import Leader
from weir_operator.distribute.relay import Follower
from weir_operator.distribute.reports import LEFT_SECONDS, REPORT_SECONDS
from weir_operator.distribute.server import ConfigServer, listen
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.token_reviews import ReviewUnavailable
from weir_router.contract import BackendReport, CompiledConfig, RouterLoad, RouterReport

SCALERS = {
    "platform": ServiceAccount("weir-system", "scaler"),
    "owner": ServiceAccount("llm", "scaler"),
    "stranger": ServiceAccount("team-b", "scaler"),
}
GATEWAY_URL, TIER_URL = f"{PREFIX}/gateway", f"{PREFIX}/tiers/llm/small"


class Desk:
    """A served leader and a served follower; `now` is their clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.led_since = 0.0
        self.leader_url: str | None = None
        self.config: CompiledConfig | None = msgspec.structs.replace(compiled().config, routers=2)
        self.scalers = KnownTokens(dict(SCALERS))
        self.session: aiohttp.ClientSession
        self.urls: list[str] = []
        (folder / "token").write_text("operator")
        self.way = Leader(
            lambda: self.leader_url, token_file=folder / "token", trust=lambda: None, server_name="weir-operator"
        )
        self.leader = self._replica(lambda: self.now - self.led_since)
        self.follower = self._replica(lambda: None)
        self.relay = Follower(self.follower.known, "second", self.way, monotonic=lambda: self.now)

    def _replica(self, leading: Any) -> ConfigServer:
        server = ConfigServer(KnownTokens(), GATEWAY, operator=OPERATOR, monotonic=lambda: self.now)
        tokens = {"scalers": self.scalers, "replicas": KnownTokens()}
        accounts = {"gateway": GATEWAY, "operator": OPERATOR}
        Autoscaling(server.known, lambda: self.config, leading, self.way, **accounts, **tokens).serve(server.app)
        return server

    def report(
        self, router: str, in_flight: int = 0, account: ServiceAccount = GATEWAY, *, at: ConfigServer | None = None
    ) -> None:
        backends = {"llm/small/b0": BackendReport(state="closed", in_flight=in_flight)}
        load = RouterLoad(in_flight=in_flight, limit=100)
        (at or self.leader).known.note(account, None, RouterReport(router=router, backends=backends, load=load))

    async def ask(self, path: str = GATEWAY_URL, token: str | None = "platform", *, follower: bool = False) -> Polled:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.session.get(self.urls[follower] + path, headers=headers) as answer:
            return Polled(answer.status, answer.headers, await answer.read())

    async def demand(self, *path: str, **options: Any) -> int:
        answer = await self.ask(*path, **options)
        assert answer.status == 200, answer.body
        return int(msgspec.json.decode(answer.body)["demand"])


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    async with contextlib.AsyncExitStack() as ends, aiohttp.ClientSession() as desk.session:
        for server in (desk.leader, desk.follower):
            runner = await listen(server, "127.0.0.1", 0)
            ends.push_async_callback(runner.cleanup)
            desk.urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        desk.leader_url = desk.urls[0]
        desk.report("gw-0", 4)
        desk.report("gw-1", 6)
        yield desk


async def test_the_platform_sees_the_gateway_and_every_tier(desk: Desk):
    assert await desk.demand(GATEWAY_URL) == 10
    assert await desk.demand(TIER_URL) == 10


async def test_a_namespace_sees_its_own_tiers_only(desk: Desk):
    assert await desk.demand(TIER_URL, "owner") == 10
    for path, token, said in (
        (GATEWAY_URL, "owner", "the gateway's figures are for ServiceAccounts of weir-system"),
        (TIER_URL, "stranger", "figures of tiers in namespace llm are for ServiceAccounts of that namespace or of"),
        (f"{PREFIX}/tiers/llm/absent", "stranger", "the token is that of team-b/scaler"),
    ):
        answer = await desk.ask(path, token)
        assert answer.status == 403
        assert said in answer.message


async def test_without_a_token_of_its_audience_nobody_is_told_anything(desk: Desk):
    assert (await desk.ask(token=None)).status == 401
    assert (await desk.ask(token="gateway")).status == 401  # which is good for config
    desk.scalers.trouble = ReviewUnavailable("TokenReview failed: 500")
    assert (await desk.ask()).message == "TokenReview failed: 500"


async def test_a_tier_that_is_not_there_is_said_to_be_missing(desk: Desk):
    answer = await desk.ask(f"{PREFIX}/tiers/llm/absent")
    assert (answer.status, answer.message) == (404, "there is no ModelTier llm/absent in the routers' config")


async def test_sidecars_count_for_the_tiers_of_their_own_namespace(desk: Desk):
    desk.report("app", 5, ServiceAccount("llm", "default"))
    desk.report("liar", 1000, TENANT)
    assert await desk.demand(TIER_URL) == 15
    assert await desk.demand(GATEWAY_URL) == 10


async def test_a_router_of_which_nothing_is_heard_keeps_its_figures_until_it_must_be_gone(desk: Desk):
    desk.now += REPORT_SECONDS - 1
    desk.report("gw-0", 4)
    assert await desk.demand() == 10
    desk.now += 2
    assert await desk.demand() == 4


async def test_a_router_that_ended_is_gone_soon(desk: Desk):
    desk.leader.known.left(GATEWAY, "gw-1")
    desk.now += LEFT_SECONDS
    assert await desk.demand() == 4


async def test_no_router_is_an_error_and_never_nothing(desk: Desk):
    desk.now += REPORT_SECONDS + 1
    answer = await desk.ask()
    assert (answer.status, answer.message) == (503, "no router of the gateway has reported within 90 s")
    desk.config = None
    assert "no config yet" in (await desk.ask()).message


async def test_a_router_of_an_older_version_is_none_that_could_be_added_up(desk: Desk):
    desk.now += REPORT_SECONDS + 1
    desk.leader.known.note(GATEWAY, None, RouterReport(router="old"))
    assert (await desk.ask()).status == 503


async def test_a_new_leader_waits_until_as_many_have_reported_as_there_were(desk: Desk):
    desk.config = msgspec.structs.replace(desk.config, routers=3)
    desk.led_since = desk.now - 5
    answer = await desk.ask()
    assert answer.status == 503
    assert "has heard of 2 of 3 routers so far" in answer.message
    desk.report("gw-2", 1)
    assert await desk.demand() == 11


async def test_after_a_while_who_has_not_reported_is_not_there(desk: Desk):
    desk.config = msgspec.structs.replace(desk.config, routers=3)
    desk.led_since = desk.now - SETTLED_SECONDS
    assert await desk.demand() == 10


async def test_a_follower_answers_for_the_leader(desk: Desk):
    assert await desk.demand(follower=True) == 10
    assert await desk.demand(TIER_URL, "owner", follower=True) == 10
    assert (await desk.ask(TIER_URL, "stranger", follower=True)).status == 403
    assert (await desk.ask(f"{PREFIX}/tiers/llm/absent", follower=True)).status == 404


async def test_the_leader_hears_how_busy_a_followers_routers_are_with_the_next_look(desk: Desk):
    desk.report("gw-2", 1, at=desk.follower)
    assert await desk.relay.look(desk.session)
    desk.report("gw-2", 30, at=desk.follower)
    assert await desk.relay.look(desk.session)
    assert await desk.demand(follower=True) == 40
    assert not await desk.relay.look(desk.session)


async def test_without_a_leader_a_follower_has_no_answer(desk: Desk):
    desk.leader_url = None
    assert "no replica of the operator leads" in (await desk.ask(follower=True)).message
    desk.leader_url = "http://127.0.0.1:9"
    answer = await desk.ask(follower=True)
    assert (answer.status, "cannot be asked" in answer.message) == (503, True)


@pytest.mark.parametrize("token", ["gateway", "tenant"])
async def test_only_replicas_may_ask_as_replicas(desk: Desk, token: str):
    assert (await desk.ask(f"{RELAYED_PREFIX}/gateway", token)).status == 403
    assert (await desk.ask(f"{RELAYED_PREFIX}/gateway", "platform")).status == 401


async def test_questions_at_the_same_time_are_answered_each(desk: Desk):
    assert await asyncio.gather(*(desk.demand(follower=bool(it % 2)) for it in range(20))) == [10] * 20
