"""Requests that another tier answered than their route wants: which ones count as falls, and where they went."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from support.finished import finished
from weir_router.contract import (
    Backend,
    CompiledConfig,
    Dialect,
    Override,
    Policy,
    PolicyReport,
    Price,
    Route,
    RouteReport,
    Tier,
    TierRef,
)
from weir_router.decide.types import UNSEEN, Candidate, Choice, Seen, Skipped
from weir_router.errors import AttemptRecord, FailureKind, ModelMissing, RateLimited, Unavailable, UpstreamRefused
from weir_router.record.falls import BUCKET_SECONDS, CHEAPER, DEARER, FIRST, UNSERVED, placed
from weir_router.record.finished import Finished
from weir_router.record.metrics import Metrics

LARGE, MIDDLE, SMALL = "llm/large", "llm/middle", "llm/small"
PRICES = {LARGE: (10.0, 30.0), MIDDLE: (3.0, 9.0), SMALL: (0.1, 0.4)}
POLICY = Policy(
    namespace="a",
    name="p",
    models=("auto",),
    callers=(),
    routes=(
        Route(name="hard", tiers=(TierRef(tier=LARGE), TierRef(tier=MIDDLE), TierRef(tier=SMALL))),
        Route(name="easy", tiers=(TierRef(tier=SMALL), TierRef(tier=LARGE))),
    ),
)


def backend(tier: str) -> Backend:
    price = None if tier not in PRICES else Price(input=PRICES[tier][0], output=PRICES[tier][1])
    return Backend(name="b", provider=Dialect.OPENAI, base_url="http://b", model="m", price=price)


def candidate(tier: str, seen: Seen = UNSEEN) -> Candidate:
    return Candidate(tier, backend(tier), f"{tier}/b", (), seen=seen)


def out(tier: str, *, unfit: bool = False, seen: Seen | None = UNSEEN) -> Skipped:
    return Skipped(tier, "b", "because", f"{tier}/b", unfit, seen=None if unfit else seen)


def tried(tier: str, outcome: str = "ok") -> AttemptRecord:
    return AttemptRecord(tier, "b", outcome, 1.0)


def request(
    tier: str | None,
    *places: Candidate | Skipped,
    attempts: tuple[AttemptRecord, ...] = (),
    route: str = "hard",
    now: float = 1_000.0,
    policy: Policy = POLICY,
    diverted: bool = False,
    **changes: Any,
) -> Finished:
    candidates = tuple(it for it in places if isinstance(it, Candidate))
    skipped = tuple(it for it in places if isinstance(it, Skipped))
    choice = Choice(route=route, candidates=candidates, skipped=skipped, reason="", diverted=diverted)
    tiers = {
        key: Tier(namespace="llm", name=key[4:], backends=(backend(key),)) for key in (LARGE, MIDDLE, SMALL, "llm/free")
    }
    decision = finished(policy=policy).decision
    assert decision is not None
    decision = msgspec.structs.replace(decision, choice=choice, now=now, config=CompiledConfig(tiers=tiers))
    trail = [*attempts, *([tried(tier)] if tier else [])]
    return finished(policy=policy, tier=tier, attempts=trail, decision=decision, **changes)


def place(ended: Finished, route: int = 0) -> int | None:
    return placed(ended, POLICY.routes[route])


@pytest.mark.parametrize(
    "outcome", ["credential", "model", "connect", "rate_limit", "server", "blocked", "empty", "silent"]
)
def test_a_tier_that_failed_made_the_request_fall(outcome: str) -> None:
    both = candidate(LARGE), candidate(MIDDLE)
    assert place(request(MIDDLE, *both, attempts=(tried(LARGE, outcome),))) == CHEAPER


@pytest.mark.parametrize(
    "outcome", ["unfit", "caller", "context_length", "lossy", "rejected", "added", "content_filter"]
)
def test_a_tier_that_the_request_does_not_suit_did_not(outcome: str) -> None:
    both = candidate(LARGE), candidate(MIDDLE)
    assert place(request(MIDDLE, *both, attempts=(tried(LARGE, outcome),))) == FIRST


@pytest.mark.parametrize(
    ("first", "where"),
    [
        (out(LARGE), CHEAPER),  # an open breaker
        (candidate(LARGE, Seen(saturated=True)), CHEAPER),
        (candidate(LARGE, Seen(share=0.3, state="closed")), CHEAPER),
        (candidate(LARGE), CHEAPER),  # lost its slot or opened before the request came to it
        (out(LARGE, unfit=True), FIRST),
        (out(LARGE, seen=None), FIRST),  # drained
        (candidate(LARGE, Seen(keeps_objectives=False)), FIRST),
        (candidate(LARGE, Seen(ttft_p95=3.0)), FIRST),  # for a latency budget
        (candidate(LARGE, Seen(refuses=frozenset({"tools"}))), FIRST),
    ],
)
def test_a_tier_that_was_not_tried_falls_only_if_it_was_not_well(first: Candidate | Skipped, where: int) -> None:
    assert place(request(MIDDLE, first, candidate(MIDDLE))) == where


def test_a_grant_that_is_used_up_is_the_policys_choice() -> None:
    both = candidate(LARGE), candidate(MIDDLE)
    assert place(request(MIDDLE, *both, over_quota=[LARGE])) == FIRST
    assert place(request(MIDDLE, out(LARGE), both[1], over_quota=[LARGE])) == CHEAPER


def test_a_prompt_that_was_too_long_passes_the_tiers_that_are_no_larger() -> None:
    three = candidate(LARGE), candidate(MIDDLE), candidate(SMALL)
    assert place(request(SMALL, *three, attempts=(tried(LARGE, FailureKind.CONTEXT_LENGTH),))) == FIRST


def test_the_first_tier_that_could_not_serve_says_from_where_it_fell() -> None:
    attempts = tried(LARGE, "unfit"), tried(MIDDLE, "server")
    assert place(request(SMALL, candidate(LARGE), candidate(MIDDLE), candidate(SMALL), attempts=attempts)) == CHEAPER
    assert place(request(LARGE, out(SMALL), candidate(LARGE), route="easy"), 1) == DEARER


@pytest.mark.parametrize("unpriced", [SMALL, LARGE])
def test_without_a_price_a_later_tier_counts_as_dearer(monkeypatch: pytest.MonkeyPatch, unpriced: str) -> None:
    monkeypatch.delitem(PRICES, unpriced)
    assert place(request(SMALL, out(LARGE), candidate(SMALL))) == DEARER


def test_the_better_backend_of_one_tier_is_no_fall() -> None:
    assert place(request(LARGE, out(LARGE), candidate(LARGE), attempts=(tried(LARGE, "server"),))) == FIRST


def test_an_override_and_observe_are_no_fall() -> None:
    assert place(request(SMALL, candidate(SMALL), diverted=True)) == FIRST
    policy = msgspec.structs.replace(POLICY, override=Override(tier=TierRef(tier=SMALL), until=9e9))
    assert place(request(SMALL, candidate(SMALL), policy=policy, diverted=True)) == FIRST


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (Unavailable("all out"), UNSERVED),
        (ModelMissing("none has it"), UNSERVED),
        (RateLimited("quota"), None),
        (UpstreamRefused("too hot", status=400, code=None), None),
        (None, None),  # the caller left
    ],
)
def test_a_request_without_an_answer_is_unserved_if_the_tiers_are_to_blame(error: Any, where: int | None) -> None:
    assert place(request(None, out(LARGE), error=error, outcome="error")) == where


def observed(metrics: Metrics, count: int, *places: Candidate | Skipped, tier: str | None, **more: Any) -> None:
    for _ in range(count):
        metrics.observe(request(tier, *places, **more))


def test_the_counts_of_ten_minutes_are_reported_and_older_ones_are_forgotten() -> None:
    metrics = Metrics()
    observed(metrics, 5, candidate(LARGE), tier=LARGE, now=30.0)
    observed(metrics, 2, out(LARGE), candidate(MIDDLE), tier=MIDDLE, now=30.0)
    observed(metrics, 1, out(SMALL), candidate(LARGE), tier=LARGE, route="easy", now=290.0)
    observed(metrics, 3, out(LARGE), tier=None, error=Unavailable("out"), now=290.0)
    hard, easy = RouteReport(requests=10, cheaper=2, unserved=3), RouteReport(requests=1, dearer=1)
    assert metrics.falls.report(299.0) == {"a/p": PolicyReport(routes={"hard": hard, "easy": easy})}
    it = metrics.falls.report(299.0)["a/p"]
    assert (it.requests, it.cheaper, it.dearer, it.unserved) == (11, 2, 1, 3)
    later = metrics.falls.report(30.0 + 600.0)["a/p"]
    assert later.routes["hard"] == RouteReport(requests=3, unserved=3)
    observed(metrics, 1, candidate(LARGE), tier=LARGE, now=839.0)
    assert metrics.falls.report(839.0)["a/p"].routes["hard"] == RouteReport(requests=4, unserved=3)
    assert metrics.falls.report(900.0)["a/p"].routes == {"hard": RouteReport(requests=1)}
    assert metrics.falls.report(2_000.0) == {}


def test_many_minutes_are_kept_in_ten_buckets() -> None:
    metrics = Metrics()
    for minute in range(100):
        observed(metrics, 1, candidate(LARGE), tier=LARGE, now=minute * BUCKET_SECONDS)
    (known,) = metrics.falls._routes.values()
    assert len(known.past) < 10
    assert metrics.falls.report(99 * BUCKET_SECONDS)["a/p"].requests == 10


def test_a_new_config_keeps_the_counts_and_follows_the_routes_new_order() -> None:
    metrics = Metrics()
    observed(metrics, 1, candidate(LARGE), tier=LARGE)
    turned = msgspec.structs.replace(POLICY, routes=(Route(name="hard", tiers=(TierRef(tier=SMALL),)),))
    metrics.falls.keep(CompiledConfig(policies=(turned,)))
    observed(metrics, 1, candidate(SMALL), tier=SMALL, policy=turned)
    assert metrics.falls.report(1_000.0)["a/p"].routes == {"hard": RouteReport(requests=2)}
    metrics.falls.keep(CompiledConfig())
    assert metrics.falls.report(1_000.0) == {}


def test_falls_are_metrics_by_direction() -> None:
    metrics = Metrics()
    observed(metrics, 2, out(LARGE), candidate(MIDDLE), tier=MIDDLE)
    observed(metrics, 1, out(SMALL), candidate(LARGE), tier=LARGE, route="easy")
    observed(metrics, 1, out(LARGE), tier=None, error=Unavailable("out"))
    read = metrics.registry.get_sample_value
    labels = {"policy": "a/p", "route": "hard"}
    assert read("weir_requests_elsewhere_total", labels | {"direction": "cheaper"}) == 2
    assert read("weir_requests_elsewhere_total", {"policy": "a/p", "route": "easy", "direction": "dearer"}) == 1
    assert read("weir_requests_unserved_total", labels) == 1
