"""Requests, policies and worlds as Hypothesis draws them, for tests of decisions."""

from __future__ import annotations

from typing import Any

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
from weir_router.contract.caller import Caller
from weir_router.decide.world import World
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
    (
        Dialect.OPENAI,
        {
            "messages": [
                {"role": "user", "content": "word " * 2_000},
                {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]},
                {"role": "tool", "tool_call_id": "1", "content": "Prove it. " * 2_000},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        },
    ),
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
    pending=st.integers(0, 12),
    ttft_p95=st.sampled_from([None, 0.5, 2.0]),
    refuses=st.frozensets(st.sampled_from(["tools", "image", "seed"]), max_size=2),
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
    """A view that is another one at each look, as the router's own are while attempts come and go."""

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
