"""The only module that reads time; all others get a `Clock`.

Tests use a `ManualClock` and move it by hand, so nothing waits for real time.
"""

from __future__ import annotations

import time
from typing import Protocol

LATE = 0.05
"""Seconds after which a late timer shows that the router itself did not run: its CPU was stolen or throttled, or the
machine was paused. The timers of a busy router are late by a few milliseconds.
"""


class Clock(Protocol):
    """Two readings of time, both in seconds."""

    def monotonic(self) -> float:
        """Seconds that never go backwards; for durations and deadlines."""

    def wall(self) -> float:
        """Seconds since the epoch; for output that people read and for `override.until`."""


class SystemClock:
    """The machine's own clocks."""

    # Called for every chunk: static methods of an object without a dict need no Python frame.
    __slots__ = ()
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class ManualClock:
    """A clock that stands still until `advance` moves it; for tests."""

    def __init__(self, start: float = 1_000.0, wall: float = 1_800_000_000.0) -> None:
        self._now = start
        self._wall = wall

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Moves both readings forward by `seconds`."""
        self._now += seconds
        self._wall += seconds
