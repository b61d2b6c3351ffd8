"""The budget for attempts beyond the first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.admit.retry_budget import RetryBudget
from weir_router.clock import ManualClock


def drained(clock: ManualClock) -> RetryBudget:
    budget = RetryBudget(clock)
    while budget.take():
        pass
    return budget


def test_a_fresh_router_has_twenty() -> None:
    budget = RetryBudget(ManualClock())
    assert [budget.take() for _ in range(21)] == [True] * 20 + [False]


def test_five_requests_earn_a_retry() -> None:
    budget = drained(ManualClock())
    for _ in range(4):
        budget.request()
    assert not budget.take()
    budget.request()
    assert budget.take()


def test_a_second_earns_a_retry() -> None:
    clock = ManualClock()
    budget = drained(clock)
    clock.advance(2)
    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_no_more_than_twenty_are_saved() -> None:
    clock = ManualClock()
    budget = RetryBudget(clock)
    clock.advance(1_000)
    budget.request()
    assert budget.tokens == 20


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([None, True, 0.1, 3.0]), max_size=80))
def test_tokens_are_never_negative(steps: list[float | bool | None]) -> None:
    clock = ManualClock()
    budget = RetryBudget(clock)
    for step in steps:
        if step is None:
            budget.take()
        elif step is True:
            budget.request()
        else:
            clock.advance(step)
        assert 0 <= budget.tokens == pytest.approx(min(budget.tokens, 20))
