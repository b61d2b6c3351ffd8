"""Rate and concurrency limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.admit.ledger import Hold, Ledger
from weir_router.admit.ledger_local import MAX_CALLERS, LocalLedger
from weir_router.clock import ManualClock
from weir_router.contract import Limit
from weir_router.errors import RateLimited


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ledger(clock: ManualClock) -> LocalLedger:
    return LocalLedger(clock)


def per_minute(n: int, key: str = "k") -> list[Limit]:
    return [Limit(key=key, requests_per_minute=n)]


def in_flight(n: int, key: str = "k") -> list[Limit]:
    return [Limit(key=key, in_flight=n)]


def taken_at_once(ledger: LocalLedger, limits: list[Limit]) -> int:
    count = 0
    try:
        while True:
            ledger.reserve(limits).release()
            count += 1
    except RateLimited:
        return count


def test_without_limits_everything_passes(ledger: LocalLedger) -> None:
    ledger.reserve([]).release()
    assert len(ledger) == 0
    ledger.reserve(per_minute(60)).release()
    ledger.reserve([]).release()
    assert len(ledger) == 1


@pytest.mark.parametrize(("rpm", "burst"), [(0, 0), (1, 1), (5, 5), (10, 10), (30, 10), (60, 10), (3_000, 500)])
def test_a_burst_is_ten_seconds_worth_or_ten(ledger: LocalLedger, rpm: int, burst: int) -> None:
    assert taken_at_once(ledger, per_minute(rpm)) == burst


def test_the_rate_refills_evenly(ledger: LocalLedger, clock: ManualClock) -> None:
    taken_at_once(ledger, per_minute(60))
    clock.advance(3)
    assert taken_at_once(ledger, per_minute(60)) == 3


def test_the_error_names_the_limit_and_when_to_retry(ledger: LocalLedger) -> None:
    taken_at_once(ledger, per_minute(6, "grant llm/budget"))
    with pytest.raises(RateLimited, match="Limit grant llm/budget: 6 requests per minute") as caught:
        ledger.reserve(per_minute(6, "grant llm/budget"))
    assert caught.value.retry_after == pytest.approx(10)


def test_a_limit_of_none_at_all_is_to_be_retried_in_a_minute(ledger: LocalLedger) -> None:
    with pytest.raises(RateLimited) as caught:
        ledger.reserve(per_minute(0))
    assert caught.value.retry_after == 60


def test_in_flight_is_bounded_until_released(ledger: LocalLedger) -> None:
    first = ledger.reserve(in_flight(2))
    ledger.reserve(in_flight(2))
    with pytest.raises(RateLimited, match="2 requests are in flight") as caught:
        ledger.reserve(in_flight(2))
    assert caught.value.retry_after == 1
    first.release()
    ledger.reserve(in_flight(2))


def test_releasing_twice_gives_back_once(ledger: LocalLedger) -> None:
    first = ledger.reserve(in_flight(1))
    first.release()
    ledger.reserve(in_flight(1))
    first.release()
    with pytest.raises(RateLimited):
        ledger.reserve(in_flight(1))


def test_all_or_nothing(ledger: LocalLedger) -> None:
    ledger.reserve(in_flight(1, "b"))
    with pytest.raises(RateLimited):
        ledger.reserve(per_minute(3, "a") + in_flight(1, "b"))
    assert taken_at_once(ledger, per_minute(3, "a")) == 3


def test_the_same_key_twice_counts_once(ledger: LocalLedger) -> None:
    ledger.reserve(in_flight(1) * 2).release()
    ledger.reserve(in_flight(1))


def test_keys_are_counted_apart(ledger: LocalLedger) -> None:
    ledger.reserve(in_flight(1, "a"))
    ledger.reserve(in_flight(1, "b"))


def test_a_lowered_limit_holds_at_once(ledger: LocalLedger) -> None:
    ledger.reserve(per_minute(3_000))
    assert taken_at_once(ledger, per_minute(5)) == 5


def test_idle_keys_are_dropped_and_those_in_flight_kept(ledger: LocalLedger, clock: ManualClock) -> None:
    held = ledger.reserve(in_flight(1, "held"))
    for i in range(50):
        ledger.reserve(in_flight(1, str(i))).release()
    clock.advance(60)
    with pytest.raises(RateLimited):
        ledger.reserve(in_flight(1, "held"))
    assert len(ledger) == 1
    held.release()
    ledger.reserve(in_flight(1, "held"))


def test_dropping_a_key_forgets_no_debt(ledger: LocalLedger, clock: ManualClock) -> None:
    taken_at_once(ledger, per_minute(60))
    clock.advance(59)
    ledger.reserve(per_minute(60))
    clock.advance(1.5)
    ledger.reserve(per_minute(1, "other"))
    assert len(ledger) == 2


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.lists(st.floats(0, 5), min_size=1, max_size=80))
def test_no_more_than_burst_and_rate_ever_pass(rpm: int, gaps: list[float]) -> None:
    clock = ManualClock()
    ledger, passed, elapsed = LocalLedger(clock), 0, 0.0
    for gap in gaps:
        clock.advance(gap)
        elapsed += gap
        passed += taken_at_once(ledger, per_minute(rpm))
        assert all(count.tokens >= 0 and count.in_flight == 0 for count in ledger._counts.values())
    assert passed <= max(rpm / 6, min(rpm, 10)) + elapsed * rpm / 60 + 1e-6


def test_a_hold_that_is_settled_frees_its_place_once(clock: ManualClock) -> None:
    ledger: Ledger = LocalLedger(clock)
    first: Hold = ledger.reserve(in_flight(1))
    assert first.pending is None
    first.settle(None)
    first.settle(None)
    ledger.reserve(in_flight(1))
    with pytest.raises(RateLimited):
        ledger.reserve(in_flight(1))


def test_a_namespace_with_very_many_callers_resets_only_counts_of_its_own(ledger: LocalLedger) -> None:
    ledger.reserve(per_minute(1, "victim"), "b").release()
    ledger.reserve(per_minute(1, "a0"), "a").release()
    held = ledger.reserve(in_flight(1, "a-held"), "a")
    for number in range(1, 3 * MAX_CALLERS):
        ledger.reserve(per_minute(1, f"a{number}"), "a").release()
    assert len(ledger) == MAX_CALLERS + 1
    ledger.reserve(per_minute(1, "a0"), "a")  # it was forgotten
    for key, namespace in (("victim", "b"), ("a-held", "a")):
        with pytest.raises(RateLimited):
            ledger.reserve([Limit(key=key, requests_per_minute=1, in_flight=1)], namespace)
    held.release()


def test_where_all_callers_of_a_namespace_have_requests_in_flight_a_further_one_waits(
    ledger: LocalLedger, clock: ManualClock
) -> None:
    holds = [ledger.reserve(in_flight(1, f"a{number}"), "a") for number in range(MAX_CALLERS)]
    with pytest.raises(RateLimited, match="callers of namespace a have requests in flight"):
        ledger.reserve(in_flight(1, "more"), "a")
    ledger.reserve(in_flight(1, "other"), "b").release()
    holds.pop().release()
    ledger.reserve(in_flight(1, "more"), "a").release()
    for hold in holds:
        hold.release()
    clock.advance(60)
    ledger.reserve(())
    assert (len(ledger), ledger._callers) == (0, {})
