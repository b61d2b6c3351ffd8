"""The policy that serves a caller and a model."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from weir_router.contract import (
    MAX_BODY_BYTES,
    Backend,
    CallerKind,
    CallerRule,
    CompiledConfig,
    Dialect,
    Policy,
    Route,
    Tier,
    TierRef,
)
from weir_router.contract.caller import Caller
from weir_router.decide.policy import PolicyIndex, find_policy, largest_request, models_for, prefixes_for

ANYONE = (CallerRule(),)


def policy(namespace: str, name: str = "p", callers: tuple[CallerRule, ...] = ANYONE, **fields: Any) -> Policy:
    models = fields.pop("models", ("auto",))
    return Policy(namespace=namespace, name=name, models=models, callers=callers, **fields)


def find(caller: Caller, *policies: Policy, model: str = "auto") -> str | None:
    found = find_policy(PolicyIndex(CompiledConfig(policies=policies)), caller, model)
    return None if found is None else found.key


def test_the_callers_own_namespace_wins_over_an_older_one(caller: Caller) -> None:
    assert find(caller, policy("aaa", created=1), policy("team-a", created=2)) == "team-a/p"


def test_between_equals_the_older_wins(caller: Caller) -> None:
    assert find(caller, policy("team-a", "a", created=2), policy("team-a", "b", created=1)) == "team-a/b"


def test_at_the_same_age_namespace_and_name_decide(caller: Caller) -> None:
    policies = [policy("x", "b"), policy("x", "a"), policy("w", "z")]
    assert {find(caller, *order) for order in itertools.permutations(policies)} == {"w/z"}


def test_an_own_policy_that_does_not_name_the_caller_does_not_claim(caller: Caller) -> None:
    own = policy("team-a", callers=(CallerRule(api_keys=frozenset({"other"})),))
    assert find(caller, own, policy("x")) == "x/p"


def test_a_policy_that_is_not_ready_claims_all_the_same(caller: Caller) -> None:
    assert find(caller, policy("team-a", not_ready="no route works"), policy("x")) == "team-a/p"


def test_no_policy_for_the_model(caller: Caller) -> None:
    assert find(caller, policy("team-a"), model="gpt-4o") is None


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        (CallerRule(), True),
        (CallerRule(namespaces=frozenset({"team-a", "b"})), True),
        (CallerRule(namespaces=frozenset({"b"})), False),
        (CallerRule(api_keys=frozenset({"bot"})), True),
        (CallerRule(service_accounts=frozenset({"bot"})), False),  # the name is right, the kind is not
        (CallerRule(namespaces=frozenset({"b"}), api_keys=frozenset({"bot"})), False),
    ],
)
def test_every_field_of_a_rule_must_match(caller: Caller, rule: CallerRule, named: bool) -> None:
    assert (find(caller, policy("x", callers=(rule,))) is not None) is named


def test_a_service_account_is_named_by_its_name() -> None:
    account = Caller("team-a", "bot", CallerKind.SERVICE_ACCOUNT)
    assert find(account, policy("x", callers=(CallerRule(service_accounts=frozenset({"bot"})),))) == "x/p"


def test_any_rule_suffices(caller: Caller) -> None:
    rules = (CallerRule(namespaces=frozenset({"b"})), CallerRule(namespaces=frozenset({"team-a"})))
    assert find(caller, policy("x", callers=rules)) == "x/p"


def test_models_are_those_that_some_policy_serves_to_the_caller(caller: Caller) -> None:
    closed = (CallerRule(namespaces=frozenset({"b"})),)
    policies = (policy("x", models=("b", "a")), policy("y", models=("secret", "a"), callers=closed))
    assert models_for(PolicyIndex(CompiledConfig(policies=policies)), caller) == ["a", "b"]


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [((), 0), ((10, 30, 20), 30), ((10, None), MAX_BODY_BYTES), ((None, MAX_BODY_BYTES + 1), MAX_BODY_BYTES + 1)],
)
def test_the_largest_request_is_that_of_any_policy_that_names_the_caller(
    caller: Caller, sizes: tuple[int | None, ...], largest: int
) -> None:
    foreign = policy("b", "foreign", (CallerRule(namespaces=frozenset({"elsewhere"})),), max_request_bytes=99)
    named = (policy("team-a", f"p-{size}", max_request_bytes=size) for size in sizes)
    assert largest_request(PolicyIndex(CompiledConfig(policies=(foreign, *named))), caller) == largest


def some(prefixes: tuple[str, ...], namespace: str = "team-a", name: str = "p", **fields: Any) -> Policy:
    return policy(namespace, name, models=fields.pop("models", ()), prefixes=prefixes, **fields)


def test_an_exact_name_wins_over_a_prefix_the_longer_over_the_shorter_and_each_over_every_name(caller: Caller) -> None:
    policies = [
        some(("",), name="any", created=1),
        some(("claude-",), name="short", created=2),
        some(("claude-opus-",), name="long", created=3),
        policy("team-a", "exact", models=("claude-opus-5",), created=4),
    ]
    wanted = {"claude-opus-5": "exact", "claude-opus-4": "long", "claude-": "short", "claude": "any", "": "any"}
    for order in itertools.permutations(policies):
        assert {model: find(caller, *order, model=model) for model in wanted} == {
            model: f"team-a/{name}" for model, name in wanted.items()
        }


def test_an_own_prefix_wins_over_an_exact_name_elsewhere_which_could_read_the_prompts_otherwise(
    caller: Caller,
) -> None:
    own, foreign = some(("",), created=2), policy("x", models=("gpt-4o",), created=1)
    assert find(caller, own, foreign, model="gpt-4o") == "team-a/p"


def test_elsewhere_the_exact_name_wins_as_well(caller: Caller) -> None:
    assert find(caller, some(("",), "w"), policy("x", models=("gpt-4o",)), model="gpt-4o") == "x/p"
    assert find(caller, some(("",), "w"), some(("gpt-",), "x"), model="gpt-4o") == "x/p"


def test_a_prefix_whose_policy_does_not_name_the_caller_gives_way_to_a_shorter_one(caller: Caller) -> None:
    closed = some(("claude-",), name="closed", callers=(CallerRule(namespaces=frozenset({"b"})),))
    assert find(caller, closed, some(("c",)), model="claude-x") == "team-a/p"
    assert find(caller, closed, model="claude-x") is None


def test_of_prefixes_only_names_of_the_policy_s_own_backends_are_listed(caller: Caller) -> None:
    def tier(*models: str) -> Tier:
        backends = [Backend(name=it, provider=Dialect.OPENAI, model=it, base_url="http://x") for it in models]
        return Tier(namespace="team-a", name="t", backends=tuple(backends))

    def route(name: str) -> tuple[Route, ...]:
        return (Route(name="all", tiers=(TierRef(tier=name), TierRef(tier="x/gone"))),)

    closed = (CallerRule(namespaces=frozenset({"b"})),)
    mine, theirs = tier("claude-a", "gpt-b", "auto"), tier("claude-secret")
    policies = (
        some(("claude-",), models=("auto",), routes=route("team-a/t")),
        some(("",), "b", callers=closed, routes=route("b/t")),
    )
    index = PolicyIndex(CompiledConfig(tiers={"team-a/t": mine, "b/t": theirs}, policies=policies))
    assert models_for(index, caller) == ["auto", "claude-a"]
    assert prefixes_for(index, caller) == ["claude-*"]
    assert find_policy(index, caller, "claude-secret") is policies[0]


def test_without_prefixes_nothing_is_looked_up_by_one() -> None:
    assert PolicyIndex(CompiledConfig(policies=(policy("x"),))).lengths == []
