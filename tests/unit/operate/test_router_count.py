"""The leader's count of routers, and changes of the config that follow from it, in virtual time."""

from __future__ import annotations

import asyncio

from support.virtual import run
from weir_operator.lead.headcount import FALL_SECONDS
from weir_operator.lead.routers import COUNT_SECONDS, RouterCount
from weir_router.clock import ManualClock


class Installation:
    """Routers that come and go, and a leader that compiles when the count changes."""

    def __init__(self, clock: ManualClock) -> None:
        self.there, self.leads, self.asked = 1, True, 0
        self.count = RouterCount(lambda: self.there, lambda: self.leads, self._changed, monotonic=clock.monotonic)
        self.count.begin(1)

    def _changed(self) -> None:
        self.asked += 1


def test_a_thousand_routers_with_news_are_counted_once():
    clock = ManualClock()
    it = Installation(clock)

    async def work() -> None:
        it.there = 3
        for _ in range(1000):
            it.count.heard()
        assert it.asked == 0
        await asyncio.sleep(2 * COUNT_SECONDS)

    run(clock, work())
    assert it.asked == 1
    it.count.take()
    assert (it.count.value, it.count.due_in()) == (3, None)


def test_fewer_routers_need_another_compile_after_a_while():
    clock = ManualClock()
    it = Installation(clock)
    it.there = 3
    assert it.count.due_in() == 0.0
    it.count.take()
    it.there = 2
    assert it.count.due_in() == FALL_SECONDS
    clock.advance(FALL_SECONDS)
    assert (it.count.value, it.count.due_in()) == (3, 0.0)
    it.count.take()
    assert it.count.value == 2


def test_a_replica_that_does_not_lead_counts_nothing():
    clock = ManualClock()
    it = Installation(clock)
    it.leads, it.there = False, 3

    async def work() -> None:
        it.count.heard()
        await asyncio.sleep(2 * COUNT_SECONDS)

    run(clock, work())
    assert it.asked == 0
