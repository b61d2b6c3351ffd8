"""The number of routers in the leader's config, counted soon after routers come or go. Used by `run.replica`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from weir_operator.lead.headcount import Headcount

COUNT_SECONDS = 0.1
"""Seconds from a router's news until routers are counted: a thousand with the same news are counted once."""


class RouterCount:
    """Counts for one replica, from one event loop. Only a leader's count has an effect."""

    def __init__(
        self,
        there: Callable[[], int],
        leads: Callable[[], bool],
        on_change: Callable[[], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`there` counts the gateway's routers now; `on_change` is called when the config needs another number."""
        self._there = there
        self._leads = leads
        self._on_change = on_change
        self._monotonic = monotonic
        self._headcount = Headcount(1, monotonic())
        self._compiled = 1  # the number in the last compile
        self._counting = False  # a count is due in a moment

    def begin(self, published: int) -> None:
        """A term of leading begins; `published` is the number in the published config."""
        self._headcount = Headcount(published, self._monotonic())

    def take(self) -> None:
        """A compile begins: `value` stays until the next one."""
        self._compiled = self._headcount.value

    @property
    def value(self) -> int:
        """The number for the compile that has begun."""
        return self._compiled

    def heard(self) -> None:
        """A router has said something new, or has left."""
        if self._leads() and not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_later(COUNT_SECONDS, self._count)

    def _count(self) -> None:
        self._counting = False
        if self._leads() and self.due_in() == 0.0:
            self._on_change()

    def due_in(self) -> float | None:
        """Seconds until the config needs another number; None: it does not unless routers come or go."""
        now = self._monotonic()
        value = self._headcount.update(self._there(), now)
        return 0.0 if value != self._compiled else self._headcount.due_in(now)
