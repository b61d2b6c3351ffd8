"""Waiting for room: which requests wait, which is served first, and which is refused; in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
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

    async def visit(
        self, name: str, priority: Priority = NORMAL, *, of: str = "a", size: int = 1, seconds: float = WAIT
    ) -> None:
        try:
            if not self.room.enter(of):
                await self.room.wait(namespace=of, priority=priority, size=size, seconds=seconds)
        except Overloaded as full:
            self.refused[name] = full
            return
        self.served.append(name)

    def leave(self, of: str = "a") -> None:
        self.room.leave(of)

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
    assert [room.enter("a"), room.enter("b"), room.enter("a")] == [True, True, False]
    assert room.saturation == 1.0
    room.leave("b")
    assert (room.saturation, room.enter("a")) == (0.5, True)


def test_the_more_important_go_first_and_among_equals_who_came_first() -> None:
    async def story(desk: Desk) -> None:
        waits = [("a", NORMAL), ("l", LOW), ("h", HIGH), ("b", NORMAL)]
        visits = desk.start(desk.visit("first"), *(desk.visit(*wait) for wait in waits))
        await asyncio.sleep(1)
        assert (len(desk.queue), desk.queue.oldest) == (4, pytest.approx(1))
        for _ in waits:
            desk.leave()
        await asyncio.gather(*visits)
        assert desk.queue.oldest == 0

    assert virtual(story).served == ["first", "h", "a", "b", "l"]


def test_it_says_who_waits_for_what_and_for_how_long() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), desk.visit("waits"))
        await asyncio.sleep(1)
        assert list(desk.queue.waiting()) == [(frozenset((ROUTER,)), pytest.approx(1))]
        desk.leave()
        await asyncio.gather(*visits)
        assert list(desk.queue.waiting()) == []

    virtual(story)


def test_room_is_handed_over_and_cannot_be_snatched() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), desk.visit("waits"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        desk.leave()
        assert not desk.room.enter("a")
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
            desk.leave()
        await asyncio.gather(*visits)

    desk = virtual(story, size=2)
    assert desk.served == ["first", "h", "l1"]
    assert {name: full.message.rpartition(", and ")[2] for name, full in desk.refused.items()} == {
        "l3": "the queue is full.",
        "l2": "the queue is full, mostly of requests of its namespace.",
    }


def test_bytes_count_too_and_nobody_leaves_in_vain() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), desk.visit("n", size=60), desk.visit("l", LOW, size=40))
        await asyncio.sleep(0)
        await desk.visit("too large for the place of l", HIGH, size=200)
        await desk.visit("n2", size=50)
        assert len(desk.queue) == 2
        desk.leave()
        desk.leave()
        await asyncio.gather(*visits)

    desk = virtual(story, max_bytes=100)
    assert desk.served == ["first", "n", "l"]
    assert QUEUE_BYTES > 32 * 1024 * 1024, "the largest request may wait too"


def test_who_leaves_gives_up_the_place_and_even_what_was_just_taken() -> None:
    async def story(desk: Desk) -> None:
        first, gone, late, last = desk.start(*(desk.visit(name) for name in ("first", "gone", "late", "last")))
        await asyncio.sleep(0)
        gone.cancel()
        desk.leave()  # in the same moment: it goes past the one that has left
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
                frozenset("k"),
                offer,
                lambda _: None,
                what="k is full",
                namespace="a",
                priority=NORMAL,
                size=0,
                seconds=5,
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


def test_namespaces_take_turns_and_a_priority_counts_only_within_its_own() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), *(desk.visit(f"b{n}", HIGH, of="b") for n in range(5)))
        visits += desk.start(desk.visit("a0"), desk.visit("a1", HIGH), desk.visit("c0", LOW, of="c"))
        await asyncio.sleep(0)
        for of in ("a", *"bacbabbb"):
            desk.leave(of)
            await asyncio.sleep(0)
        await asyncio.gather(*visits)

    assert virtual(story).served == ["first", "b0", "a1", "c0", "b1", "a0", "b2", "b3", "b4"]


def test_where_it_may_a_request_goes_ahead_of_other_namespaces() -> None:
    async def story(desk: Desk) -> None:
        def ask(of: str, ahead: str = "") -> asyncio.Task[str]:
            wait = desk.queue.wait(
                *(frozenset("kl"), lambda: of, lambda _: None),
                what="k is full",
                namespace=of,
                priority=HIGH,
                size=0,
                seconds=5,
                ahead=frozenset(ahead),
            )
            return asyncio.get_running_loop().create_task(wait)

        tasks = [ask("a"), ask("b"), ask("b", "k"), ask("b", "k")]
        await asyncio.sleep(0)
        order = []
        for key in "lkkk":
            desk.queue.free(key)
            await asyncio.sleep(0)
            order += [tasks.index(task) for task in tasks if task.done() and tasks.index(task) not in order]
        assert order == [0, 2, 3, 1]

    virtual(story)


def test_one_namespace_leaves_a_part_of_a_large_room_to_others() -> None:
    room = Room(Queue(ManualClock()), 90)
    assert [room.enter("b") for _ in range(90)].count(True) == 80
    assert [room.enter("a") for _ in range(90)].count(True) == 9
    assert room.enter("c"), "the last slot is for one that has none"
    assert not room.enter("d")
    for _ in range(9):
        room.leave("a")
    assert [room.enter("c") for _ in range(90)].count(True) == 8


def test_who_waits_for_its_share_is_told_so_and_gets_it_when_others_leave() -> None:
    async def story(desk: Desk) -> None:
        desk.room.limit = 18
        for of in ("b", "b", "c"):
            assert desk.room.enter(of)
        for _ in range(14):
            assert desk.room.enter("a")
        await desk.visit("too many", seconds=1)
        visits = desk.start(desk.visit("a1"), desk.visit("a2"), desk.visit("a3"))
        await asyncio.sleep(0)
        desk.leave("b")
        await asyncio.sleep(0)
        assert desk.served == ["a1"]
        desk.leave("b")
        desk.leave("c")
        await asyncio.gather(*visits)
        for _ in range(desk.room.taken):
            desk.leave()

    desk = virtual(story)
    assert desk.served == ["a1", "a2"]
    assert desk.refused.keys() == {"too many", "a3"}
    assert desk.refused["too many"].message.startswith("Namespace a has its share of the 18 requests")


def test_a_flood_cannot_keep_others_out_of_the_queue() -> None:
    async def story(desk: Desk) -> None:
        visits = desk.start(desk.visit("first"), *(desk.visit(f"b{n}", HIGH, of="b") for n in range(10)))
        await asyncio.sleep(0)
        visits += desk.start(*(desk.visit(f"a{n}", LOW) for n in range(3)))
        visits += desk.start(*(desk.visit(f"b{n}", HIGH, of="b") for n in range(10, 20)))
        await asyncio.sleep(0)
        desk.leave()
        for of in "bababa":
            await asyncio.sleep(0)
            desk.leave(of)
        await asyncio.gather(*visits)

    desk = virtual(story, size=6)
    assert desk.served == ["first", "b0", "a0", "b1", "a1", "b2", "a2"]
    assert {name[0] for name in desk.refused} == {"b"}


def test_bytes_make_a_namespace_give_way_as_its_number_does() -> None:
    async def story(desk: Desk) -> None:
        half = 32 * 1024 * 1024
        visits = desk.start(desk.visit("first"), *(desk.visit(f"b{n}", HIGH, of="b", size=half) for n in range(2)))
        visits += desk.start(*(desk.visit(f"a{n}") for n in range(400)))
        await asyncio.sleep(0)
        await asyncio.gather(*visits)

    desk = virtual(story)
    assert desk.refused["b1"].message.endswith("the queue is full, mostly of requests of its namespace.")
    assert "nothing became free" in desk.refused["b0"].message
    assert sum("nothing became free" in it.message for it in desk.refused.values()) == 401


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "leave", "cancel", "pass"]),
        st.sampled_from(Priority),
        st.integers(0, 60),
        st.sampled_from([0.0, 0.5, 5.0]),
        st.sampled_from("abc"),
    ),
    max_size=60,
)


COME = ("come", Priority.HIGH, 0, 0.5, "a")
PASS = ("pass", Priority.HIGH, 0, 0.0, "a")
LEAVE = ("leave", Priority.HIGH, 0, 0.0, "a")
CANCEL = ("cancel", Priority.HIGH, 1, 0.0, "a")


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([1, 2, 10]))
@example([COME, COME, PASS, LEAVE, LEAVE, CANCEL, PASS], 1)
def test_every_request_ends_the_bounds_hold_and_no_slot_is_free_for_one_that_waits(
    steps: list[tuple[str, Priority, int, float, str]], limit: int
) -> None:
    async def story(desk: Desk) -> None:
        desk.room.limit = limit
        visits: list[asyncio.Task[None]] = []
        left: Counter[str] = Counter()
        for number, (action, priority, size, seconds, of) in enumerate(steps):
            if action == "come":
                visits += desk.start(desk.visit(f"{of}{number}", priority, of=of, size=size, seconds=seconds))
            elif action == "leave" and left[of] < sum(name[0] == of for name in desk.served):
                left[of] += 1  # by one that is inside, not by one that is just let in
                desk.leave(of)
            elif action == "cancel" and visits:
                visits[size % len(visits)].cancel()
            elif action == "pass":
                await asyncio.sleep(seconds)
            waiters = desk.queue._waiters.values()
            assert len(waiters) <= 3
            assert desk.queue._bytes == sum(waiter.size for waiter in waiters) <= 100
            assert 0 <= desk.room.taken == sum(desk.room._held.values()) <= limit
            assert not any(desk.room._may(it.namespace) for it in waiters if not it.future.done())
            assert sum(line.weight for line in desk.queue._namespaces.values()) == sum(it.weight for it in waiters)
        await asyncio.gather(*visits, return_exceptions=True)
        assert all(visit.done() for visit in visits)
        assert (desk.queue._namespaces, desk.queue._keys) == ({}, {})

    virtual(story, size=3, max_bytes=100)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.floats(0.1, 3.0))
def test_a_quiet_namespace_is_served_beside_any_flood(limit: int, flood: int, size: int, service: float) -> None:
    """Its request waits until every other namespace has had a turn, not until the flood is over."""

    async def story(desk: Desk) -> None:
        desk.room.limit = limit
        loop = asyncio.get_running_loop()
        waits: list[float] = []
        floods = [loop.create_task(serve(desk, of, size * 1024, service, 40)) for of in "bc" for _ in range(flood)]
        for _ in range(5):
            await asyncio.sleep(service)
            began = loop.time()
            await serve(desk, "a", 1024, service, 1)
            waits.append(loop.time() - began - service)
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        assert max(waits) <= 3 * service + 0.001

    virtual(story)


async def serve(desk: Desk, of: str, size: int, seconds: float, times: int) -> None:
    """Requests of one caller, one after the other, each of which holds its slot for a while."""
    for _ in range(times):
        if not desk.room.enter(of):
            await desk.room.wait(namespace=of, priority=NORMAL, size=size, seconds=600.0)
        try:
            await asyncio.sleep(seconds)
        finally:
            desk.leave(of)
