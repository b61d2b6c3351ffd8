"""Cost of recent traffic under another config."""

from __future__ import annotations

import io

import pytest
from prometheus_client import generate_latest
from rich.console import Console

from support.finished import finished
from support.statuses import NOW, POLICY, TIER, observed
from weir_cli.diff.command import table
from weir_cli.diff.compare import side
from weir_cli.diff.dollars import Estimate, estimates
from weir_cli.diff.traffic import Flow, Traffic, traffic
from weir_cli.status.figures import Page
from weir_router.contract import CompiledConfig, Complexity
from weir_router.dialects.usage import Usage
from weir_router.record.metrics import Metrics

CHEAP = TIER.replace(
    "  - {name: two, provider: OpenAI, model: gpt-4o-mini}\n", ""
)  # one backend, 0.15 and 0.6 dollars per million
DEAR = CHEAP.replace("name: budget", "name: premium").replace("gpt-4o-mini", "gpt-4o")  # 2.5 and 10
SIMPLE = "{name: all, when: {complexity: [Simple]}, tiers: [{name: budget, namespace: llm}]}"
REST = "{name: rest, tiers: [{name: premium, namespace: llm}]}"
MILLION = {"input": 1e6, "output": 1e6}


def config(*texts: str) -> CompiledConfig:
    return side(observed(*texts), NOW).compiled.config


def policy(*routes: str) -> str:
    return POLICY.replace("{name: all, tiers: [{name: budget, namespace: llm}]}", ", ".join(routes))


def seen(route: str = "all", place: str = "llm/budget/one", requests: float = 10_000, **classes: float) -> Traffic:
    flow = Flow(requests, dict(MILLION), 0.75)
    counted = {("team-a/auto", Complexity(name)): count for name, count in classes.items()}
    return Traffic({("team-a/auto", route): {place: flow}}, counted)


def only(before: CompiledConfig, after: CompiledConfig, flows: Traffic) -> Estimate:
    (found,) = estimates(before, after, flows, NOW)
    return found


def test_the_same_config_costs_the_same():
    before = config(CHEAP, DEAR, policy(SIMPLE, REST))
    it = only(before, before, seen())
    assert (it.before, it.after) == (pytest.approx(0.75), pytest.approx(0.75))
    assert it.goes == it.would_go == "llm/budget/one"


def test_a_route_that_goes_elsewhere_costs_what_that_costs():
    after = config(CHEAP, DEAR, policy(SIMPLE.replace("budget", "premium"), REST))
    it = only(config(CHEAP, DEAR, policy(SIMPLE, REST)), after, seen())
    assert (it.would_go, it.after) == ("llm/premium/one", pytest.approx(12.5))


def test_a_class_that_another_route_takes_moves_with_its_share():
    before = config(CHEAP, DEAR, policy(SIMPLE.replace("[Simple]", "[Simple, Moderate]"), REST))
    after = config(CHEAP, DEAR, policy(SIMPLE, REST))
    it = only(before, after, seen(Simple=300, Moderate=100))
    assert it.would_go == "llm/budget/one, llm/premium/one"
    assert it.after == pytest.approx(0.75 * 0.75 + 0.25 * 12.5)


def test_a_new_price_counts_where_traffic_really_went():
    dearer = CHEAP.replace("model: gpt-4o-mini", 'model: gpt-4o-mini, price: {input: "1", output: "1"}')
    it = only(config(CHEAP, policy(SIMPLE)), config(dearer, policy(SIMPLE)), seen())
    assert (it.before, it.after) == (pytest.approx(0.75), pytest.approx(2.0))


def test_traffic_that_had_failed_over_stays_where_it_went():
    both = SIMPLE.replace("tiers: [", "tiers: [{name: budget, namespace: llm}, ")
    both = both.replace("{name: budget, namespace: llm}]", "{name: premium, namespace: llm}]")
    before = config(CHEAP, DEAR, policy(both))
    it = only(before, before, seen(place="llm/premium/one"))
    assert (it.goes, it.after) == ("llm/budget/one", pytest.approx(12.5))


def test_an_override_takes_everything():
    after = (
        policy(SIMPLE, REST) + '  override: {tier: {name: premium, namespace: llm}, until: "2027-02-01T00:00:00Z"}\n'
    )
    it = only(config(CHEAP, DEAR, policy(SIMPLE, REST)), config(CHEAP, DEAR, after), seen())
    assert it.would_go == "llm/premium/one"


@pytest.mark.parametrize(
    ("after", "route", "why"),
    [
        ((CHEAP, DEAR), "all", "the policy is gone"),
        ((DEAR, policy(SIMPLE)), "all", "some of it would be refused"),
        ((CHEAP, DEAR, policy(SIMPLE)), "earlier", "the route is not what it was when this traffic came"),
    ],
)
def test_what_cannot_be_known_is_not_guessed(after: tuple[str, ...], route: str, why: str):
    it = only(config(CHEAP, DEAR, policy(SIMPLE, REST)), config(*after), seen(route))
    assert (it.after, it.why) == (None, why)


