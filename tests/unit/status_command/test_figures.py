"""Figures of several routers: sums, counts and quantiles of buckets."""

from __future__ import annotations

import json
import math
from io import StringIO
from typing import Any

import aiohttp
import pytest
from rich.console import Console

from support.callers import one
from support.stand import Stand, stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_cli.status.command import _look, notes, record
from weir_cli.status.figures import Page, figures, quantile
from weir_router.contract import Price, TierRef

A, B = "llm/t0/a", "llm/t1/b"


async def page(s: Stand, router: str = "r") -> Page:
    """A real router's metrics page."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{s.router.admin_url}/metrics") as answer:
            metrics = await answer.text()
        async with session.get(f"{s.router.admin_url}/state") as answer:
            return Page(router, metrics, await answer.json())


async def test_a_real_router_s_requests_shares_and_dollars():
    changes = {"b": {"price": Price(input=100.0, output=100.0)}}
    async with stand([SimModel("a")], [SimModel("b")], changes=changes, baseline=TierRef(tier="llm/t1")) as s:
        await one(s)
        s.sim.fault("a", Fault(FaultKind.REFUSE))
        await one(s)
        found = figures([await page(s)])
    a, b = found.backends[A], found.backends[B]
    assert (found.requests, a.requests, b.requests) == (2, 1, 1)
    assert (a.failed, b.failed) == (1, 0)
    assert 0 < a.dollars < a.baseline
    assert a.saved == pytest.approx(a.baseline - a.dollars)
    assert (quantile(a.ttft, 0.5) or 9) < 1


async def test_requests_that_fell_are_shown_by_policy_and_by_route():
    changes = {"a": {"price": Price(input=9.0, output=9.0)}, "b": {"price": Price(input=1.0, output=1.0)}}
    async with stand([SimModel("a")], [SimModel("b")], changes=changes) as s:
        await one(s)
        calm = _look([await page(s)], [], 0)
        s.sim.fault("a", Fault(FaultKind.STATUS, status=403, body="<html>go away</html>"))
        for _ in range(3):
            await one(s)
        look = _look([await page(s, "one"), await page(s, "two")], [], 0)
        s.sim.fault("b", Fault(FaultKind.REFUSE))
        await one(s)
        found = figures([await page(s)])
    counts = {"requests": 8, "cheaper": 6, "dearer": 0, "unserved": 0}
    (told,) = look.record["policies"]
    assert told == {"policy": "team-a/assistants", **counts, "routes": [{"route": "all", **counts}]}
    assert found.policies["team-a/assistants"]["all"].unserved == 1
    assert (look.bad, calm.bad) == (True, False)
    assert look.notes == (f"{A} answers nothing: blocked: HTTP 403",)
    told = look.record["backends"][0]
    assert (told["states"], told["failing"], told["words"]) == ({"closed": 2}, 2, "blocked: HTTP 403")
    shown, without = StringIO(), StringIO()
    Console(file=shown, width=150).print(look.shown)
    Console(file=without, width=150).print(calm.shown)
    assert "6 (75%)" in shown.getvalue()
    assert "cheaper" not in without.getvalue()


async def test_two_routers_add_up_and_their_states_are_counted():
    async with stand([SimModel("a")], [SimModel("b")]) as s:
        await one(s)
        page_one = await page(s, "one")
        for _ in range(5):
            s.sim.fault("a", Fault(FaultKind.REFUSE))
            await one(s)
        found = figures([page_one, await page(s, "two")])
    assert found.routers == 2
    assert found.backends[A].requests == 2  # one each
    assert found.backends[A].states == {"closed": 1, "open": 1}
    assert any(line.startswith(f"{A} is closed 1, open 1: ") for line in notes(found))


async def test_between_two_looks_only_what_happened_counts():
    async with stand([SimModel("a")]) as s:
        await one(s)
        before = await page(s)
        for _ in range(3):
            await one(s)
        found = figures([await page(s)], [before])
    assert found.backends[A].requests == 3
    assert sum(it for it in found.backends[A].ttft.values() if math.isinf(it)) == 0
    assert found.backends[A].ttft[math.inf] == 3


async def test_a_router_that_restarted_meanwhile_counts_nothing_less_than_nothing():
    async with stand([SimModel("a")]) as s:
        fresh = await page(s)
        await one(s)
        found = figures([fresh], [await page(s)])
    assert found.backends[A].requests == 0
    assert quantile(found.backends[A].ttft, 0.5) is None


async def test_errors_are_counted_by_their_code():
    async with stand([SimModel("a")]) as s:
        s.sim.fault("a", Fault(FaultKind.REFUSE))
        await one(s)
        await one(s, model="nobody-has-it")
        found = figures([await page(s)])
    assert found.errors == {"all_backends_unavailable": 1, "model_not_found": 1}


def bare(**state: Any) -> Page:
    return Page("gw-0", "", {"revision": 7, "rejected": None, "backends": {}, **state})


def test_what_routers_refuse_and_that_they_differ_is_said():
    found = figures([bare(), bare(revision=8, rejected="shard 07 is not there yet"), bare(revision=None)])
    assert found.revisions == (7, 8)
    assert notes(found)[:2] == [
        "gw-0 refuses a newer config: shard 07 is not there yet",
        "Routers run different revisions; that should be over in a second.",
    ]


def test_machines_get_no_infinity():
    assert json.loads(json.dumps(record(figures([bare()])), allow_nan=False))["routers"] == 1


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        ({}, 0.5, None),
        ({1.0: 0, math.inf: 0}, 0.5, None),
        ({1.0: 10, math.inf: 10}, 0.5, 0.5),
        ({1.0: 5, 2.0: 10, math.inf: 10}, 0.5, 1.0),
        ({1.0: 0, 2.0: 10, math.inf: 10}, 0.95, 1.95),
        ({1.0: 5, 2.0: 5, math.inf: 10}, 0.9, math.inf),
    ],
)
def test_quantiles_are_those_of_prometheus(buckets: dict[float, float], share: float, value: float | None):
    found = quantile(buckets, share)
    assert found == value if value is None or math.isinf(value) else found == pytest.approx(value)
