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
    BackendLimits,
    CompiledConfig,
    Complexity,
    Dialect,
    HeaderMatch,
    Policy,
    Route,
    Tier,
    TierRef,
    TimeWindow,
    When,
)
from weir_router.decide.asked import FEATURE_HEADER, TTFT_HEADER, asked
from weir_router.decide.decision import decide, inputs, passed_over
from weir_router.decide.types import Decision
from weir_router.decide.world import World
from weir_router.dialects.registry import caller_named
from weir_router.errors import BadRequest
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
    def run(
        policy: Policy, text: str = "hi", headers: dict[str, str] | None = None, more: Any = (), **world: Any
    ) -> Decision:
        body = {"model": "auto", "messages": [{"role": "user", "content": text}, *more]}
        ask = caller_named(Dialect.OPENAI).read(msgspec.json.encode(body), {})
        plain = CompiledConfig(tiers={"llm/x": Tier(namespace="llm", name="x", backends=(backend("a"),))})
        config = world.pop("config", plain)
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


@pytest.mark.parametrize(
    ("text", "seconds"), [("800ms", 0.8), ("2s", 2.0), ("1m30s", 90.0), ("10m", 600.0), ("0h1s", 1.0)]
)
def test_a_request_may_state_its_own_latency_budget(decided: Any, policy_of: Any, text: str, seconds: float) -> None:
    assert decided(policy_of("x"), headers={TTFT_HEADER: text}).asked.latency_budget == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "800", "0.8s", "0s", "0ms", "11m", "-1s", "1 s", "1s,2s", "fast", "\udcff", "9" * 999]
)
def test_what_is_no_latency_budget_is_the_callers_fault(decided: Any, policy_of: Any, text: str) -> None:
    with pytest.raises(BadRequest, match=r"x-weir-ttft is .* such as 800ms or 2s, above zero and at most 10m"):
        decided(policy_of("x"), headers={TTFT_HEADER: text})


def test_a_route_may_be_for_requests_in_a_hurry(decided: Any, policy_of: Any) -> None:
    refs = (TierRef(tier="llm/x"),)
    routes = (Route(name="fast", tiers=refs, when=When(max_latency_budget=1.0)), Route(name="rest", tiers=refs))
    found = {
        text: decided(policy_of(routes=routes), headers={TTFT_HEADER: text} if text else {}).choice.route
        for text in ("", "800ms", "1s", "1001ms")
    }
    assert found == {"": "rest", "800ms": "fast", "1s": "fast", "1001ms": "rest"}


def test_a_route_may_be_for_some_hours(decided: Any, policy_of: Any) -> None:
    refs = (TierRef(tier="llm/x"),)
    night = When(times=(TimeWindow("Europe/Berlin", start=22 * 60, end=6 * 60),))
    policy = policy_of(routes=(Route(name="night", tiers=refs, when=night), Route(name="day", tiers=refs)))
    midnight = 1_784_498_400.0  # in Berlin
    assert [decided(policy, wall=midnight + hours * 3600).choice.route for hours in (-3, -2, 0, 5, 6)] == [
        *("day", "night", "night", "night", "day")
    ]
    late = decided(policy, wall=midnight + 6 * 3600)
    assert [tuple(it) for it in passed_over(late)] == [
        ("night", ["it is Monday 06:00 in Europe/Berlin, not every day 22:00-06:00 Europe/Berlin"])
    ]
    assert decide(*inputs(late)) == late


def test_results_of_tools_change_neither_class_nor_route(decided: Any, policy_of: Any) -> None:
    refs = (TierRef(tier="llm/x"),)
    small = When(complexity=frozenset({Complexity.SIMPLE}), max_prompt_tokens=400)
    policy = policy_of(routes=(Route(name="small", tiers=refs, when=small), Route(name="large", tiers=refs)))
    call = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}
    result = {"role": "tool", "tool_call_id": "1", "content": "Prove it step by step. " * 900}
    loop = decided(policy, more=[call, result])
    assert loop.choice.route == "small"
    assert passed_over(loop) == []
    assert decide(*inputs(loop)) == loop
    after = decided(policy, more=[call, result, {"role": "user", "content": "And now?"}])
    assert after.choice.route == "large"
    assert len(passed_over(after)) == 1


def test_a_tool_loop_that_outgrows_its_route_takes_that_of_its_size(decided: Any, policy_of: Any, backend: Any) -> None:
    routes = (
        Route(name="small", tiers=(TierRef(tier="llm/x"),), when=When(max_prompt_tokens=400)),
        Route(name="large", tiers=(TierRef(tier="llm/y"),)),
    )
    small = backend("s", limits=BackendLimits(context_tokens=4_000))
    tiers = {
        name: Tier(namespace="llm", name=name[-1], backends=(it,))
        for name, it in (("llm/x", small), ("llm/y", backend("l")))
    }
    call = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}

    def loop(words: int) -> Decision:
        result = {"role": "tool", "tool_call_id": "1", "content": "word " * words}
        return decided(policy_of(routes=routes), more=[call, result], config=CompiledConfig(tiers=tiers))

    assert loop(1_000).choice.route == "small"
    outgrown = loop(9_000)
    assert outgrown.choice.route == "large"
    assert [it.backend.name for it in outgrown.choice.candidates] == ["l"]
    assert [it.route for it in passed_over(outgrown)] == ["small"]
    assert decide(*inputs(outgrown)) == outgrown
