"""Cost of recent traffic under another config."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from support.finished import finished
from support.statuses import NOW, POLICY, TIER, observed
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
