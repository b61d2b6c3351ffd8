"""The longest turn of the event loop."""

import asyncio
import time

from weir_router.record.turns import PERIOD, WINDOW, LongestTurn, Watch


def test_the_maximum_is_kept_for_its_window_and_the_next():
    turns = LongestTurn(0.0)
    assert turns.add(1.0, 0.2) == 0.2
    assert turns.add(2.0, 0.1) == 0.2
    assert turns.add(WINDOW + 1.0, 0.1) == 0.2
    assert turns.add(2 * WINDOW + 2.0, 0.0) == 0.1
    assert turns.add(9 * WINDOW, 0.0) == 0.0


async def measured(block, seconds):
    seen = []
    watch = Watch(lambda *turn: seen.append(turn))
    watch.start()
    block(seconds)
    async with asyncio.timeout(20):
        while not seen:  # noqa: ASYNC110 - a timer comes after the time that it measures
            await asyncio.sleep(0)
    watch.stop()
    return seen[-1]


def compute(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_a_turn_that_computes_shows_in_both_clocks():
    wall, cpu = await measured(compute, 0.3)
    assert wall >= cpu >= 0.3 - PERIOD


async def test_a_turn_that_only_waits_shows_in_the_clock_on_the_wall():
    wall, cpu = await measured(time.sleep, 0.3)
    assert wall >= 0.3 - PERIOD
    assert cpu < 0.15


async def test_nothing_is_measured_after_the_end():
    seen = []
    watch = Watch(lambda *turn: seen.append(turn))
    watch.start()
    watch.stop()
    await asyncio.sleep(3 * PERIOD)
    assert not seen
