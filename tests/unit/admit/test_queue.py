"""Waiting for room: which requests wait, which is served first, and which is refused; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.virtual import run
from weir_router.admit.queue import QUEUE_BYTES, ROUTER, WAIT, Queue, Room
from weir_router.clock import ManualClock
from weir_router.contract import Priority
from weir_router.errors import Overloaded, Unavailable

HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW


class Desk:
    """A queue before one clerk; `served` lists the requests that got through, in order."""

    def __init__(self, clock: ManualClock, **bounds: int) -> None:
        self.clock = clock
        self.queue = Queue(clock, **bounds)
        self.room = Room(self.queue, 1)
        self.served: list[str] = []
        self.refused: dict[str, Overloaded] = {}

    async def visit(self, name: str, priority: Priority = NORMAL, *, size: int = 1, seconds: float = WAIT) -> None:
        try:
            if not self.room.enter():
                await self.room.wait(priority=priority, size=size, seconds=seconds)
        except Overloaded as full:
            self.refused[name] = full
            return
        self.served.append(name)

    def start(self, *visits: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
        return [asyncio.get_running_loop().create_task(visit) for visit in visits]


def virtual(story: Callable[[Desk], Coroutine[Any, Any, None]], **bounds: int) -> Desk:
    clock = ManualClock()
    desk = Desk(clock, **bounds)
    run(clock, story(desk))
    assert len(desk.queue) == 0
    return desk


def test_while_there_is_room_nobody_waits() -> None:
    room = Room(Queue(ManualClock()), 2)
    assert [room.enter(), room.enter(), room.enter()] == [True, True, False]
    assert room.saturation == 1.0
    room.leave()
    assert (room.saturation, room.enter()) == (0.5, True)


def test_the_more_important_go_first_and_among_equals_who_came_first() -> None:
    async def story(desk: Desk) -> None:
        waits = [("a", NORMAL), ("l", LOW), ("h", HIGH), ("b", NORMAL)]
        visits = desk.start(desk.visit("first"), *(desk.visit(*wait) for wait in waits))
        await asyncio.sleep(1)
        assert (len(desk.queue), desk.queue.oldest) == (4, pytest.approx(1))
        for _ in waits:
            desk.room.leave()
        await asyncio.gather(*visits)
        assert desk.queue.oldest == 0

    assert virtual(story).served == ["first", "h", "a", "b", "l"]


def test_it_says_who_waits_for_what_and_for_how_long() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), desk.visit("waits"))
        await asyncio.sleep(1)
        assert list(desk.queue.waiting()) == [(frozenset((ROUTER,)), pytest.approx(1))]
        desk.room.leave()
        await asyncio.gather(*visits)
        assert list(desk.queue.waiting()) == []

    virtual(story)


def test_room_is_handed_over_and_cannot_be_snatched() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), desk.visit("waits"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        desk.room.leave()
        assert not desk.room.enter()
        await asyncio.gather(*visits)

    assert virtual(story).served == ["first", "waits"]


@pytest.mark.parametrize(("seconds", "why"), [(2.0, "nothing became free within 2 s"), (0.0, "no request may wait")])
def test_who_has_waited_long_enough_is_sent_away_with_a_retry_after(seconds: float, why: str) -> None:
    async def story(desk: Desk) -> None:
        began = desk.clock.monotonic()
        await asyncio.gather(*desk.start(desk.visit("first"), desk.visit("late", seconds=seconds)))
        assert desk.clock.monotonic() - began == pytest.approx(seconds)

    refused = virtual(story).refused["late"]
    assert why in refused.message
    assert (refused.retry_after, refused.retry_helps) == (max(1.0, seconds), True)


def test_a_full_queue_refuses_at_once_but_a_lower_priority_gives_way() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), desk.visit("l1", LOW), desk.visit("l2", LOW))
        await asyncio.sleep(0)
        await desk.visit("l3", LOW)
        visits += desk.start(desk.visit("h", HIGH))
        await asyncio.sleep(0)
        for _ in range(2):
            desk.room.leave()
        await asyncio.gather(*visits)

    desk = virtual(story, size=2)
    assert desk.served == ["first", "h", "l1"]
    assert {name: full.message.rpartition(", and ")[2] for name, full in desk.refused.items()} == {
        "l3": "the queue is full.",
        "l2": "the queue is full of more important requests.",
    }


def test_bytes_count_too_and_nobody_leaves_in_vain() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), desk.visit("n", size=60), desk.visit("l", LOW, size=40))
        await asyncio.sleep(0)
        await desk.visit("too large for the place of l", HIGH, size=200)
        await desk.visit("n2", size=50)
        assert len(desk.queue) == 2
        desk.room.leave()
        desk.room.leave()
        await asyncio.gather(*visits)

    desk = virtual(story, max_bytes=100)
    assert desk.served == ["first", "n", "l"]
    assert QUEUE_BYTES > 32 * 1024 * 1024, "the largest request may wait too"


def test_who_leaves_gives_up_the_place_and_even_what_was_just_taken() -> None:
    async def story(desk: Desk) -> None:
        first, gone, late, last = desk.start(*(desk.visit(name) for name in ("first", "gone", "late", "last")))
        await asyncio.sleep(0)
        gone.cancel()
        desk.room.leave()  # in the same moment: it goes past the one that has left
        late.cancel()  # room was just taken for this one: it is given back, and the next one gets it
        await asyncio.gather(first, gone, late, last, return_exceptions=True)
        assert (gone.cancelled(), late.cancelled()) == (True, True)

    assert virtual(story).served == ["first", "last"]


def test_one_that_has_just_left_is_sent_away_without_a_word() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), desk.visit("gone", LOW))
        await asyncio.sleep(0)
        visits[1].cancel()
        await desk.visit("h", HIGH, seconds=1.0)
        await asyncio.gather(*visits, return_exceptions=True)

    assert list(virtual(story, size=1).refused) == ["h"]


def test_an_offer_that_fails_is_the_answer_and_the_next_one_is_asked() -> None:
    async def story(desk: Desk) -> None:
        def broken() -> int | None:
            raise Unavailable("the backend is out")

        def ask(offer: Callable[[], int | None]) -> asyncio.Task[int]:
            wait = desk.queue.wait(
                frozenset("k"), offer, lambda _: None, what="k is full", priority=NORMAL, size=0, seconds=5
            )
            return asyncio.get_running_loop().create_task(wait)

        first, never, second = ask(broken), ask(lambda: None), ask(lambda: 7)
        await asyncio.sleep(0)
        desk.queue.free("another")
        desk.queue.free("k")
        assert await second == 7
        with pytest.raises(Unavailable):
            await first
        with pytest.raises(Overloaded, match="k is full"):
            await never

    virtual(story)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "leave", "cancel", "pass"]),
        st.sampled_from(Priority),
        st.integers(0, 60),
        st.sampled_from([0.0, 0.5, 5.0]),
    ),
    max_size=40,
)


COME = ("come", Priority.HIGH, 0, 0.5)
PASS = ("pass", Priority.HIGH, 0, 0.0)
LEAVE = ("leave", Priority.HIGH, 0, 0.0)
CANCEL = ("cancel", Priority.HIGH, 1, 0.0)


@settings(max_examples=60, deadline=None)
@given(STEPS)
@example([COME, COME, PASS, LEAVE, LEAVE, CANCEL, PASS])
def test_every_request_ends_and_the_queue_keeps_its_bounds(steps: list[tuple[str, Priority, int, float]]) -> None:
    async def story(desk: Desk) -> None:
        visits: list[asyncio.Task[None]] = []
        left = 0
        for number, (action, priority, size, seconds) in enumerate(steps):
            if action == "come":
                visits += desk.start(desk.visit(f"{number}", priority, size=size, seconds=seconds))
            elif action == "leave" and left < len(desk.served):  # by whoever is inside, not for whom is just let in
                left += 1
                desk.room.leave()
            elif action == "cancel" and visits:
                visits[size % len(visits)].cancel()
            elif action == "pass":
                await asyncio.sleep(seconds)
            assert len(desk.queue) <= 3
            assert desk.queue._bytes == sum(waiter.size for waiter in desk.queue._waiters) <= 100
            assert 0 <= desk.room.taken <= 1
        await asyncio.gather(*visits, return_exceptions=True)
        assert all(visit.done() for visit in visits)

    virtual(story, size=3, max_bytes=100)
