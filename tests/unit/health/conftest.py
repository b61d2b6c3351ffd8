"""A clock that stands still, and boards on it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from weir_router.clock import ManualClock
from weir_router.contract import Backend, CompiledConfig, Dialect, Tier
from weir_router.health.board import Board
from weir_router.health.breaker import Breaker, State


class MiddleRandom(random.Random):
    """A random source that always draws the middle, so that there is no jitter and periods are exact."""

    def random(self) -> float:
        return 0.5


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def changes() -> list[tuple[str, ...]]:
    """The list of announced state changes."""
    return []


@pytest.fixture
def breaker(clock: ManualClock, changes: list[tuple[str, ...]]) -> Breaker:
    def note(old: State, new: State) -> None:
        changes.append((old.value, new.value))

    return Breaker(clock, MiddleRandom(), note)


@pytest.fixture
def backend() -> Callable[..., Backend]:
    def make(name: str = "a", **fields: Any) -> Backend:
        url = fields.pop("base_url", f"http://{name}/v1")
        return Backend(name=name, provider=Dialect.OPENAI, base_url=url, model=fields.pop("model", "m"), **fields)

    return make


@pytest.fixture
def configured(clock: ManualClock, changes: list[tuple[str, ...]]) -> Callable[..., Board]:
    """A board with tier `llm/t` of these backends."""

    def make(*backends: Backend, routers: int = 1) -> Board:
        board = Board(clock, MiddleRandom(), lambda *change: changes.append(change))
        board.configure(tier_config(*backends, routers=routers))
        return board

    return make


@pytest.fixture
def config_of() -> Callable[..., CompiledConfig]:
    return tier_config


def tier_config(*backends: Backend, routers: int = 1) -> CompiledConfig:
    tier = Tier(namespace="llm", name="t", backends=backends)
    return CompiledConfig(tiers={"llm/t": tier}, routers=routers)
