"""An event loop with the time of a `ManualClock`: nothing waits, and hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from weir_router.clock import ManualClock

T = TypeVar("T")


class Stuck(Exception):
    """The work has not ended, but nothing will ever happen again."""


class _Jump(selectors.SelectSelector):
    """A selector that moves the clock instead of waiting."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck
        # A little more than asked for: a sum of floats must not fall short of the moment that it was made for.
        self._clock.advance(timeout + 1e-9 if timeout > 0 else 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`VirtualLoop(clock).run_until_complete(...)`; sockets do not work on it."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(_Jump(clock))
        self._manual = clock

    def time(self) -> float:
        return self._manual.monotonic()


def run(clock: ManualClock, work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` to its end on `clock`. Raises `Stuck` when it would wait for ever."""
    loop = VirtualLoop(clock)
    try:
        return loop.run_until_complete(work)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
