"""The order within a tier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from weir_router.contract import Backend, CallerKind, Capability, Complexity, Dialect, Price, Selection, TierRef
from weir_router.contract.caller import Caller
from weir_router.decide.draws import Draws
from weir_router.decide.rank import Option, expected_cost, order_backends, placed
from weir_router.decide.request import RouteRequest
from weir_router.decide.types import Asked, told
from weir_router.estimate.prompt import Features
from weir_router.health.view import Snapshot

Make = Callable[..., Any]
REF = TierRef(tier="llm/t")
CHEAPEST, LATENCY, WEIGHTED = Selection.CHEAPEST, Selection.LEAST_LATENCY, Selection.WEIGHTED
WELL = Snapshot()


CALLER = Caller(namespace="n", name="c", kind=CallerKind.API_KEY)
ASKED = Asked(model="auto", features=Features(tokens=10, words=1, turns=1))
ASKED_WITH_TOOLS = Asked(model="auto", features=ASKED.features, needs=frozenset({Capability.TOOLS}))
PLAIN, WITH_TOOLS = (RouteRequest(asked, CALLER, Complexity.SIMPLE, 0.0) for asked in (ASKED, ASKED_WITH_TOOLS))


def option(backend: Backend, view: Snapshot = WELL, seed: int = 1, request: RouteRequest = PLAIN) -> Option:
    return placed(Option(REF, backend, f"llm/t/{backend.name}", view), request, Draws((seed + 0.5) / 1_000))


def names(selection: Selection, request: RouteRequest, *options: Option, seed: int = 1) -> str:
    return "".join(
        o.backend.name for o in order_backends(selection, list(options), request, Draws((seed + 0.5) / 1_000))
    )


@pytest.mark.parametrize(("max_output", "cost"), [(None, 612.0), (4_096, 612.0), (10, 120.0)])
def test_the_cost_assumes_256_output_tokens_at_most(request_of: Make, max_output: int | None, cost: float) -> None:
    priced = Backend(name="a", provider=Dialect.OPENAI, base_url="", model="m", price=Price(input=1, output=2))
    assert expected_cost(priced, request_of(100, max_output=max_output)) == pytest.approx(cost / 1e6)


def test_cheapest_goes_by_price_and_unknown_prices_last(backend: Make, request_of: Make) -> None:
    options = [option(backend("u", price=None)), option(backend("b", 2)), option(backend("a", 1))]
    assert names(CHEAPEST, request_of(), *options) == "abu"


def test_a_backend_that_is_slower_than_the_requests_budget_stands_behind(backend: Make) -> None:
    hurried = RouteRequest(replace(ASKED, latency_budget=0.8), CALLER, Complexity.SIMPLE, 0.0)

    def options(request: RouteRequest) -> list[Option]:
        views = {"s": Snapshot(ttft_p95=0.9), "f": Snapshot(ttft_p95=0.8), "u": WELL}
        return [option(backend(name, price), views[name], request=request) for price, name in enumerate("sfu", 1)]

    assert names(CHEAPEST, PLAIN, *options(PLAIN)) == "sfu"
    late, *rest = options(hurried)
    assert names(CHEAPEST, hurried, late, *rest) == "fus"
    assert late.behind == "its p95 TTFT of 0.90 s exceeds the request's 0.8 s"
    assert [it.seen().ttft_p95 for it in (late, *rest)] == [0.9, 0.8, None]
    assert options(PLAIN)[0].seen().ttft_p95 is None


def test_missing_objectives_or_a_full_backend_stand_behind_whatever_they_cost(backend: Make, request_of: Make) -> None:
    slow = option(backend("s", 1), Snapshot(keeps_objectives=False))
    full = option(backend("f", 2), Snapshot(saturated=True))
    assert names(CHEAPEST, request_of(), slow, full, option(backend("d", 9))) == "dsf"


@pytest.mark.parametrize(
    ("request_", "refuses", "order"),
    [(WITH_TOOLS, {"tools", "seed"}, "da"), (PLAIN, {"tools"}, "ad"), (WITH_TOOLS, {"seed", "image"}, "ad")],
)
def test_a_model_that_refuses_a_field_of_the_request_stands_behind(
    backend: Make, request_: RouteRequest, refuses: set[str], order: str
) -> None:
    lacks = option(backend("a", 1), Snapshot(refuses=frozenset(refuses)), request=request_)
    assert names(CHEAPEST, request_, lacks, option(backend("d", 9))) == order
    assert (lacks.behind == "its model has refused tools") is (order == "da")


@pytest.mark.parametrize("selection", Selection)
def test_one_that_has_just_returned_is_first_as_often_as_its_share_says(
    backend: Make, request_of: Make, selection: Selection
) -> None:
    def first(seed: int) -> str:
        back = option(backend("b", 1, weight=1000), Snapshot(share=0.2, score=0.1), seed)
        return names(selection, request_of(), back, option(backend("d", 9)), seed=seed)[0]

    assert 50 < Counter(map(first, range(400)))["b"] < 110


def test_power_of_two_choices_shares_by_what_is_under_way(backend: Make, request_of: Make) -> None:
    """Each request goes to the better of two: as long as all answer alike none is ever two ahead of another."""
    pending = Counter(a=0, b=0, c=0)
    for seed in range(300):
        views = {name: Snapshot(score=pending[name] + 1) for name in pending}
        options = [option(backend(name), view) for name, view in views.items()]
        pending[names(LATENCY, request_of(), *options, seed=seed)[0]] += 1
    assert max(pending.values()) - min(pending.values()) <= 6


def test_equal_prices_share_by_score(backend: Make, request_of: Make) -> None:
    """The better of two always; of three never the worst, and not always the best, or it would be flooded."""
    two = [option(backend("a"), Snapshot(score=9)), option(backend("b"), Snapshot(score=1))]
    assert {names(CHEAPEST, request_of(), *two, seed=s) for s in range(20)} == {"ba"}
    three = [*two, option(backend("c"), Snapshot(score=2))]
    first = Counter(names(CHEAPEST, request_of(), *three, seed=s)[0] for s in range(200))
    assert first["a"] == 0
    assert first["b"] > first["c"] > 20


def test_least_latency_ignores_the_price(backend: Make, request_of: Make) -> None:
    dear = option(backend("d", 9), Snapshot(score=1))
    assert names(LATENCY, request_of(), option(backend("c", 1), Snapshot(score=2)), dear) == "dc"


def test_weights_decide_how_often_a_backend_is_first(backend: Make, request_of: Make) -> None:
    options = [option(backend("a", weight=3)), option(backend("b", weight=1)), option(backend("z", weight=0))]
    orders = Counter(names(WEIGHTED, request_of(), *options, seed=s) for s in range(400))
    assert set(orders) == {"abz", "baz"}
    assert 260 < orders["abz"] < 340


def test_each_says_why_it_stands_where_it_does(backend: Make, request_of: Make) -> None:
    full = option(backend("f", None), Snapshot(saturated=True))
    slow = option(backend("s", 1), Snapshot(keeps_objectives=False))
    ordered = order_backends(CHEAPEST, [full, slow, option(backend("a", 1))], request_of(), Draws(0.5))
    assert [told(o.notes) for o in ordered] == [
        "costs about $0.000356",
        "costs about $0.000356; misses its objectives",
        "price unknown: last in cost order; at its concurrency limit",
    ]
    noted = order_backends(LATENCY, [option(backend(), Snapshot(score=1.5))], request_of(), Draws(0.5))
    assert told(noted[0].notes) == "latency score 1.50"


VIEWS = st.builds(Snapshot, score=st.floats(0, 1e6), keeps_objectives=st.booleans(), saturated=st.booleans())
PRICES = st.sampled_from([None, 0.0, 1.0, 2.0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(PRICES, VIEWS), max_size=5), st.sampled_from(Selection), st.integers(0, 9))
def test_ordering_loses_and_invents_nobody(
    drawn: list[tuple[float | None, Snapshot]], selection: Selection, seed: int
) -> None:
    options = []
    for i, (price, view) in enumerate(drawn):
        tariff = None if price is None else Price(input=price, output=price)
        backend = Backend(name=str(i), provider=Dialect.OPENAI, base_url="", model="m", price=tariff)
        options.append(option(backend, view))
    ordered = order_backends(selection, options, PLAIN, Draws((seed + 0.5) / 1_000))
    assert sorted(o.key for o in ordered) == [o.key for o in options]
    behind = [not o.view.keeps_objectives or o.view.saturated for o in ordered]
    assert behind == sorted(behind)
