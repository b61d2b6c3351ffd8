"""One decision from all its inputs, and the same once more from the recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.drawn import BODIES, CALLER, NOW, POLICIES, WALL, worlds
from weir_router.contract import (
    Backend,
    CompiledConfig,
    Complexity,
    Dialect,
    HeaderMatch,
    Policy,
    Route,
    Tier,
    TierRef,
    When,
)
from weir_router.decide.asked import FEATURE_HEADER, asked
from weir_router.decide.decision import decide, inputs, passed_over
from weir_router.decide.types import Decision
from weir_router.decide.world import World
from weir_router.dialects.registry import caller_named
from weir_router.estimate.prompt import Classification


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(BODIES), POLICIES, worlds())
def test_a_decision_comes_out_the_same_from_what_was_seen(
    body: tuple[Dialect, dict[str, Any]], policy: Policy, world: World
) -> None:
    ask = caller_named(body[0]).read(msgspec.json.encode({"model": "auto", **body[1]}), {})
    decision = decide(asked(ask, {"x-team": "search"}), CALLER, policy, world)
    assert decide(*inputs(decision)) == decision
    again = decide(*inputs(decide(*inputs(decision))))
    assert msgspec.json.encode(again.choice) == msgspec.json.encode(decision.choice)


@pytest.fixture
def decided(caller: Any, policy_of: Callable[..., Policy], backend: Callable[..., Backend]) -> Callable[..., Decision]:
    def run(policy: Policy, text: str = "hi", headers: dict[str, str] | None = None, **world: Any) -> Decision:
        body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        ask = caller_named(Dialect.OPENAI).read(msgspec.json.encode(body), {})
        config = CompiledConfig(tiers={"llm/x": Tier(namespace="llm", name="x", backends=(backend("a"),))})
        defaults: dict[str, Any] = {"health": {}, "wall": WALL, "now": NOW, "draw": 0.5}
        return decide(asked(ask, headers or {}), caller, policy, World(config, **(defaults | world)))

    return run


def test_routes_that_are_passed_over_say_why(decided: Any, policy_of: Any) -> None:
    whens = (When(complexity=frozenset({Complexity.COMPLEX})), When(headers=(HeaderMatch(name="x-team"),)), When())
    refs = (TierRef(tier="llm/x"),)
    routes = tuple(Route(name=n, tiers=refs, when=w) for n, w in zip("abc", whens, strict=True))
    found = passed_over(decided(policy_of(routes=routes)))
    assert [tuple(it) for it in found] == [
        ("a", ["complexity is Simple, not Complex"]),
        ("b", ["there is no header x-team"]),
    ]
    assert [it.route for it in passed_over(decided(policy_of(routes=routes[:2])))] == ["a", "b"]


def test_a_policy_may_bring_its_own_estimate(decided: Any, policy_of: Any) -> None:
    own = Classification(Complexity.COMPLEX, 0.97, "learned")
    policy = policy_of("x")
    decision = decided(policy, heads={policy.key: lambda features: own})
    assert (decision.complexity, decision.reason) == (Complexity.COMPLEX, "learned")
    assert decide(*inputs(decision)) == decision
    assert decided(policy, heads={"team-b/other": lambda features: own}).complexity is Complexity.SIMPLE


def test_a_doubtful_class_is_raised_before_routes_are_matched(decided: Any, policy_of: Any) -> None:
    simple = Route(name="s", tiers=(TierRef(tier="llm/x"),), when=When(complexity=frozenset({Complexity.SIMPLE})))
    decision = decided(policy_of(routes=(simple,), min_confidence=1.0))
    assert (decision.classification.complexity, decision.complexity) == (Complexity.SIMPLE, Complexity.MODERATE)
    assert decision.choice.route is None


@pytest.mark.parametrize(
    ("claim", "feature"), [(None, None), ("", None), ("chat", "chat"), ("\udcff", "?"), ("x" * 900, "x" * 64)]
)
def test_the_clients_claim_is_text_that_can_be_written(
    decided: Any, policy_of: Any, claim: str | None, feature: str | None
) -> None:
    headers = {} if claim is None else {FEATURE_HEADER: claim}
    assert decided(policy_of("x"), headers=headers).asked.feature == feature
