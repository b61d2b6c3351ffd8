"""The longest turn of the event loop, for a gauge. While one turn runs, nothing else of the router does.

A timer measures how late it is called. `LongestTurn` keeps the maximum and is pure; `Watch` is the timer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PERIOD = 0.05
"""Seconds between two looks. A turn appears at most this much shorter than it was."""

WINDOW = 60.0
"""Seconds after which the maximum starts anew. The previous one counts for as long, so that every scrape sees it."""


class LongestTurn:
    """The maximum of the window that runs and of the one before."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._before = self._longest = 0.0

    def add(self, now: float, seconds: float) -> float:
        """Adds a turn that has ended at `now`, and returns the maximum."""
        if now - self._since >= WINDOW:
            self._before = self._longest if now - self._since < 2 * WINDOW else 0.0
            self._since, self._longest = now, 0.0
        self._longest = max(self._longest, seconds)
        return max(self._longest, self._before)


class Watch:
    """The timer. Of a turn it tells the time by the clock, and how much of that the router itself computed."""

    def __init__(self, tell: Callable[[float, float], None]) -> None:
        """`tell` gets the longest turn by the clock, and by the CPU of the thread."""
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to look, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._wall, self._cpu, self._used = LongestTurn(now), LongestTurn(now), time.thread_time()
        self._again(now)

    def stop(self) -> None:
        """Ends the looks."""
        if self._timer is not None:
            self._timer.cancel()

    def _again(self, now: float) -> None:
        self._due = now + PERIOD
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now, used = self._loop.time(), time.thread_time()
        late = max(now - self._due, 0.0)
        self._tell(self._wall.add(now, late), self._cpu.add(now, min(late, used - self._used)))
        self._used = used
        self._again(now)
