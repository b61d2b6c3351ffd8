"""Everything that a decision takes into account besides the request itself. Made by `serve` and the CLI per decision.

A decision reads the world and changes nothing in it. Given the same world again it comes out the same, so time and
chance are two of its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from weir_router.contract import CompiledConfig
from weir_router.decide.types import Head
from weir_router.health.view import Judged

_NO_HEADS: Mapping[str, Head] = {}


class World(msgspec.Struct, frozen=True):
    """One moment, as one router sees it."""

    config: CompiledConfig
    health: Mapping[str, Judged]  # by key of the backend; one that is missing is taken to be well
    wall: float  # seconds since the epoch
    now: float  # seconds of the monotonic clock, as in `health`
    draw: float  # at least 0 and below 1: all chance in a decision follows from it
    heads: Mapping[str, Head] = _NO_HEADS  # by key of the policy; without one the built-in estimate counts
    budgets: None = None  # no budget is known yet
    gates: None = None  # no gate is known yet
    home: None = None  # where the caller's session is at home; not known yet
