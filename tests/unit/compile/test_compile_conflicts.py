"""Rivals for the same requests: policies for callers, routes for prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from weir_operator.compile import compile_config
from weir_operator.kinds import KINDS
from weir_operator.kinds.routingpolicy import overlap
from weir_operator.observe.observed import Manifest, Observed, by_kind
from weir_operator.problems.problem import Reason, Severity
from weir_router.contract import CallerRule, Capability, Complexity, HeaderMatch, Policy, When
from weir_router.contract.conditions import covers

ALL = "callers: [{namespaces: {from: All}}]"


def named(*namespaces: str, more: str = "") -> str:
    return f"callers: [{{namespaces: {{from: Names, names: [{', '.join(namespaces)}]}}{more}}}]"


KEY_K = named("c", more=", apiKeys: [{name: k}]")
KEY_L = named("c", more=", apiKeys: [{name: l}]")
ACCOUNT_K = named("c", more=", serviceAccounts: [{name: k}]")


def conflicting(result) -> list[str]:
    return [problem.object for problem in result.problems if problem.reason is Reason.CONFLICTED]


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        (("a", ""), ("a", ""), True),
        (("a", ""), ("b", ""), False),
        (("a", ""), ("b", ALL), False),  # at home a namespace's own policy wins: no competition
        (("a", ALL), ("b", ALL), True),
        (("a", ALL), ("b", named("a", "b")), False),
        (("a", ALL), ("b", named("a", "c")), True),
        (("a", named("b")), ("b", named("a")), False),
        (("a", named("c")), ("b", ALL), True),
        (("a", named("c")), ("b", named("c")), True),
        (("a", named("c")), ("b", named("d")), False),
        (("a", ALL), ("a", named("c")), True),
        (("a", KEY_K), ("b", KEY_L), False),
        (("a", KEY_K), ("b", KEY_K), True),
        (
            ("a", KEY_K),
            ("b", ACCOUNT_K),
            False,
        ),
        (
            ("a", ACCOUNT_K),
            ("b", KEY_K),
            False,
        ),
        (("a", KEY_K), ("b", named("c")), True),
        (("a", "models: [{name: x}]"), ("a", "models: [{name: y}]"), False),
        (("a", "models: [{name: x}, {name: z}]"), ("a", "models: [{name: y}, {name: z}]"), True),
    ],
)
def test_two_policies_compete_for_the_same_callers_and_model(compiled, policy, one, other, conflict):
    text = policy("one", one[0], one[1]) + policy("two", other[0], other[1])
    assert bool(conflicting(compiled(text))) is conflict


def test_in_a_directory_a_conflict_is_an_error_that_names_both(compiled, policy):
    (problem,) = [it for it in compiled(policy("one") + policy("two")).problems if it.reason is Reason.CONFLICTED]
    assert (problem.object, problem.severity) == ("RoutingPolicy/default/two", Severity.ERROR)
    assert "RoutingPolicy/default/one (all.yaml:5)" in problem.message
    assert problem.where == "all.yaml:16"


def anew(observed: Observed, change: Callable[[Manifest], Manifest]) -> Observed:
    return replace(observed, manifests=by_kind(map(change, observed.all())))


def test_in_a_cluster_the_older_one_goes_first(observe, catalogue, policy):
    observed = observe(policy("one") + policy("two"), local=False)
    ages = {"one": 200.0, "two": 100.0}
    aged = anew(observed, lambda it: replace(it, created=ages[it.name], lines={}))
    result = compile_config(aged, KINDS, catalogue=catalogue, now=300.0)
    assert [it.name for it in result.config.policies] == ["two", "one"]
    (problem,) = [it for it in result.problems if it.reason is Reason.CONFLICTED]
    assert (problem.object, problem.severity) == ("RoutingPolicy/default/one", Severity.WARNING)


def test_where_nothing_is_known_of_lines_the_winner_is_still_named(observe, catalogue, policy):
    observed = observe(policy("one") + policy("two"))
    bare = anew(observed, lambda it: replace(it, lines={}))
    (problem,) = [
        it
        for it in compile_config(bare, KINDS, catalogue=catalogue, now=0.0).problems
        if it.reason is Reason.CONFLICTED
    ]
    assert (problem.where, "RoutingPolicy/default/one;" in problem.message) == (None, True)


SIMPLE, COMPLEX = frozenset({Complexity.SIMPLE}), frozenset({Complexity.COMPLEX})
TOOLS = frozenset({Capability.TOOLS})
RESEARCH = CallerRule(namespaces=frozenset({"research"}))
KEY = CallerRule(namespaces=frozenset({"research"}), api_keys=frozenset({"k"}))


def header(**value: str) -> When:
    return When(headers=(HeaderMatch(name="a", **value),))


@pytest.mark.parametrize(
    ("earlier", "later", "covered"),
    [
        (When(), When(complexity=SIMPLE), True),
        (When(complexity=SIMPLE), When(), False),
        (When(complexity=frozenset(Complexity)), When(), True),
        (When(complexity=SIMPLE | COMPLEX), When(complexity=SIMPLE), True),
        (When(complexity=SIMPLE), When(complexity=COMPLEX), False),
        (When(min_prompt_tokens=5), When(min_prompt_tokens=9), True),
        (When(min_prompt_tokens=5), When(), False),
        (When(max_prompt_tokens=9), When(max_prompt_tokens=5), True),
        (When(max_prompt_tokens=9), When(), False),
        (When(capabilities=TOOLS), When(capabilities=frozenset(Capability)), True),
        (When(capabilities=TOOLS), When(), False),
        (header(), header(exact="x"), True),
        (header(exact="x"), header(exact="x"), True),
        (header(exact="x"), header(prefix="x"), False),
        (header(prefix="x"), header(exact="xy"), True),
        (header(prefix="xy"), header(prefix="x"), False),
        (header(prefix="x"), header(), False),
        (header(), When(headers=(HeaderMatch(name="b"),)), False),
        (When(callers=(RESEARCH,)), When(callers=(KEY,)), True),
        (When(callers=(KEY,)), When(callers=(RESEARCH,)), False),
        (When(callers=(CallerRule(),)), When(callers=(RESEARCH,)), True),
        (When(callers=(RESEARCH,)), When(callers=(CallerRule(),)), False),
        (When(callers=(RESEARCH,)), When(), False),
        (When(user_tiers=frozenset({"a"})), When(user_tiers=frozenset({"a", "b"})), False),
        (When(features=frozenset({"a", "b"})), When(features=frozenset({"a"})), True),
    ],
)
def test_a_route_is_covered_when_every_request_of_it_is_taken_before(earlier, later, covered):
    assert covers(earlier, later) is covered


@pytest.mark.parametrize(("also", "told"), [("d", "a policy of another namespace"), ("b", "RoutingPolicy/a/first")])
def test_in_a_cluster_a_policy_is_named_only_to_who_may_know_of_it(observe, catalogue, policy, also: str, told: str):
    text = policy("first", "a", spec=named("c", also)) + policy("second", "b", spec=ALL)
    result = compile_config(observe(text, local=False), KINDS, catalogue=catalogue, now=0.0)
    (found,) = [it for it in result.problems if it.reason is Reason.CONFLICTED]
    assert (found.object, f"in common with {told}, which is older" in found.message) == ("RoutingPolicy/b/second", True)


def test_policies_whose_callers_differ_by_name_are_not_compared_with_each_other(monkeypatch: pytest.MonkeyPatch):
    """A tenant's thousand policies would otherwise cause half a million comparisons in each compile."""
    looked = []
    monkeypatch.setattr(overlap, "_same_callers", lambda one, other: looked.append((one, other)) or True)

    def rule(name: str) -> CallerRule:
        return CallerRule(namespaces=frozenset({"a"}), service_accounts=frozenset({name}))

    rules = [
        Policy(namespace="a", name=f"p{it:04}", models=("auto",), callers=(rule(f"s{it}"),)) for it in range(1_000)
    ]
    last = Policy(namespace="a", name="z", models=("auto",), callers=(rule("s500"),))
    assert [(it.policy.name, it.winner.name) for it in overlap.conflicts([*rules, last])] == [("z", "p0500")]
    assert len(looked) == 1


def test_a_search_for_rivals_has_an_end(monkeypatch: pytest.MonkeyPatch):
    """A policy of namespace a has no rival among policies of other namespaces for callers of namespace a."""
    looked = []
    monkeypatch.setattr(overlap, "MAX_LOOKS", 10)
    monkeypatch.setattr(overlap, "_compete", lambda one, *_: bool(one.name == "own" and looked.append(1)))
    callers = (CallerRule(namespaces=frozenset({"a"})),)
    others = [Policy(namespace="b", name=f"p{it}", models=("auto",), callers=callers) for it in range(30)]
    own = Policy(namespace="a", name="own", models=("auto",), callers=callers, created=1.0)
    assert list(overlap.conflicts([*others, own])) == []
    assert len(looked) == 9  # the namespace itself is one, too
