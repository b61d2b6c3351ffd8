"""Another client that writes an object again and again is named, and answered ever more slowly."""

from __future__ import annotations

import pytest

from weir_operator.kube.contest import AT_ONCE, FIRST_PAUSE, LONGEST_PAUSE, OVER_AFTER, Contest


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def contest(clock: Clock) -> Contest:
    return Contest("ConfigMap weir/weir-ca", monotonic=clock)


def test_hands_are_answered_at_once(contest: Contest):
    for _ in range(AT_ONCE - 1):
        contest.restored()
        assert (contest.due_in, contest.trouble) == (0.0, None)


def test_a_tool_is_named_once_and_answered_ever_more_slowly(
    contest: Contest, clock: Clock, caplog: pytest.LogCaptureFixture
):
    pauses = []
    for _ in range(AT_ONCE + 6):
        contest.restored()
        pauses.append(contest.due_in)
        clock.now += contest.due_in
    assert pauses[AT_ONCE - 1 :] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    assert (FIRST_PAUSE, LONGEST_PAUSE) == (5.0, 60.0)
    assert contest.trouble is not None
    assert contest.trouble.startswith("another client writes ConfigMap weir/weir-ca again and again")
    assert len(caplog.records) == 1


def test_a_tool_that_comes_every_ten_minutes_is_named_too(contest: Contest, clock: Clock):
    for _ in range(AT_ONCE + 1):
        clock.now += 600
        assert contest.due_in == 0
        contest.restored()
    assert contest.trouble is not None


def test_it_is_over_after_a_quiet_time(contest: Contest, clock: Clock):
    for _ in range(AT_ONCE + 1):
        contest.restored()
    clock.now += OVER_AFTER + 1
    assert (contest.due_in, contest.trouble) == (0.0, None)
    contest.restored()
    assert (contest.due_in, contest.trouble) == (0.0, None)
