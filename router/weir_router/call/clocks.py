"""The clocks of one attempt: silence before the first content, a stall between contents, and the whole.

`Watchdog` is one timer per attempt that re-arms itself lazily, so a chunk costs an assignment and not a timer. It
counts only time in which the attempt waits for the upstream: a slow reader on the caller's side is not the upstream's
stall.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from weir_router.clock import Clock
from weir_router.errors import AttemptFailed, FailureKind
from weir_router.health.guard import CRAWL_SECONDS

CONNECT_TIMEOUT = 2.0
"""Seconds to a TCP and TLS connection. A healthy handshake across an ocean takes under one (resilience B2)."""

IDLE_TIMEOUT = 8.0
"""Seconds between two contents. Well above Envoy AI Gateway's example of 5, since reasoning models pause; below 10, so
that a backend whose streams all stall is left alone within those.
"""

TOTAL_TIMEOUT = 600.0
"""Seconds for a whole attempt: the SDKs' own default timeout."""

_BUSY_CHECK = 0.05  # seconds until a clock that ran out while nobody waited is looked at again

_MESSAGES = {
    FailureKind.SILENT: "no content within {:.1f} s",
    FailureKind.STALLED: "no further content for {:.1f} s",
    FailureKind.TOO_LONG: "not finished within {:.1f} s",
}

T = TypeVar("T")


def _nothing() -> None:
    """What is told after the end."""


class Clocks:
    """Bounds of one attempt, in seconds."""

    __slots__ = ("connect", "idle", "slow_after", "total", "ttft")

    def __init__(self, connect: float, ttft: float, slow_after: float | None, idle: float, total: float) -> None:
        self.connect = connect
        self.ttft = ttft
        self.slow_after = slow_after  # without content for so long counts as slow, although the attempt goes on
        self.idle = idle
        self.total = total


class Watchdog:
    """Ends an attempt whose clocks run out while it waits for the upstream."""

    __slots__ = (
        "_clock",
        "_clocks",
        "_content_at",
        "_expired",
        "_handle",
        "_held",
        "_left_at",
        "_loop",
        "_on_flow",
        "_on_slow",
        "_slow_told",
        "_started",
        "_task",
        "held_up",
    )

    def __init__(
        self,
        clock: Clock,
        clocks: Clocks,
        on_slow: Callable[[], None],
        on_flow: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_slow` is called once at `slow_after`, `on_flow` every `CRAWL_SECONDS` once content has come."""
        self._clock = clock
        self._clocks = clocks
        self._on_slow = on_slow
        self._on_flow = on_flow
        self._slow_told = clocks.slow_after is None
        self._started = clock.monotonic()
        self._content_at: float | None = None
        self._left_at: float | None = None
        self._expired: FailureKind | None = None
        self.held_up = 0.0  # seconds since the first content in which nobody waited for the upstream
        self._held = False
        self._task: asyncio.Task[object] | None = None
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(self._first_look(), self._look)

    def _first_look(self) -> float:
        slow = self._clocks.slow_after
        first = min(self._clocks.ttft, self._clocks.total)
        return first if slow is None else min(slow, first)

    def content(self) -> None:
        """Content has come: the idle clock starts again."""
        if self._content_at is None:  # the timer was set for the first content, and idle may be due earlier
            self._handle.cancel()
            self._handle = self._loop.call_later(min(self._clocks.idle, self._clocks.total, CRAWL_SECONDS), self._look)
        self._content_at = self._clock.monotonic()

    async def waits_for(self, upstream: Awaitable[T]) -> T:
        """Awaits `upstream`. Raises `AttemptFailed` when a clock runs out meanwhile."""
        self._resume()
        self._task = task = asyncio.current_task(self._loop)  # to look for the loop would cost more than the rest
        assert task is not None
        try:
            return await upstream
        except asyncio.CancelledError:
            # The task may have been cancelled by others too (the caller went away): then that wins.
            if self._expired is None or task.uncancel() > 0:
                raise
            raise AttemptFailed(self._expired, _MESSAGES[self._expired].format(self._bound(self._expired))) from None
        finally:
            self._task = None
            self._left_at = self._clock.monotonic()

    def hold(self, held: bool) -> None:
        """The caller reads too slowly, and the upstream is not read from: its clocks stand still until it is again."""
        if held == self._held:
            return
        self._held = held
        if held:
            self._left_at = self._clock.monotonic()
        else:
            self._resume()

    def stop(self) -> None:
        """No clock runs any more."""
        self._handle.cancel()
        # They lead back to the attempt that holds this: without them it goes at once, and not with the collector.
        self._on_slow = self._on_flow = _nothing

    def _resume(self) -> None:
        if self._content_at is not None and self._left_at is not None:
            away = self._clock.monotonic() - self._left_at
            self._content_at += away
            self.held_up += away

    def _bound(self, kind: FailureKind) -> float:
        return {FailureKind.SILENT: self._clocks.ttft, FailureKind.STALLED: self._clocks.idle}.get(
            kind, self._clocks.total
        )

    def _due(self) -> tuple[float, FailureKind]:
        total = self._started + self._clocks.total + self.held_up, FailureKind.TOO_LONG
        if self._content_at is None:
            return min((self._started + self._clocks.ttft, FailureKind.SILENT), total)
        return min((self._content_at + self._clocks.idle, FailureKind.STALLED), total)

    def _look(self) -> None:
        now = self._clock.monotonic()
        if not self._slow_told and self._content_at is None and now >= self._started + (self._clocks.slow_after or 0.0):
            self._slow_told = True
            self._on_slow()
        later = math.inf
        if self._content_at is not None:
            self._on_flow()
            later = CRAWL_SECONDS
        due, kind = self._due()
        if now >= due and self._task is not None and not self._held:
            self._expired = kind
            self._task.cancel()
            return
        self._handle = self._loop.call_later(min(max(due - now, _BUSY_CHECK), later), self._look)
