"""Requests that another tier answers because the first one cannot, on a real router: they are counted and reported.

An override and other choices of a policy are no falls.
"""

from __future__ import annotations

from typing import Any

import pytest

from support.callers import one
from support.stand import NAMESPACE, Stand, stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.contract import Limit, Override, PolicyReport, Price, Route, RouteReport, TierRef
from weir_router.report.report import Reports

KEY = f"{NAMESPACE}/assistants"
CHEAP, DEAR = Price(input=0.1, output=0.4), Price(input=10.0, output=30.0)
BOTH = (Route(name="all", tiers=(TierRef(tier="llm/t0"), TierRef(tier="llm/t1"))),)


def reported(s: Stand) -> PolicyReport:
    router = s.router
    reports = Reports("gw-0", router.store, router.board, router.metrics, router.room, router.clock)
    return reports.report().policies.get(KEY, PolicyReport())


def counted(s: Stand, name: str, **labels: str) -> float:
    found = s.router.metrics.registry.get_sample_value(name, {"policy": KEY, "route": "all", **labels})
    return found or 0.0


def priced(first: Price | None, second: Price | None) -> dict[str, Any]:
    return {"a": {"price": first}, "b": {"price": second}}


@pytest.mark.parametrize(
    "kind", ["not_found", "unauthorized", "refuse", "server_error", "rate_limit", "payment_required"]
)
@pytest.mark.parametrize(
    ("first", "second", "direction"), [(DEAR, CHEAP, "cheaper"), (CHEAP, DEAR, "dearer"), (None, None, "dearer")]
)
async def test_a_tier_that_cannot_serve_sends_its_requests_to_a_cheaper_or_dearer_one(
    kind: str, first: Price | None, second: Price | None, direction: str
) -> None:
    async with stand([SimModel("a")], [SimModel("b")], changes=priced(first, second)) as s:
        await one(s)
        s.sim.fault("a", Fault(FaultKind(kind)))
        for _ in range(4):
            assert (await one(s)).status == 200
        found = reported(s)
        assert found.routes == {"all": RouteReport(requests=5, **{direction: 4})}
        assert counted(s, "weir_requests_elsewhere_total", direction=direction) == 4
        assert counted(s, "weir_requests_unserved_total") == 0


async def test_a_request_that_no_tier_can_serve_is_counted_as_such() -> None:
    async with stand([SimModel("a")], [SimModel("b")]) as s:
        for model in "ab":
            s.sim.fault(model, Fault(FaultKind.REFUSE))
        for _ in range(3):
            assert (await one(s)).status == 503
        assert reported(s).routes == {"all": RouteReport(requests=3, unserved=3)}
        assert counted(s, "weir_requests_unserved_total") == 3


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        ({}, {}),
        ({"override": Override(tier=TierRef(tier="llm/t1"), until=9e9)}, {}),
        (
            {
                "routes": (
                    Route(
                        name="all",
                        tiers=(
                            TierRef(tier="llm/t0", limits=(Limit(key="g", requests_per_minute=1),)),
                            TierRef(tier="llm/t1"),
                        ),
                    ),
                )
            },
            {},
        ),
    ],
    ids=["all well", "override", "a grant that is used up"],
)
async def test_what_the_policy_chooses_is_no_fall(policy: dict[str, Any], changes: dict[str, Any]) -> None:
    async with stand([SimModel("a")], [SimModel("b")], changes=priced(DEAR, CHEAP), **policy) as s:
        for _ in range(4):
            assert (await one(s)).status == 200
        assert reported(s).routes == {"all": RouteReport(requests=4)}


async def test_a_prompt_that_the_first_tier_has_no_room_for_is_no_fall() -> None:
    async with stand([SimModel("a", context_tokens=1)], [SimModel("b")], changes=priced(CHEAP, DEAR)) as s:
        assert (await one(s)).status == 200
        assert reported(s).routes == {"all": RouteReport(requests=1)}
