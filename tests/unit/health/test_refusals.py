"""429s without Retry-After: a backend that refuses everything differs from one at its limit, in virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import pytest

from weir_router.clock import ManualClock
from weir_router.contract import Backend, CompiledConfig, Dialect, Tier
from weir_router.errors import FailureKind
from weir_router.health.board import Board
from weir_router.health.breaker import Breaker, Ticket
from weir_router.health.refusals import KEPT, REFUSING, ROW, Refusals

SECOND = 1.001
"""Seconds in one step: slightly more than one, because of rounding."""


def take(breaker: Breaker) -> Ticket:
    ticket = breaker.acquire()
    assert ticket is not None
    return ticket


def serve(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        ticket = take(breaker)
        breaker.content(ticket)
        breaker.good(ticket)


def refuse(breaker: Breaker, clock: ManualClock, times: int, over: float = 0.0) -> None:
    """Sends `times` 429s at even distances, the first at once and the last after `over` seconds."""
    for number in range(times):
        clock.advance(over / (times - 1) if number else 0.0)
        breaker.failed(take(breaker), FailureKind.RATE_LIMIT)


@pytest.fixture
def busy(breaker: Breaker) -> Breaker:
    """A breaker with so many good answers in its window that half of it cannot be bad soon."""
    serve(breaker, 100)
    return breaker


def test_ten_429s_in_a_row_over_a_second_open(busy: Breaker, clock: ManualClock) -> None:
    refuse(busy, clock, ROW - 1, over=SECOND)
    assert busy.state == "closed"
    refuse(busy, clock, 1)
    assert (busy.state, busy.reason) == ("open", "rate_limit")


def test_trap_a_burst_that_is_too_much_for_it_does_not_open(busy: Breaker, clock: ManualClock) -> None:
    refuse(busy, clock, 60, over=REFUSING - 0.1)
    assert busy.state == "closed"


def test_trap_a_backend_at_its_limit_that_serves_its_part_does_not_open(busy: Breaker, clock: ManualClock) -> None:
    for _ in range(10):
        refuse(busy, clock, ROW - 1, over=SECOND)
        serve(busy, ROW)
    assert busy.state == "closed"


def test_those_that_wait_for_their_answer_were_let_through(busy: Breaker, clock: ManualClock) -> None:
    for _ in range(5):
        refuse(busy, clock, ROW - 1, over=SECOND)
        take(busy)
    assert busy.state == "closed"


def test_what_started_before_the_first_429_refutes_nothing(busy: Breaker, clock: ManualClock) -> None:
    early = take(busy)
    refuse(busy, clock, ROW - 1, over=SECOND)
    busy.content(early)
    busy.good(early)
    refuse(busy, clock, 1)
    assert busy.state == "open"


def test_a_429_from_before_an_answer_counts_in_no_row(busy: Breaker, clock: ManualClock) -> None:
    late = [take(busy) for _ in range(2 * ROW)]
    serve(busy)
    for ticket in late:
        clock.advance(0.1)
        busy.failed(ticket, FailureKind.RATE_LIMIT)
    assert busy.state == "closed"


def test_429s_may_overtake_each_other(busy: Breaker, clock: ManualClock) -> None:
    tickets = [take(busy) for _ in range(ROW)]
    clock.advance(0.1)
    for ticket in tickets[:0:-1]:
        busy.failed(ticket, FailureKind.RATE_LIMIT)
    clock.advance(SECOND)
    assert busy.state == "closed"
    busy.failed(tickets[0], FailureKind.RATE_LIMIT)
    assert busy.state == "open"


def test_an_answer_leaves_the_429s_of_later_attempts_and_their_time() -> None:
    refusals = Refusals()
    for number in (1, 2, 4):
        assert not refusals.all_refused(number, 0.1 * number)
    refusals.served(3)
    assert refusals.times == {4: 0.4}
    refusals.served(2)
    assert refusals.times == {4: 0.4}
    told = [refusals.all_refused(number, 0.1 * number) for number in range(5, 16)]
    assert told == [False] * 9 + [True] * 2  # a second after the fourth, and not after the first


def test_how_many_are_kept_is_bounded_and_their_time_is_not_forgotten() -> None:
    refusals = Refusals()
    assert not any(refusals.all_refused(number, number * 0.01) for number in range(100))
    assert len(refusals.times) == KEPT
    assert refusals.all_refused(100, REFUSING)


# Two backends of one tier under an open load


class Load:
    """Requests to backends, in virtual time; `a` answers 429 with some probability, first content comes at random."""

    def __init__(self, seed: int, names: str, *, ttft: float = 0.5) -> None:
        self.asked: list[float] = []  # a, when
        self.changes: list[tuple[float, str]] = []  # of a's state, when
        self._random, self._clock, self._ttft = random.Random(seed), ManualClock(), ttft
        self._start = self._clock.monotonic()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order: Iterator[int] = count()
        self._board = Board(self._clock, random.Random(seed), self._changed)
        backends = tuple(
            Backend(name=name, provider=Dialect.OPENAI, base_url=f"http://{name}/v1", model="m") for name in names
        )
        self._board.configure(CompiledConfig(tiers={"llm/t": Tier(namespace="llm", name="t", backends=backends)}))

    def run(self, rate: float, calm: float, refusing: float, probability: float = 1.0) -> None:
        """Runs `calm` seconds, then seconds in which `a` refuses. Times count from the first of the latter."""
        self._start += calm
        for number in range(int(rate * (calm + refusing))):
            self._at(number / rate - calm, partial(self._ask, probability))
        while self._due:
            at, _, then = heapq.heappop(self._due)
            self._clock.advance(max(0.0, self._start + at - self._clock.monotonic()))
            then()

    def _now(self) -> float:
        return self._clock.monotonic() - self._start

    def _at(self, when: float, then: Callable[[], object]) -> None:
        heapq.heappush(self._due, (when, next(self._order), then))

    def _changed(self, key: str, old: str, new: str) -> None:
        if key == "llm/t/a":
            self.changes.append((self._now(), new))

    def _ask(self, probability: float) -> None:
        view, now = self._board.view(), self._now()
        for key in sorted(view, key=lambda it: view[it].score):
            guard = self._board.begin(key, 10)
            if guard is None:
                continue
            refused = key == "llm/t/a" and now >= 0 and self._random.random() < probability
            if key == "llm/t/a":
                self.asked.append(now)
            if not refused:
                content = now + self._random.lognormvariate(0, 0.5) * self._ttft
                self._at(content, guard.first_content)
                self._at(content + 1.0, partial(guard.succeeded, 20))
                return
            guard.failed(FailureKind.RATE_LIMIT)


@pytest.mark.parametrize("names", ["a", "ab"])
def test_a_backend_that_refuses_everything_is_left_alone_within_three_seconds(names: str) -> None:
    for seed in range(5):
        load = Load(seed, names)
        load.run(20.0, calm=10.0, refusing=3.0)
        assert [state for _, state in load.changes] == ["open"]
        assert load.changes[0][0] < 3.0


@pytest.mark.parametrize("ttft", [0.5, 3.0])
@pytest.mark.parametrize("names", ["a", "ab"])
def test_a_backend_that_refuses_three_of_ten_stays_in_the_pool(names: str, ttft: float) -> None:
    for seed in range(3):
        load = Load(seed, names, ttft=ttft)
        load.run(20.0, calm=5.0, refusing=15.0, probability=0.3)
        assert load.changes == []
        assert len(load.asked) > 80
