"""A policy and a tier of different classes: the message names the class, and is no oracle for other namespaces."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from weir_operator.compile import Compiled
from weir_operator.problems.problem import Problem, Reason

ROUTES = "[{name: all, tiers: [{name: budget, namespace: llm}]}]"
SECOND = "className: second"
GRANTS = {
    "all": "grants: [{namespaces: {from: All}}]",
    "by name": "grants: [{namespaces: {from: Names, names: [default]}}]",
    "by label": "grants: [{namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}]",
}
NAMESPACES = {"default": {"team": "a"}, "llm": {}}


def told(compiled: Compiled) -> list[tuple[str, str]]:
    return shown(it for it in compiled.problems if it.reason == Reason.TIER_NOT_FOUND_OR_NOT_GRANTED)


def shown(problems: Iterable[Problem]) -> list[tuple[str, str]]:
    return [(it.message, it.action) for it in problems]


@pytest.mark.parametrize("grants", GRANTS.values(), ids=GRANTS.keys())
def test_a_granted_tier_of_another_class_is_named_with_its_class(compiled, tier, policy, grants: str):
    text = tier(namespace="llm", spec=grants) + policy(spec=SECOND, routes=ROUTES)
    ((message, action),) = told(compiled(text, class_name="second", namespaces=NAMESPACES))
    assert message == (
        "there is no ModelTier llm/budget of className second that grants namespace default; "
        "the one of that name has className weir"
    )
    assert "make it anew with className weir" in action


def test_the_class_is_also_named_where_the_policy_is_of_the_default_class(compiled, tier, policy):
    text = tier(namespace="llm", spec=f"{GRANTS['all']}\n  {SECOND}") + policy(routes=ROUTES)
    ((message, _),) = told(compiled(text))
    assert "of className weir that grants namespace default; the one of that name has className second" in message


@pytest.mark.parametrize("spec", ["grants: []", "grants: 3", "grants: [{namespaces: {from: Names, names: [other]}}]"])
def test_a_tier_of_another_class_that_grants_nothing_cannot_be_told_from_a_missing_one(
    compiled, tier, policy, spec: str
):
    asking = policy(spec=SECOND, routes=ROUTES)
    missing = told(compiled(asking, class_name="second"))
    assert missing == told(compiled(tier(namespace="llm", spec=spec) + asking, class_name="second"))
    assert missing[0][0] == "there is no ModelTier llm/budget of className second that grants namespace default"


def test_two_tiers_of_one_installation_say_nothing_of_classes(compiled, policy):
    assert (
        told(compiled(policy(routes=ROUTES)))[0][0] == "there is no ModelTier llm/budget that grants namespace default"
    )


def test_a_tier_that_comes_into_the_class_of_the_policy_is_found_by_the_next_compile(observe, catalogue, tier, policy):
    from weir_operator.compile import Memory, compile_config
    from weir_operator.kinds import KINDS

    memory, asking = Memory(), policy(spec=SECOND, routes=ROUTES)
    first = f"{GRANTS['all']}\n  className: weir"
    for spec, expected in ((first, 1), (f"{GRANTS['all']}\n  {SECOND}", 0), ("grants: []", 1)):
        observed = observe(tier(namespace="llm", spec=spec) + asking, class_name="second")
        made = compile_config(observed, KINDS, catalogue=catalogue, now=0.0, memory=memory)
        assert len(told(made)) == expected
        assert ("className weir" in str(told(made))) == (spec == first)
