"""Common parts of `weir router`, `weir sidecar` and `weir up`."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from weir_router.admit.queue import Queue, Room
from weir_router.clock import SystemClock
from weir_router.run import process


class Loop:
    """An object that refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(process, "COLLECT_EVERY", 0.01)
    gc.collect()
    return Room(Queue(SystemClock()))


async def test_garbage_is_collected_once_there_is_much(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process, "GARBAGE", 5_000)
    async with process.rarely_collected(room):
        gone = asyncio.Event()
        first = weakref.ref(Loop(), lambda _: gone.set())
        for _ in range(5_000):
            Loop()
        assert first() is not None
        await asyncio.wait_for(gone.wait(), 10)


async def test_nothing_is_collected_for_requests_that_are_served(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process, "GARBAGE", 0)
    collections: list[str] = []

    def collected(phase: str, _: dict[str, int]) -> None:
        collections.append(phase)

    for _ in range(200):
        room.enter("team-a")
    gc.callbacks.append(collected)
    try:
        async with process.rarely_collected(room):
            served = [[number] for number in range(200 * process.PER_REQUEST // 2)]
            await asyncio.sleep(0.05)  # five looks
            assert not collections
            del served
    finally:
        gc.callbacks.remove(collected)
    assert gc.isenabled()
