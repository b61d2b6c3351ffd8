"""Everything that a decision takes into account besides the request itself. Made by `serve` and the CLI per decision.

A decision reads the world and changes nothing in it. Given the same world again it comes out the same, so time and
chance are two of its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from weir_router.contract import CompiledConfig
from weir_router.decide.types import Head
from weir_router.health.view import Judged

_NO_HEADS: Mapping[str, Head] = {}


class World:
    """One moment, as one router sees it. Every field is `Final`."""

    __slots__ = ("budgets", "config", "draw", "gates", "heads", "health", "now", "wall")

    def __init__(
        self,
        config: CompiledConfig,
        health: Mapping[str, Judged],
        wall: float,
        now: float,
        draw: float,
        heads: Mapping[str, Head] = _NO_HEADS,
    ) -> None:
        self.config: Final = config
        self.health: Final = health  # by key of the backend; one that is missing is taken to be well
        self.wall: Final = wall  # seconds since the epoch
        self.now: Final = now  # seconds of the monotonic clock, as in `health`
        self.draw: Final = draw  # at least 0 and below 1: all chance in a decision follows from it
        self.heads: Final = heads  # by key of the policy; without one the built-in estimate counts
        self.budgets: Final = None  # no budget is known yet
        self.gates: Final = None  # no gate is known yet
