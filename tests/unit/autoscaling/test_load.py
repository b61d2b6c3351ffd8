"""Sums of the routers' reports."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from weir_operator.distribute.load import Said, of_gateway, of_tier
from weir_router.contract import Backend, BackendLimits, BackendReport, Dialect, RouterLoad, RouterReport, Tier, Waiting


def said(load: RouterLoad, age: float = 1.0, **backends: BackendReport) -> Said:
    keyed = {f"llm/own/{name}": it for name, it in backends.items()}
    return Said(RouterReport(router="r", backends=keyed, load=load), age)


def backend(name: str, concurrency: int | None = None) -> Backend:
    limits = BackendLimits(concurrency=concurrency)
    return Backend(name=name, provider=Dialect.OPENAI, base_url="http://x/v1", model="m", limits=limits)


def busy(in_flight: int, rate: float = 0.0) -> BackendReport:
    return BackendReport(state="closed", in_flight=in_flight, tokens_per_second=rate)


def tier(*backends: Backend) -> Tier:
    return Tier(namespace="llm", name="own", backends=backends)


def test_the_gateways_figures_are_sums_over_its_routers_and_of_ages_the_greatest():
    one = RouterLoad(in_flight=30, limit=100, room=Waiting(depth=2, oldest=0.5), tokens_per_second=10.5)
    two = RouterLoad(in_flight=90, limit=100, room=Waiting(depth=5, oldest=1.25), tokens_per_second=20)
    found = of_gateway([said(one, 2.04), said(two, 41.0)])
    assert msgspec.to_builtins(found) == {
        "replicas": 2,
        "oldestReportSeconds": 41.0,
        "inFlight": 120,
        "queueDepth": 7,
        "queueAgeSeconds": 1.25,
        "demand": 127,
        "saturation": 0.6,
        "tokensPerSecond": 30.5,
    }


def test_who_waits_for_a_backend_is_no_demand_on_the_gateway():
    found = of_gateway([said(RouterLoad(in_flight=3, limit=10, tiers={"llm/own": Waiting(depth=3, oldest=1)}))])
    assert (found.queue_depth, found.demand) == (0, 3)


def test_a_tiers_figures_are_what_its_backends_do_and_what_waits_for_any_of_them():
    waits = {"llm/own": Waiting(depth=4, oldest=2.0), "llm/other": Waiting(depth=9, oldest=9.0)}
    one = said(RouterLoad(tiers=waits), a=busy(3, 40), b=busy(1))
    two = said(RouterLoad(), a=busy(2, 2.5), elsewhere=busy(50))
    found = of_tier(tier(backend("a", concurrency=10), backend("b")), [one, two])
    assert (found.in_flight, found.queue_depth, found.queue_age_seconds, found.demand) == (6, 4, 2.0, 10)
    assert (found.saturation, found.tokens_per_second) == (0.5, 42.5)
    assert (found.backends["a"].in_flight, found.backends["a"].saturation) == (5, 0.5)
    assert (found.backends["b"].in_flight, found.backends["b"].saturation) == (1, None)


def test_a_router_that_does_not_know_the_tier_yet_adds_nothing():
    found = of_tier(tier(backend("a")), [said(RouterLoad()), said(RouterLoad(), a=busy(2))])
    assert (found.replicas, found.demand, found.saturation) == (2, 2, None)


def test_saturation_is_one_at_most():
    assert of_gateway([said(RouterLoad(in_flight=12, limit=10))]).saturation == 1.0


def test_endpoints_of_a_service_are_one_backend_with_the_room_of_all():
    pods = [replace(backend("a", concurrency=4), endpoint=f"10.0.0.{number}:80") for number in (1, 2)]
    reports = {f"a@10.0.0.{number}:80": busy(in_flight, 10) for number, in_flight in ((1, 4), (2, 1), (3, 9))}
    found = of_tier(tier(*pods), [said(RouterLoad(), **reports)])
    assert (found.in_flight, found.saturation, list(found.backends)) == (5, 0.625, ["a"])
    assert found.backends["a"].tokens_per_second == 20
