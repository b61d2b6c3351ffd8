"""Changes between two states of a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from support.statuses import NOW, POLICY, TIER, observed
from weir_cli.breakglass.consequences import consequences
from weir_cli.diff.compare import Change, Line, ObjectChange, compare, flattened, side

PREMIUM = TIER.replace("name: budget", "name: premium").replace("gpt-4o-mini", "gpt-4o")
ROUTES = "routes: [{name: all, tiers: [{name: budget, namespace: llm}]}]"
TIER_ID, POLICY_ID = "ModelTier/llm/budget", "RoutingPolicy/team-a/auto"


def changes(before: tuple[str, ...], after: tuple[str, ...]) -> dict[str, ObjectChange]:
    found = compare(side(observed(*before), NOW), side(observed(*after), NOW))
    return {it.object: it for it in found}


def test_the_same_is_no_change():
    assert changes((TIER, POLICY), (TIER, POLICY)) == {}


def test_a_route_that_goes_elsewhere_is_one_line():
    other = POLICY.replace(ROUTES, ROUTES.replace("budget", "premium"))
    (it,) = changes((TIER, PREMIUM, POLICY), (TIER, PREMIUM, other)).values()
    assert (it.object, it.change, it.worse) == (POLICY_ID, Change.CHANGED, False)
    assert it.lines == (Line("routes[all].tiers", "llm/budget", "llm/premium"),)


def test_the_order_of_routes_is_told():
    to = "tiers: [{name: budget, namespace: llm}]"
    simple, rest = "{name: a, when: {complexity: [Simple]}, " + to + "}", "{name: b, " + to + "}"
    both, reversed_ = f"routes: [{simple}, {rest}]", f"routes: [{rest}, {simple}]"
    found = changes((TIER, POLICY.replace(ROUTES, both)), (TIER, POLICY.replace(ROUTES, reversed_)))
    assert Line("routes", "a, b", "b, a") in found[POLICY_ID].lines
    assert [it.type for it in found[POLICY_ID].conditions] == ["Accepted"]


def test_a_policy_whose_tier_withdraws_its_grant_is_affected_and_worse():
    found = changes((TIER, POLICY), (TIER.replace("{from: All}", "{from: Same}"), POLICY))
    policy = found[POLICY_ID]
    assert (policy.change, policy.worse) == (Change.AFFECTED, True)
    assert {it.type: it.after for it in policy.conditions}["ResolvedRefs"] == "False, TierNotFoundOrNotGranted"
    assert not found[TIER_ID].worse


def test_what_comes_right_is_told_and_not_worse():
    (it,) = (it for it in changes((POLICY,), (TIER, POLICY)).values() if it.object == POLICY_ID)
    assert not it.worse
    assert ("Ready", "True, Ready") in {(each.type, each.after) for each in it.conditions}


def test_a_new_object_has_no_conditions_but_bad_ones():
    assert changes((), (TIER,))[TIER_ID].conditions == ()
    bad = changes((), (TIER, POLICY.replace("budget", "none")))[POLICY_ID]
    assert bad.change is Change.ADDED
    assert {it.type for it in bad.conditions} == {"ResolvedRefs", "Ready"}


def test_a_field_that_routers_know_nothing_of_is_a_change_all_the_same():
    seen = observed(TIER)
    same = replace(seen.of("ModelTier")[0], spec={**seen.of("ModelTier")[0].spec, "selection": "Cheapest"})
    (it,) = compare(side(seen, NOW), side(replace(seen, manifests={**seen.manifests, "ModelTier": (same,)}), NOW))
    assert (it.change, it.lines) == (Change.CHANGED, ())


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ({"a": {"b": 1}}, {"a.b": "1"}),
        ({"backends": [{"name": "x", "model": "m"}]}, {"backends[x].model": "m"}),
        ({"routes": [{"name": "x", "tiers": [{"tier": "n/t"}]}]}, {"routes": "x", "routes[x].tiers": "n/t"}),
        ({"complexity": ["b", "a"]}, {"complexity": "a, b"}),
        ({"models": ["b", "a"]}, {"models": "b, a"}),
        ({"credential": "sha256:1", "created": 1.0}, {}),
    ],
)
def test_figures_have_a_path(value: Any, paths: dict[str, str]):
    assert dict(flattened(value)) == paths


def test_pausing_the_only_tier_of_a_policy_has_consequences():
    seen = observed(TIER, POLICY)
    (tier,) = seen.of("ModelTier")
    drained = [{**it, "state": "Draining"} for it in tier.spec["backends"]]
    broken = consequences(seen, replace(tier, spec={**tier.spec, "backends": drained}), NOW)
    assert {it.object for it in broken} == {TIER_ID, POLICY_ID}
    half = [drained[0], tier.spec["backends"][1]]
    assert consequences(seen, replace(tier, spec={**tier.spec, "backends": half}), NOW) == []
