"""The config server over HTTP: rights, times of answers, and kept reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from support.config_server import GATEWAY, TENANT, KnownTokens, Polled, Stand, serving
from support.published import VALUES, compiled, policy
from weir_operator.distribute import offers, reports, server
from weir_operator.distribute.reports import REPORT_SECONDS
from weir_operator.distribute.reviews import CachedReviewer
from weir_operator.kube.token_reviews import ReviewUnavailable
from weir_router.contract import MAX_REPORT_BYTES, BackendReport, CallerRule, PolicyReport, RouteReport, RouterReport
from weir_router.contract.delta import updated

ONE, TWO = compiled(policy(models=("one",))), compiled(policy(models=("two",)))
THEIRS = policy("theirs", namespace="team-b", callers=(CallerRule(namespaces=frozenset({"team-b"})),))


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with serving() as stand:
        yield stand


def report(router: str = "r", **fields: object) -> dict[str, bytes]:
    return {"data": msgspec.json.encode(RouterReport(router=router, **fields))}


async def test_who_has_nothing_gets_the_view_at_once(stand: Stand):
    stand.publish(ONE)
    answer = await stand.poll(wait=50)
    assert (answer.status, answer.delivery.config.revision) == (200, 1)
    assert answer.delivery.config.policies == ONE.config.policies
    assert answer.delivery.secrets == ONE.secrets
    assert (await stand.poll("tenant")).delivery.secrets.credentials == {}


async def test_who_has_the_view_gets_304_when_the_wait_is_over(stand: Stand):
    stand.publish(ONE)
    etag = (await stand.poll()).etag
    answer = await stand.poll(seen=etag)
    assert (answer.status, answer.body, answer.etag) == (304, b"", etag)


async def test_a_change_answers_all_who_wait(stand: Stand):
    stand.publish(ONE)
    etag = (await stand.poll()).etag
    polls = [asyncio.create_task(stand.poll(seen=etag, wait=50)) for _ in range(20)]
    await stand.until_waiting(20)
    stand.publish(TWO, 2)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*polls)
    assert {it.delivery.config.revision for it in answers} == {2}
    assert stand.server.waiting == 0


async def test_a_change_that_does_not_concern_a_namespace_does_not_wake_it(stand: Stand):
    stand.publish(compiled(policy()))
    etag = (await stand.poll("tenant")).etag
    poll = asyncio.create_task(stand.poll("tenant", seen=etag, wait=50))
    await stand.until_waiting()
    stand.publish(compiled(policy(), THEIRS), 2)
    assert (await stand.poll("stranger")).delivery.config.revision == 2
    assert (await stand.poll("tenant", seen=etag)).status == 304
    assert not poll.done()
    stand.publish(TWO, 3)
    assert (await poll).delivery.config.revision == 3


async def test_the_gateway_s_router_that_asks_for_it_gets_only_what_has_changed(stand: Stand):
    stand.publish(ONE)
    first = await stand.poll()
    stand.publish(TWO, 2)
    answer = await stand.poll(seen=first.etag, deltas=True)
    assert (answer.status, answer.headers["IM"], answer.etag) == (226, "weir-delta", (await stand.poll()).etag)
    assert updated(first.delivery, answer.delta) == (await stand.poll()).delivery


@pytest.mark.parametrize(
    ("token", "seen", "deltas"), [("gateway", True, False), ("gateway", False, True), ("tenant", True, True)]
)
async def test_everybody_else_gets_the_whole(stand: Stand, token: str, seen: bool, deltas: bool):
    stand.publish(ONE)
    etag = (await stand.poll(token)).etag
    stand.publish(TWO, 2)
    answer = await stand.poll(token, seen=etag if seen else '"of another replica"', deltas=deltas)
    assert (answer.status, answer.delivery.config.revision) == (200, 2)


async def test_who_is_too_far_behind_gets_the_whole(stand: Stand):
    stand.publish(ONE)
    first = (await stand.poll()).etag
    for revision in range(2, offers.EARLIER + 3):
        stand.publish((ONE, TWO)[revision % 2], revision)
        await stand.poll()
    stand.publish(compiled(policy(models=("three",))), 100)
    assert (await stand.poll(seen=first, deltas=True)).status == 226  # its content was on offer since
    for number in range(offers.EARLIER + 1):
        stand.publish(compiled(policy(models=(f"model-{number}",))), 101 + number)
        await stand.poll()
    assert (await stand.poll(seen=first, deltas=True)).status == 200


async def test_what_was_published_already_wakes_nobody(stand: Stand):
    stand.publish(ONE)
    etag = (await stand.poll()).etag
    poll = asyncio.create_task(stand.poll(seen=etag, wait=50))
    await stand.until_waiting()
    before = stand.server._offer
    stand.publish(ONE)
    assert stand.server._offer is before
    poll.cancel()


async def test_before_the_first_config_a_poll_waits_for_it(stand: Stand):
    poll = asyncio.create_task(stand.poll(wait=50))
    await stand.until_waiting()
    stand.publish(ONE)
    assert (await poll).status == 200


async def test_without_config_the_end_of_the_wait_says_so(stand: Stand):
    answer = await stand.poll()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert "no config yet" in answer.message


async def test_a_view_is_made_once_for_all_who_share_it(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []
    view = offers.View
    monkeypatch.setattr(offers, "View", lambda *args: (made.append(1), view(*args))[1])
    stand.publish(ONE)
    for token in ("gateway", "tenant", "gateway", "tenant"):
        await stand.poll(token)
    assert len(made) == 2


async def test_a_router_that_goes_away_waits_no_more(stand: Stand):
    stand.publish(ONE)
    etag = (await stand.poll()).etag
    poll = asyncio.create_task(stand.poll(seen=etag, wait=50))
    await stand.until_waiting()
    poll.cancel()
    await stand.until_waiting(0)
    stand.now = reports.LEFT_SECONDS - 1
    assert [it.report.router for it in stand.server.reports] == ["r"]
    stand.now += 1
    assert stand.server.reports == []


async def test_a_replica_that_ends_sends_who_waits_to_another(stand: Stand):
    stand.publish(ONE)
    etag = (await stand.poll()).etag
    poll = asyncio.create_task(stand.poll(seen=etag, wait=50))
    await stand.until_waiting()
    await stand.server.app.shutdown()
    answer = await poll
    assert (answer.status, answer.message) == (503, "this replica of the operator ends; ask another")


@pytest.mark.parametrize(
    ("token", "said"), [(None, "a ServiceAccount token is needed"), ("forged", "nobody knows this token")]
)
async def test_without_a_good_token_the_answer_is_401_with_the_reason(stand: Stand, token: str | None, said: str):
    stand.publish(ONE)
    answer = await stand.poll(token)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert said in answer.message
    assert VALUES[0] not in answer.body.decode()
    assert stand.server.reports == []


async def test_with_the_api_server_away_known_routers_are_served_and_others_get_503():
    known = KnownTokens()
    async with serving(CachedReviewer(known)) as stand:
        stand.publish(ONE)
        await stand.poll("gateway")
        known.trouble = ReviewUnavailable("TokenReview failed: away")
        assert (await stand.poll("gateway")).status == 200
        answer = await stand.poll("tenant")
        assert (answer.status, answer.message) == (503, "TokenReview failed: away")


async def test_the_report_of_a_poll_is_kept_while_the_poll_still_waits(stand: Stand):
    stand.publish(ONE)
    etag = (await stand.poll()).etag
    said = RouterReport(router="gw-0", revision=1, backends={"llm/small/b0": BackendReport(state="open")})
    poll = asyncio.create_task(stand.poll(seen=etag, wait=50, data=msgspec.json.encode(said)))
    await stand.until_waiting()
    (found,) = (it for it in stand.server.reports if it.report.router == "gw-0")
    assert (found.report, found.account, found.gateway, found.current) == (said, GATEWAY, True, True)
    stand.publish(TWO, 2)
    assert [it.current for it in stand.server.reports] == [False, False]
    await poll


async def test_a_router_that_refused_the_config_is_not_current(stand: Stand):
    stand.publish(ONE)
    etag = (await stand.poll()).etag
    await stand.poll(seen=etag, **report(rejected="version"))
    assert [(it.current, it.report.rejected) for it in stand.server.reports] == [(False, "version")]


async def test_a_tenants_router_says_nothing_of_the_policies_of_others(stand: Stand):
    stand.publish(ONE)
    fell = PolicyReport(routes={"all": RouteReport(requests=9, cheaper=9)})
    said = {"policies": dict.fromkeys(("team-a/own", "team-b/theirs", "llm/platforms"), fell)}
    await stand.poll("gateway", **report("gw-0", **said))
    await stand.poll("tenant", **report("app", **said))
    heard = {it.report.router: list(it.report.policies) for it in stand.server.reports}
    assert heard == {"gw-0": list(said["policies"]), "app": ["team-a/own"]}


async def test_nobody_can_speak_for_a_router_of_somebody_else(stand: Stand):
    stand.publish(ONE)
    await stand.poll("gateway", **report("gw-0", revision=1))
    await stand.poll("tenant", **report("gw-0", revision=99))
    assert {(it.account, it.gateway, it.report.revision) for it in stand.server.reports} == {
        (GATEWAY, True, 1),
        (TENANT, False, 99),
    }


async def test_a_report_is_forgotten_when_its_router_is_silent(stand: Stand):
    stand.publish(ONE)
    await stand.poll(**report("one"))
    stand.now = REPORT_SECONDS - 1
    await stand.poll(**report("two"))
    assert [it.report.router for it in stand.server.reports] == ["one", "two"]
    stand.now = REPORT_SECONDS
    assert [it.report.router for it in stand.server.reports] == ["two"]


async def test_a_namespace_has_only_so_many_reports_kept_but_is_served(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reports, "MAX_REPORTS", 2)
    stand.publish(ONE)
    answers = [await stand.poll("tenant", **report(str(number))) for number in range(3)]
    await stand.poll("gateway", **report("gw-0"))
    assert {it.status for it in answers} == {200}
    assert [it.report.router for it in stand.server.reports] == ["0", "1", "gw-0"]
    stand.now = REPORT_SECONDS
    await stand.poll("tenant", **report("3"))
    assert [it.report.router for it in stand.server.reports] == ["3"]


async def test_a_report_that_is_too_large_or_none_is_refused(stand: Stand):
    stand.publish(ONE)
    large = report("x" * MAX_REPORT_BYTES)
    statuses = [(await stand.poll(token, **large)).status for token in ("tenant", "gateway")]
    assert statuses == [413, 200]
    answer: Polled = await stand.poll(data=b"{}")
    assert (answer.status, "not a RouterReport" in answer.message) == (400, True)


async def test_the_wait_is_bounded_whatever_is_preferred(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "MAX_WAIT", 0.01)
    stand.publish(ONE)
    etag = (await stand.poll()).etag
    assert (await stand.poll(seen=etag, wait=999_999)).status == 304


async def test_every_router_hears_of_another_authority_and_none_twice(stand: Stand):
    stand.publish(ONE)
    etag = (await stand.poll("tenant")).etag
    waiting = asyncio.create_task(stand.poll("tenant", seen=etag, wait=50))
    await stand.until_waiting()
    stand.server.trust("PEM of two")
    async with asyncio.timeout(5):
        answer = await waiting
    assert (answer.delivery.authorities, answer.delivery.config.revision) == ("PEM of two", 1)
    stand.server.trust("PEM of two")
    assert (await stand.poll("tenant", seen=answer.etag)).status == 304
    stand.publish(TWO, 2)
    assert (await stand.poll("gateway")).delivery.authorities == "PEM of two"
