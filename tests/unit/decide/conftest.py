"""Makers of policies, requests and views; health is a `Snapshot`, the router's own frozen view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from weir_router.contract import (
    Backend,
    CallerKind,
    CompiledConfig,
    Complexity,
    Dialect,
    Policy,
    Price,
    Route,
    Selection,
    Tier,
    TierRef,
)
from weir_router.contract.caller import Caller
from weir_router.contract.facts import Facts
from weir_router.decide.choose import choose
from weir_router.decide.request import RouteRequest, asked_of
from weir_router.decide.types import Choice
from weir_router.decide.world import World
from weir_router.health.view import Snapshot

CALLER = Caller("team-a", "bot", CallerKind.API_KEY, user_tier="gold")
NOW = 1_000.0
WALL = 1_800_000_000.0


@pytest.fixture
def caller() -> Caller:
    return CALLER


@pytest.fixture
def backend() -> Callable[..., Backend]:
    def make(name: str = "a", price: float | None = 1.0, **fields: Any) -> Backend:
        tariff = None if price is None else Price(input=price, output=price)
        return Backend(
            name=name, provider=Dialect.OPENAI, base_url=f"http://{name}/v1", model="m", price=tariff, **fields
        )

    return make


@pytest.fixture
def request_of() -> Callable[..., RouteRequest]:
    def make(tokens: int = 100, **fields: Any) -> RouteRequest:
        bounds = {name: fields.pop(name) for name in ("max_output", "unable", "session", "home") if name in fields}
        defaults: dict[str, Any] = {"caller": CALLER, "model": "auto", "complexity": Complexity.SIMPLE}
        facts = Facts(prompt_tokens=tokens, **(defaults | fields))
        return RouteRequest(msgspec.structs.replace(asked_of(facts), **bounds), facts.caller, facts.complexity, WALL)

    return make


@pytest.fixture
def policy_of() -> Callable[..., Policy]:
    """A policy with one route, `r`, over these tiers of namespace `llm`."""

    def make(*tiers: str, route: dict[str, Any] | None = None, **fields: Any) -> Policy:
        refs = tuple(TierRef(tier=f"llm/{tier}") for tier in tiers)
        routes = fields.pop("routes", (Route(name="r", tiers=refs, **(route or {})),))
        return Policy(namespace="team-a", name="p", models=("auto",), callers=(), routes=routes, **fields)

    return make


@pytest.fixture
def decide(request_of: Callable[..., RouteRequest]) -> Callable[..., Choice]:
    """Chooses among tiers given as name=(backends...), with a view by backend name."""

    def run(
        policy: Policy,
        view: dict[str, Snapshot] | None = None,
        request: RouteRequest | None = None,
        selection: Selection = Selection.CHEAPEST,
        wall: float = WALL,
        draw: float = 0.5,
        **tiers: tuple[Backend, ...],
    ) -> Choice:
        compiled = {
            f"llm/{name}": Tier(namespace="llm", name=name, selection=selection, backends=backends)
            for name, backends in tiers.items()
        }
        keys = {b.name: f"llm/{name}/{b.name}" for name, backends in tiers.items() for b in backends}
        seen = {keys[name]: snapshot for name, snapshot in (view or {}).items()}
        config = CompiledConfig(tiers=compiled)
        return choose(policy, request or request_of(), World(config, seen, wall, NOW, draw))

    return run