UNPRICED = CHEAP.replace("model: gpt-4o-mini", "model: a-model-of-our-own")
ROUTED = policy(SIMPLE)
OTHER = policy(SIMPLE.replace("budget", "premium"))


@pytest.mark.parametrize(
    ("before", "after", "known", "why"),
    [
        ((UNPRICED, ROUTED), (CHEAP, ROUTED), (False, True), "llm/budget/one has no price"),
        ((CHEAP, ROUTED), (UNPRICED, ROUTED), (True, False), "llm/budget/one has no price"),
        ((UNPRICED, ROUTED), (UNPRICED, ROUTED), (False, False), "llm/budget/one has no price"),
        ((UNPRICED, DEAR, ROUTED), (UNPRICED, DEAR, OTHER), (False, True), "llm/budget/one has no price"),
        ((UNPRICED, DEAR, OTHER), (UNPRICED, DEAR, ROUTED), (False, False), "llm/budget/one has no price"),
    ],
)
def test_a_price_that_is_not_known_is_said_and_is_not_nothing(before, after, known: tuple[bool, bool], why: str):
    it = only(config(*before), config(*after), seen())
    assert (it.before is not None, it.after is not None) == known
    assert why in it.why


def test_prices_of_a_tier_that_we_may_not_read_are_not_known():
    (it,) = estimates(
        config(CHEAP, DEAR, ROUTED), config(CHEAP, DEAR, OTHER), seen(), NOW, hidden=frozenset({"llm/premium"})
    )
    assert (it.before, it.after) == (pytest.approx(0.75), None)
    assert it.why == "you may not read ModelTier llm/premium, so its prices are unknown"


def test_traffic_of_a_backend_that_is_no_more_has_no_price_of_now():
    it = only(config(CHEAP, ROUTED), config(CHEAP, ROUTED), seen(place="llm/budget/gone"))
    assert (it.before, it.after) == (None, pytest.approx(0.75))
    assert it.why == "llm/budget/gone has served some of it and is not there any more"


def test_both_sides_are_the_same_requests_at_the_prices_of_one_config_each():
    """The routers have counted dollars at prices of earlier configs: these are on neither side."""
    stale = Traffic({("team-a/auto", "all"): {"llm/budget/one": Flow(10_000, dict(MILLION), 99.0)}}, {})
    it = only(config(CHEAP, DEAR, ROUTED), config(CHEAP, DEAR, OTHER), stale)
    assert (it.before, it.after) == (pytest.approx(0.75), pytest.approx(12.5))


def test_the_sum_has_only_rows_of_which_both_sides_are_known():
    rows = [
        Estimate("a/x", "r", 1, "t/b", "t/b", None, 5.0, "t/b has no price"),
        Estimate("a/y", "r", 1, "", "", 1.0, 2.0),
    ]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table(rows))
    (unknown, total) = (
        line for line in console.export_text().splitlines() if "has no price" in line or "all that" in line
    )
    assert "?" in unknown
    assert "1.0000" in total
    assert "2.0000" in total
    assert "+1.0000 (+100%)" in total


def test_policies_that_we_may_not_see_have_no_row():
    assert estimates(config(CHEAP), config(CHEAP), seen(), NOW) == []


def page(name: str) -> Page:
    """The metrics page of a router that has answered one request."""
    metrics = Metrics()
    usage = Usage(input=10, output=5)
    metrics.observe(
        finished(policy="team-a/auto", route="all", tier="llm/budget", backend="one", dollars=0.5, usage=usage)
    )
    return Page(name, generate_latest(metrics.registry).decode(), {})


def test_traffic_of_all_routers_adds_up():
    found = traffic([page("one"), page("two")])
    flow = found.flows["team-a/auto", "all"]["llm/budget/one"]
    assert (flow.requests, flow.dollars, flow.usage) == (2, 1.0, Usage(input=20, output=10))
    assert (found.requests, found.classes) == (2, {("team-a/auto", Complexity.SIMPLE): 2})


VECTORS = "{name: vectors, when: {operations: [Embeddings]}, tiers: [{name: %s, namespace: llm}]}"


def test_embeddings_move_with_their_route_and_chats_do_not():
    listed = [text.replace("model: gpt-4o", "endpoints: [Embeddings], model: gpt-4o") for text in (CHEAP, DEAR)]
    before = config(*listed, policy(VECTORS % "budget", SIMPLE, REST))
    after = config(*listed, policy(VECTORS % "premium", SIMPLE, REST))
    it = only(before, after, seen("vectors"))
    assert (it.goes, it.would_go) == ("llm/budget/one", "llm/premium/one")
    chats = only(before, after, seen("all"))
    assert (chats.goes, chats.would_go) == ("llm/budget/one", "llm/budget/one")
    gone = only(before, config(*listed, policy(SIMPLE, REST)), seen("vectors"))
    assert gone.after is None
    assert (gone.would_go, gone.why) == ("nowhere", "some of it would be refused")
