"""The budget for attempts beyond the first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.admit.retry_budget import CAP, PER_REQUEST, PER_SECOND, Rates, RetryBudget, RetryBudgets
from weir_router.clock import ManualClock
from weir_router.contract import CallerRule, CompiledConfig, Failover, Policy
from weir_router.contract import RetryBudget as Stated


def drained(clock: ManualClock) -> RetryBudget:
    budget = RetryBudget(clock, divided=False)
    while budget.take("n"):
        pass
    return budget


def test_a_fresh_router_has_twenty() -> None:
    budget = RetryBudget(ManualClock(), divided=False)
    assert [budget.take("n") for _ in range(21)] == [True] * 20 + [False]


def test_five_requests_earn_a_retry() -> None:
    budget = drained(ManualClock())
    for _ in range(4):
        budget.request()
    assert not budget.take("n")
    budget.request()
    assert budget.take("n")


def test_a_second_earns_a_retry() -> None:
    clock = ManualClock()
    budget = drained(clock)
    clock.advance(2)
    assert [budget.take("n") for _ in range(3)] == [True, True, False]


def test_no_more_than_twenty_are_saved() -> None:
    clock = ManualClock()
    budget = RetryBudget(clock)
    clock.advance(1_000)
    budget.request()
    assert budget.tokens == 20


def test_one_namespace_takes_most_and_the_rest_is_for_others() -> None:
    budget = RetryBudget(ManualClock())
    assert [budget.take("greedy") for _ in range(15)] == [True] * 14 + [False]
    assert (budget.has("greedy"), budget.has("other")) == (False, True)
    assert [budget.take("other") for _ in range(4)] == [True] * 3 + [False]
    assert [budget.take(f"another{number}") for number in range(4)] == [True] * 3 + [False]
    assert budget.tokens == 0


def test_what_is_earned_repays_all_in_proportion() -> None:
    clock = ManualClock()
    budget = RetryBudget(clock)
    while budget.take("greedy"):
        pass
    clock.advance(1)
    assert [budget.take("greedy"), budget.take("greedy")] == [True, False]
    clock.advance(60)
    assert [budget.take("greedy") for _ in range(15)] == [True] * 14 + [False]


def test_a_retry_that_was_not_made_is_given_back() -> None:
    clock = ManualClock()
    budget = RetryBudget(clock)
    for _ in range(30):
        assert budget.take("n")
        budget.give_back("n")
    assert [budget.take("n") for _ in range(3)] == [True] * 3
    budget.give_back("n")
    assert [budget.take("n") for _ in range(13)] == [True] * 12 + [False]
    clock.advance(60)
    budget.give_back("n")  # it owes nothing any more
    assert [budget.take("n") for _ in range(15)] == [True] * 14 + [False]


def test_who_owes_nothing_any_more_is_forgotten() -> None:
    clock = ManualClock()
    budget = RetryBudget(clock)
    while budget.take("greedy"):
        pass
    most = 0
    for number in range(5_000):
        clock.advance(1)
        assert budget.take(f"n{number}")
        most = max(most, len(budget._debts))
    assert most < 500
    assert sum(budget._debts.values()) * budget._scale == pytest.approx(CAP - budget.tokens, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", None, 0.1, 3.0]), max_size=120), st.booleans())
def test_all_namespaces_together_never_get_more_than_is_earned(steps: list[float | str | None], divided: bool) -> None:
    clock = ManualClock()
    budget = RetryBudget(clock, divided=divided)
    earned, taken = CAP, 0
    for step in steps:
        if isinstance(step, str):
            had = budget.has(step)
            assert budget.take(step) is had
            taken += had
        elif step is None:
            budget.request()
            earned += PER_REQUEST
        else:
            clock.advance(step)
            earned += step * PER_SECOND
        assert 0 <= budget.tokens <= CAP
        assert taken <= earned + 1e-9
        assert budget.has("who took none") is (budget.tokens >= 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 200))
def test_however_much_others_fail_a_quiet_namespace_has_a_retry(greedy: int, seconds: int) -> None:
    clock = ManualClock()
    budget = RetryBudget(clock)
    for _ in range(seconds):
        clock.advance(1)
        for number in range(50):
            budget.take(f"greedy{number % greedy}")
    assert budget.take("quiet")


def policies(callers: tuple[CallerRule, ...] = (), **budgets: Stated | None) -> CompiledConfig:
    return CompiledConfig(
        policies=tuple(
            Policy(namespace="n", name=name, models=(), callers=callers, failover=Failover(retry_budget=stated))
            for name, stated in budgets.items()
        )
    )


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        (CallerRule(namespaces=frozenset({"n"})), 8),
        (CallerRule(namespaces=frozenset({"n", "o"})), 5),
        (CallerRule(), 5),
    ],
)
def test_a_policys_own_budget_is_divided_only_between_several_namespaces(rule: CallerRule, taken: int) -> None:
    budgets = RetryBudgets(ManualClock())
    config = policies((rule,), own=Stated(per_second=0, burst=8))
    budgets.configure(config)
    budget = budgets.of(config.policies[0])
    assert [budget.take("n") for _ in range(9)].count(True) == taken


def test_a_policy_that_states_a_budget_has_its_own_and_the_others_share() -> None:
    budgets = RetryBudgets(ManualClock())
    config = policies(own=Stated(percent=50, per_second=0, burst=2), one=None, other=None)
    budgets.configure(config)
    own, one, other = (budgets.of(policy) for policy in config.policies)
    assert one is other is not own
    assert [own.take("n") for _ in range(3)] == [True, True, False]
    own.request()
    own.request()
    assert own.take("n")
    assert one.tokens == 20


def test_before_any_config_all_share_one() -> None:
    assert RetryBudgets(ManualClock()).of(policies(a=Stated()).policies[0]).rates == Rates()


def test_a_reload_keeps_what_a_budget_has_unless_it_is_stated_anew() -> None:
    budgets = RetryBudgets(ManualClock())
    before = policies(a=Stated(burst=5), b=Stated(burst=5))
    budgets.configure(before)
    for policy in before.policies:
        budgets.of(policy).take("n")
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
            refused += number % 6 == 0 and not budget.take("n")
        return refused

    assert starved(Rates()) == 0
    assert starved(Rates(per_request=0.1, per_second=0.0, cap=10.0)) > 0
