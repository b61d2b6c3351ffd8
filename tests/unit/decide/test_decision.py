"""One decision from all its inputs, and the same once more from the recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.contract import (
    Backend,
    BackendLimits,
    BackendState,
    CallerKind,
    Capability,
    CompiledConfig,
    Complexity,
    Dialect,
    HeaderMatch,
    Mode,
    Override,
    Policy,
    Price,
    Route,
    Selection,
    Tier,
    TierRef,
    When,
)
from weir_router.contract.facts import Caller
from weir_router.decide.asked import FEATURE_HEADER, asked
from weir_router.decide.decision import decide, inputs, passed_over
from weir_router.decide.types import Decision
from weir_router.decide.world import World
from weir_router.dialects.registry import caller_named
from weir_router.estimate.prompt import Classification
from weir_router.health.view import Snapshot

CALLER = Caller("team-a", "bot", CallerKind.API_KEY, user_tier="gold")
NOW, WALL = 1_000.0, 1_800_000_000.0
BODIES: tuple[tuple[Dialect, dict[str, Any]], ...] = (
    (Dialect.OPENAI, {"messages": [{"role": "user", "content": "What is 2 + 2?"}]}),
    (Dialect.OPENAI, {"messages": [{"role": "user", "content": "Prove Fermat's theorem, step by step."}], "n": 2}),
    (
        Dialect.OPENAI,
        {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "word " * 9_000}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
            "max_tokens": 9_000,
        },
    ),
    (Dialect.ANTHROPIC, {"max_tokens": 10, "messages": [{"role": "user", "content": "Thanks!"}]}),
)

figures = st.floats(0, 100)
MOMENTS = st.sampled_from([0.0, NOW - 1, NOW + 4.25])
VIEWS = st.builds(
    Snapshot,
    state=st.sampled_from(["closed", "half-open", "open"]),
    reason=st.sampled_from([None, "server", "slow"]),
    available_at=MOMENTS,
    last_resort=st.booleans(),
    credential_out=st.booleans(),
    saturated=st.booleans(),
    share=st.sampled_from([0.3, 1.0, 1.0]),
    score=figures,
    keeps_objectives=st.booleans(),
)
LIMITS = (BackendLimits(), BackendLimits(effective_context_tokens=50), BackendLimits(context_tokens=300))
BACKENDS = st.builds(
    Backend,
    name=st.sampled_from("abc"),
    provider=st.sampled_from(Dialect),
    base_url=st.just("http://upstream"),
    model=st.just("m"),
    price=st.none() | st.builds(Price, input=st.sampled_from([1.0, 2.0]), output=st.just(1.0)),
    capabilities=st.none() | st.just(frozenset({Capability.TOOLS})),
    limits=st.sampled_from(
        [BackendLimits(), BackendLimits(effective_context_tokens=50), BackendLimits(context_tokens=300)]
    ),
    state=st.sampled_from([BackendState.ACTIVE] * 4 + [BackendState.DRAINING]),
    weight=st.integers(0, 3),
)
REFS = st.sampled_from("xyz").map(lambda name: TierRef(tier=f"llm/{name}"))
WHENS = st.sampled_from([When(), When(complexity=frozenset({Complexity.COMPLEX})), When(max_prompt_tokens=50)])
TIERS = st.lists(REFS, max_size=3, unique=True).map(tuple)  # as the compiler has it: none twice
ROUTES = st.builds(Route, name=st.text("rst", max_size=3), tiers=TIERS, when=WHENS)
POLICIES = st.builds(
    Policy,
    namespace=st.just("team-a"),
    name=st.just("p"),
    models=st.just(("auto",)),
    callers=st.just(()),
    routes=st.lists(ROUTES, max_size=3, unique_by=lambda it: it.name).map(tuple),
    mode=st.sampled_from(Mode),
    baseline=st.none() | REFS,
    min_confidence=st.sampled_from([0.0, 0.8]),
    override=st.none() | st.builds(Override, tier=REFS, until=st.sampled_from([WALL - 1, WALL + 1])),
)


class Live:
    """A view that changes with each reading, like the router's own while attempts come and go."""

    def __init__(self, views: list[Snapshot]) -> None:
        self._views = views
        self._looks = 0

    def __getattr__(self, name: str) -> Any:
        self._looks += 1
        return getattr(self._views[self._looks % len(self._views)], name)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    tiers = {
        f"llm/{name}": Tier(
            namespace="llm",
            name=name,
            selection=draw(st.sampled_from(Selection)),
            backends=tuple(draw(st.lists(BACKENDS, max_size=3, unique_by=lambda it: it.name))),
        )
        for name in "xy"
    }
    keys = [it.key(tier) for tier, found in tiers.items() for it in found.backends]
    health: dict[str, Any] = {key: Live(draw(st.lists(VIEWS, min_size=1, max_size=3))) for key in keys}
    return World(CompiledConfig(revision=7, tiers=tiers), health, WALL, NOW, draw(st.floats(0, 1, exclude_max=True)))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(BODIES), POLICIES, worlds())
def test_a_decision_comes_out_the_same_from_what_was_recorded(
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
