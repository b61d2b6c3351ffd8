"""The number of routers that share a limit: it rises at once, and falls after a while."""

from __future__ import annotations

from weir_operator.lead.headcount import FALL_SECONDS, Headcount


def test_a_new_leader_starts_from_what_routers_were_told():
    count = Headcount(5, now=0.0)
    assert (count.value, count.update(0, 1.0), count.update(3, 2.0)) == (5, 5, 5)


def test_more_routers_count_at_once():
    count = Headcount(1, now=0.0)
    assert (count.update(3, 1.0), count.due_in(1.0)) == (3, None)


def test_fewer_routers_count_after_a_while():
    count = Headcount(3, now=0.0)
    count.update(3, 1.0)
    assert count.update(2, 10.0) == 3
    assert count.due_in(10.0) == FALL_SECONDS
    assert count.update(2, 9.9 + FALL_SECONDS) == 3
    assert count.update(2, 10.0 + FALL_SECONDS) == 2


def test_a_rolling_update_changes_nothing_but_the_surge():
    count, told, now = Headcount(2, now=0.0), set(), 0.0
    for there in (2, 3, 2, 3, 2, 3, 2):
        now += 20.0
        told.add(count.update(there, now))
    assert told == {2, 3}


def test_of_the_time_that_fewer_were_there_the_most_counts():
    count = Headcount(9, now=0.0)
    for now, there in ((0.0, 9), (1.0, 2), (60.0, 4), (119.0, 3)):
        count.update(there, now)
    assert count.update(3, 1.0 + FALL_SECONDS) == 4


def test_without_any_router_a_limit_is_still_for_one():
    count = Headcount(0, now=0.0)
    assert (count.value, count.update(0, 500.0)) == (1, 1)
