"""The budget for attempts beyond the first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.admit.retry_budget import Rates, RetryBudget, RetryBudgets
from weir_router.clock import ManualClock
from weir_router.contract import CompiledConfig, Failover, Policy
from weir_router.contract import RetryBudget as Stated


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


def policies(**budgets: Stated | None) -> CompiledConfig:
    return CompiledConfig(
        policies=tuple(
            Policy(namespace="n", name=name, models=(), callers=(), failover=Failover(retry_budget=stated))
            for name, stated in budgets.items()
        )
    )


def test_a_policy_that_states_a_budget_has_its_own_and_the_others_share() -> None:
    budgets = RetryBudgets(ManualClock())
    config = policies(own=Stated(percent=50, per_second=0, burst=2), one=None, other=None)
    budgets.configure(config)
    own, one, other = (budgets.of(policy) for policy in config.policies)
    assert one is other is not own
    assert [own.take() for _ in range(3)] == [True, True, False]
    own.request()
    own.request()
    assert own.take()
    assert one.tokens == 20


def test_before_any_config_all_share_one() -> None:
    assert RetryBudgets(ManualClock()).of(policies(a=Stated()).policies[0]).rates == Rates()


def test_a_reload_keeps_what_a_budget_has_unless_it_is_stated_anew() -> None:
    budgets = RetryBudgets(ManualClock())
    before = policies(a=Stated(burst=5), b=Stated(burst=5))
    budgets.configure(before)
    for policy in before.policies:
        budgets.of(policy).take()
    after = policies(a=Stated(burst=5), b=Stated(burst=9))
    budgets.configure(after)
    assert [budgets.of(policy).tokens for policy in after.policies] == [4, 9]


def test_a_tight_budget_starves_where_the_default_does_not() -> None:
    """Half a fleet goes black under 20 requests per second: for ten seconds, every other request needs a retry."""

    def starved(rates: Rates) -> int:
        clock, refused = ManualClock(), 0
        budget = RetryBudget(clock, rates)
        for number in range(200):
            budget.request()
            clock.advance(0.05)
            refused += number % 6 == 0 and not budget.take()
        return refused

    assert starved(Rates()) == 0
    assert starved(Rates(per_request=0.1, per_second=0.0, cap=10.0)) > 0
