"""Slots of a backend with limited concurrency: one namespace alone may hold all, and not while others ask."""

import asyncio
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.virtual import run
from weir_router.admit.queue import Queue
from weir_router.clock import ManualClock
from weir_router.contract import Backend, BackendLimits, CompiledConfig, Dialect, Priority, Tier
from weir_router.health.board import Board
from weir_router.health.slots import REMEMBERED

KEY = "t/t/a"


def board_of(clock, concurrency):
    limits = BackendLimits(concurrency=concurrency)
    backend = Backend(name="a", provider=Dialect.OPENAI, base_url="http://a", model="m", limits=limits)
    board = Board(clock, random.Random(1))
    board.configure(CompiledConfig(tiers={"t/t": Tier(namespace="t", name="t", backends=(backend,))}))
    return board


def fill(board, namespace):
    guards = []
    while (guard := board.begin(KEY, 10, namespace)) is not None:
        guards.append(guard)
    return guards


@pytest.mark.parametrize(("slots", "beside_others"), [(1, 1), (2, 1), (3, 2), (8, 7), (9, 8), (64, 57), (900, 800)])
def test_alone_a_namespace_holds_all_slots_and_beside_others_it_leaves_some(slots, beside_others):
    clock = ManualClock()
    board = board_of(clock, slots)
    guards = fill(board, "loud")
    assert len(guards) == slots
    assert board.begin(KEY, 10, "quiet") is None
    for guard in guards:
        guard.cancelled()
    guards = fill(board, "loud")
    assert len(guards) == beside_others
    assert board.full(KEY, "loud")
    quiet = board.begin(KEY, 10, "quiet")
    assert (quiet is not None) == (slots > 1)
    if quiet is not None:
        quiet.cancelled()
        clock.advance(REMEMBERED + 1)
        assert len(fill(board, "loud")) == slots - beside_others


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(1, 60), st.integers(1, 3), st.floats(1, 5000))
def test_a_quiet_namespace_is_served_beside_endless_streams_and_every_slot_comes_back(slots, flood, quiet, length):
    clock = ManualClock()

    async def story():
        board = board_of(clock, slots)
        queue = Queue(clock)
        board.on_free = queue.free
        loud, served = [], 0

        async def slot(namespace, seconds):
            guard = board.begin(KEY, 10, namespace)
            return guard or await queue.wait(
                frozenset({KEY}),
                lambda: board.begin(KEY, 10, namespace),
                lambda it: it.cancelled(),
                what="full",
                namespace=namespace,
                priority=Priority.NORMAL,
                size=1,
                seconds=seconds,
            )

        async def streams():
            while True:
                guard = await slot("loud", 1e9)
                loud.append(guard)
                await asyncio.sleep(length)
                guard.cancelled()

        async def asks():
            nonlocal served
            for number in range(6):
                guard = await slot("quiet", 1e9 if number == 0 else 1 + quiet)
                served += 1
                await asyncio.sleep(1 / quiet)
                guard.cancelled()
                await asyncio.sleep(1)

        floods = [asyncio.create_task(streams()) for _ in range(flood)]
        await asyncio.sleep(0)
        await asks()
        assert served == 6
        view = board.view()[KEY]
        if flood >= slots:
            assert 0 < view.pending < slots
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        for guard in loud:
            guard.cancelled()
        assert view.pending == 0
        assert len(fill(board, "other")) == min(slots - 1, math.ceil(slots * 8 / 9))

    run(clock, story())
