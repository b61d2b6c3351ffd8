"""Counts of outcomes over the last ten seconds."""

from __future__ import annotations

from weir_router.clock import ManualClock
from weir_router.health.window import Outcome, Window


def test_counts_good_and_bad(clock: ManualClock) -> None:
    window = Window(clock)
    window.add(Outcome.COMPLETED)
    window.add(Outcome.BAD)
    assert window.counts() == (2, 1)


def test_remembers_for_nine_seconds_and_forgets_after_ten(clock: ManualClock) -> None:
    window = Window(clock)
    window.add(Outcome.BAD)
    clock.advance(9)
    assert window.counts() == (1, 1)
    clock.advance(1)
    assert window.counts() == (0, 0)


def test_forgets_bucket_by_bucket(clock: ManualClock) -> None:
    window = Window(clock)
    for _ in range(10):
        window.add(Outcome.COMPLETED)
        clock.advance(1)
    assert window.counts() == (9, 0)


def test_a_long_silence_empties_it(clock: ManualClock) -> None:
    window = Window(clock)
    window.add(Outcome.COMPLETED)
    clock.advance(1e6)
    assert window.counts() == (0, 0)


def test_a_stream_that_gives_content_is_good_while_it_lasts(clock: ManualClock) -> None:
    window = Window(clock)
    window.add(Outcome.CONTENT)
    assert window.counts() == (1, 0)
    window.add(Outcome.COMPLETED)
    assert window.counts() == (1, 0)


def test_a_stream_that_breaks_after_content_is_only_bad(clock: ManualClock) -> None:
    window = Window(clock)
    window.add(Outcome.CONTENT)
    window.add(Outcome.BROKEN)
    assert window.counts() == (1, 1)


def test_an_outcome_is_taken_back_in_its_second_and_forgotten_afterwards(clock: ManualClock) -> None:
    window = Window(clock)
    second = window.add(Outcome.BAD)
    clock.advance(1)
    window.add(Outcome.BAD)
    window.remove(Outcome.BAD, second)
    assert window.counts() == (1, 1)
    clock.advance(20)
    window.remove(Outcome.BAD, second)
    assert window.counts() == (0, 0)
