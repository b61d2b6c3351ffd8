"""The breaker's rules, one by one, in virtual time."""

from __future__ import annotations

import random

import pytest

from weir_router.clock import ManualClock
from weir_router.errors import FailureKind
from weir_router.health.breaker import Breaker, Ticket
from weir_router.health.kinds import BLAMELESS_KINDS, CREDENTIAL_KINDS, NEUTRAL_KINDS, PROVOKED_KINDS

HARD = sorted(set(FailureKind) - CREDENTIAL_KINDS - NEUTRAL_KINDS - BLAMELESS_KINDS - {FailureKind.RATE_LIMIT})


def take(breaker: Breaker, *, panic: bool = False) -> Ticket:
    ticket = breaker.acquire(panic=panic)
    assert ticket is not None
    return ticket


def fail(breaker: Breaker, times: int = 1, kind: FailureKind = FailureKind.SERVER) -> None:
    for _ in range(times):
        breaker.failed(take(breaker), kind)


def refuse(breaker: Breaker, kind: FailureKind, *namespaces: str) -> None:
    """Refuses one request of each namespace, by default of two."""
    for namespace in namespaces or ("a", "b"):
        ticket = breaker.acquire(namespace)
        assert ticket is not None
        breaker.failed(ticket, kind)


def succeed(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        ticket = take(breaker)
        breaker.content(ticket)
        breaker.good(ticket)


def half_opened(breaker: Breaker, clock: ManualClock) -> Breaker:
    fail(breaker, 5)
    clock.advance(5)
    return breaker


# Opening


@pytest.mark.parametrize("kind", HARD)
def test_five_hard_failures_in_a_row_open(breaker: Breaker, kind: FailureKind) -> None:
    fail(breaker, 4, kind)
    assert (breaker.state, breaker.reason) == ("closed", None)
    fail(breaker, 1, kind)
    assert (breaker.state, breaker.reason) == ("open", kind)
    assert breaker.acquire() is None


def test_a_success_between_ends_the_streak(breaker: Breaker) -> None:
    for _ in range(2):
        succeed(breaker, 5)
        fail(breaker, 4)
    assert breaker.state == "closed"


def test_half_bad_of_ten_open(breaker: Breaker) -> None:
    for _ in range(4):
        succeed(breaker)
        fail(breaker)
    succeed(breaker)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_half_bad_of_nine_do_not_open(breaker: Breaker) -> None:
    succeed(breaker, 4)
    fail(breaker, 3)
    succeed(breaker)
    fail(breaker, 1)
    assert breaker.state == "closed"


def test_bad_outcomes_spread_over_a_minute_do_not_open(breaker: Breaker, clock: ManualClock) -> None:
    for _ in range(15):
        fail(breaker)
        succeed(breaker)
        clock.advance(4)
    assert breaker.state == "closed"


def test_a_429_counts_in_the_ratio_but_not_in_the_streak(breaker: Breaker) -> None:
    fail(breaker, 9, FailureKind.RATE_LIMIT)
    assert breaker.state == "closed"
    fail(breaker, 1, FailureKind.RATE_LIMIT)
    assert (breaker.state, breaker.reason) == ("open", "rate_limit")


@pytest.mark.parametrize("kind", sorted(BLAMELESS_KINDS))
def test_a_policys_own_deadline_is_no_evidence(breaker: Breaker, kind: FailureKind) -> None:
    fail(breaker, 20, kind)
    assert breaker.state == "closed"
    assert breaker.healthy


@pytest.mark.parametrize("kind", sorted(NEUTRAL_KINDS))
def test_what_is_about_the_request_counts_as_nothing(breaker: Breaker, kind: FailureKind) -> None:
    fail(breaker, 4)
    fail(breaker, 5, kind)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"


def test_a_cancelled_attempt_counts_as_nothing(breaker: Breaker) -> None:
    for _ in range(20):
        breaker.cancelled(take(breaker))
    assert breaker.state == "closed"


# The traps


def test_trap_success_at_the_first_token_would_hide_stalls(breaker: Breaker) -> None:
    """Every attempt gives content and then stalls: the content must not end the streak."""
    for _ in range(5):
        ticket = take(breaker)
        breaker.content(ticket)
        breaker.failed(ticket, FailureKind.STALLED)
    assert breaker.state == "open"


def test_trap_a_late_success_from_before_the_fault_does_not_end_the_streak(breaker: Breaker) -> None:
    old = take(breaker)
    fail(breaker, 4)
    breaker.content(old)
    breaker.good(old)
    fail(breaker, 1)
    assert breaker.state == "open"


def test_trap_a_probe_that_never_returns_frees_its_slot(breaker: Breaker, clock: ManualClock) -> None:
    half_opened(breaker, clock)
    take(breaker)
    assert breaker.acquire() is None
    clock.advance(30)
    assert breaker.acquire() is not None


def test_trap_a_cancelled_silent_attempt_stays_counted(breaker: Breaker) -> None:
    """The winner of a race cancels the loser; its slowness counts all the same."""
    for _ in range(5):
        ticket = take(breaker)
        breaker.slow(ticket)
        breaker.cancelled(ticket)
    assert (breaker.state, breaker.reason) == ("open", "slow")


def test_quick_failures_among_long_good_streams_do_not_open(breaker: Breaker) -> None:
    """Successes at a high rate end long after the failures around them; their first content speaks for them."""
    for _ in range(40):
        fail(breaker)
        for _ in range(2):
            breaker.content(take(breaker))
    assert breaker.state == "closed"


@pytest.mark.parametrize(("between", "state"), [(1, "open"), (2, "closed")])
def test_five_failures_must_lie_within_ten_attempts(breaker: Breaker, between: int, state: str) -> None:
    """Attempts in between are under way: at a high rate, five quick failures come before their first content."""
    fail(breaker)
    for _ in range(4):
        for _ in range(between):
            take(breaker)
        fail(breaker)
    assert breaker.state == state


def test_an_older_failure_does_not_stand_in_the_way_of_five_new_ones(breaker: Breaker) -> None:
    fail(breaker)
    for _ in range(10):
        take(breaker)
    fail(breaker, 4)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_stalls_of_half_the_streams_open(breaker: Breaker, clock: ManualClock) -> None:
    """Every stream, stalled or not, has shown content before."""
    streams = [take(breaker) for _ in range(10)]
    for stream in streams:
        breaker.content(stream)
    clock.advance(5)
    for good, stalled in zip(streams[::2], streams[1::2], strict=True):
        breaker.good(good)
        breaker.failed(stalled, FailureKind.STALLED)
    assert breaker.state == "open"


def test_a_failure_that_started_before_a_success_is_not_in_the_streak(breaker: Breaker) -> None:
    silent = [take(breaker) for _ in range(5)]
    succeed(breaker, 6)
    for ticket in silent:
        breaker.failed(ticket, FailureKind.SILENT)
    assert breaker.state == "closed"


# Slowness


def test_silent_attempts_open_before_their_deadline(breaker: Breaker) -> None:
    for _ in range(5):
        breaker.slow(take(breaker))
    assert (breaker.state, breaker.reason) == ("open", "slow")


def test_slow_content_counts_in_the_ratio_only(breaker: Breaker) -> None:
    for _ in range(9):
        ticket = take(breaker)
        breaker.slow(ticket)
        breaker.content(ticket)
    assert breaker.state == "closed"
    breaker.slow(take(breaker))
    assert breaker.state == "open"


def test_late_content_does_not_refute_those_who_are_still_silent(breaker: Breaker) -> None:
    """Otherwise one late answer in five would hide a black-out."""
    silent, late, last = [take(breaker) for _ in range(4)], take(breaker), take(breaker)
    for ticket in silent[:3]:
        breaker.slow(ticket)
    breaker.slow(late)
    breaker.content(late)
    for ticket in (silent[3], last):
        assert breaker.state == "closed"
        breaker.slow(ticket)
    assert breaker.state == "open"


def test_slow_and_failed_count_once(breaker: Breaker) -> None:
    for _ in range(4):
        ticket = take(breaker)
        breaker.slow(ticket)
        breaker.slow(ticket)
        breaker.failed(ticket, FailureKind.SILENT)
    assert breaker.state == "closed"
    assert breaker._window.counts() == (4, 4)


def test_a_slow_success_is_not_good_as_well(breaker: Breaker) -> None:
    ticket = take(breaker)
    breaker.slow(ticket)
    breaker.content(ticket)
    breaker.good(ticket)
    assert breaker._window.counts() == (1, 1)


def test_a_slow_refusal_is_an_answer(breaker: Breaker) -> None:
    for _ in range(9):
        ticket = take(breaker)
        breaker.slow(ticket)
        breaker.failed(ticket, FailureKind.CALLER)
    assert breaker.state == "closed"


# Periods


def test_periods_grow_to_eight_seconds(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 5)
    for period in (5, 8, 8, 8):
        assert breaker.available_at == clock.monotonic() + period
        clock.advance(period)
        fail(breaker)


def test_a_probe_that_took_long_to_fail_does_not_put_off_the_next(breaker: Breaker, clock: ManualClock) -> None:
    half_opened(breaker, clock)
    probe = take(breaker)
    started = clock.monotonic()
    clock.advance(4)
    breaker.slow(probe)
    assert breaker.available_at == started + 8
    clock.advance(4)
    probe = take(breaker)
    clock.advance(20)
    breaker.slow(probe)
    assert breaker.available_at == clock.monotonic() + 1


def test_jitter_is_a_fifth_at_most(clock: ManualClock) -> None:
    periods = []
    for seed in range(30):
        breaker = Breaker(clock, random.Random(seed))
        fail(breaker, 5)
        periods.append(breaker.available_at - clock.monotonic())
    assert 4 <= min(periods) < 4.5
    assert 5.5 < max(periods) <= 6


def test_closing_resets_the_period(breaker: Breaker, clock: ManualClock) -> None:
    half_opened(breaker, clock)
    fail(breaker)
    clock.advance(10)
    succeed(breaker, 3)
    fail(breaker, 5)
    assert breaker.available_at == clock.monotonic() + 5


@pytest.mark.parametrize(("asked", "waits"), [(2.0, 2.0), (60.0, 60.0), (4_000.0, 300.0)])
def test_retry_after_overrides_the_period(breaker: Breaker, clock: ManualClock, asked: float, waits: float) -> None:
    fail(breaker, 4)
    breaker.failed(take(breaker), FailureKind.OVERLOAD, asked)
    assert breaker.state == "open"
    assert breaker.available_at == clock.monotonic() + waits
    clock.advance(waits)
    assert breaker.state == "half-open"


def test_a_single_429_with_retry_after_pauses_without_opening(breaker: Breaker, clock: ManualClock) -> None:
    breaker.failed(take(breaker), FailureKind.RATE_LIMIT, 7)
    assert (breaker.state, breaker.reason, breaker.available_at) == ("closed", "rate_limit", clock.monotonic() + 7)
    assert breaker.acquire(panic=True) is None
    clock.advance(7)
    assert (breaker.reason, breaker.available_at) == (None, 0)
    succeed(breaker)


@pytest.mark.parametrize("nothing", [None, 0.0, -3.0])
def test_no_retry_after_does_not_pause(breaker: Breaker, nothing: float | None) -> None:
    breaker.failed(take(breaker), FailureKind.RATE_LIMIT, nothing)
    assert breaker.available_at == 0


def test_a_late_429_prolongs_an_open_period(breaker: Breaker, clock: ManualClock) -> None:
    late = take(breaker)
    fail(breaker, 5)
    breaker.failed(late, FailureKind.RATE_LIMIT, 100)
    assert (breaker.reason, breaker.available_at) == ("server", clock.monotonic() + 100)


# Half-open


def test_one_probe_at_a_time(breaker: Breaker, clock: ManualClock) -> None:
    half_opened(breaker, clock)
    assert breaker.state == "half-open"
    probe = take(breaker)
    assert breaker.acquire() is None
    assert breaker.available_at == clock.monotonic() + 30
    breaker.content(probe)
    breaker.good(probe)
    assert breaker.acquire() is not None


def test_three_clean_streams_close(breaker: Breaker, clock: ManualClock, changes: list[tuple[str, ...]]) -> None:
    half_opened(breaker, clock)
    succeed(breaker, 2)
    assert breaker.state == "half-open"
    succeed(breaker)
    assert (breaker.state, breaker.reason, breaker.closed_at) == ("closed", None, clock.monotonic())
    assert changes == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMIT, FailureKind.SERVER])
def test_a_failed_probe_opens_again(breaker: Breaker, clock: ManualClock, kind: FailureKind) -> None:
    half_opened(breaker, clock)
    succeed(breaker, 2)
    fail(breaker, 1, kind)
    assert (breaker.state, breaker.reason) == ("open", kind)


def test_a_slow_probe_opens_again(breaker: Breaker, clock: ManualClock) -> None:
    half_opened(breaker, clock)
    breaker.slow(take(breaker))
    assert (breaker.state, breaker.reason) == ("open", "slow")


def test_a_probe_about_the_request_gives_its_slot_back(breaker: Breaker, clock: ManualClock) -> None:
    half_opened(breaker, clock)
    fail(breaker, 1, FailureKind.CALLER)
    breaker.cancelled(take(breaker))
    assert breaker.state == "half-open"
    assert breaker.acquire() is not None


def test_what_started_before_the_fault_does_not_touch_the_probing(breaker: Breaker, clock: ManualClock) -> None:
    old = [take(breaker) for _ in range(4)]
    half_opened(breaker, clock)
    take(breaker)
    breaker.content(old[0])
    breaker.good(old[0])
    breaker.slow(old[1])
    breaker.failed(old[2], FailureKind.RESET)
    breaker.cancelled(old[3])
    assert (breaker.state, breaker.last_resort) == ("half-open", False)
    assert breaker.acquire() is None


# One tenant


def serve(breaker: Breaker, namespace: str) -> None:
    ticket = breaker.acquire(namespace)
    assert ticket is not None
    breaker.content(ticket)
    breaker.good(ticket)


@pytest.mark.parametrize("kind", sorted(PROVOKED_KINDS))
def test_one_namespace_does_not_open_it_while_others_are_served(
    breaker: Breaker, clock: ManualClock, kind: FailureKind
) -> None:
    for _ in range(6):
        serve(breaker, "b")
        clock.advance(1)
        refuse(breaker, kind, *["a"] * 20)
    assert breaker.state == "closed"


@pytest.mark.parametrize(
    "kind", sorted({FailureKind.CONNECT, FailureKind.RESET, FailureKind.SILENT, FailureKind.STALLED})
)
def test_what_no_request_provokes_counts_always(breaker: Breaker, kind: FailureKind) -> None:
    serve(breaker, "b")
    refuse(breaker, kind, *["a"] * 5)
    assert breaker.state == "open"


def test_an_outage_fails_every_namespace_and_opens(breaker: Breaker) -> None:
    for namespace in "abc":
        serve(breaker, namespace)
    refuse(breaker, FailureKind.SERVER, *"aaaabc")
    assert breaker.state == "closed"
    refuse(breaker, FailureKind.SERVER, "a")
    assert breaker.state == "open"


def test_who_was_served_long_ago_is_no_longer_served(breaker: Breaker, clock: ManualClock) -> None:
    serve(breaker, "b")
    refuse(breaker, FailureKind.SERVER, *["a"] * 9)
    clock.advance(10)
    refuse(breaker, FailureKind.SERVER, *["a"] * 4)
    assert breaker.state == "closed"
    refuse(breaker, FailureKind.SERVER, "a")
    assert breaker.state == "open"


def alike(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        ticket = take(breaker)
        breaker.failed(ticket, FailureKind.SERVER)
        breaker.take_back(ticket)
        breaker.take_back(ticket)


def test_what_is_taken_back_counts_neither_in_the_row_nor_in_the_window(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    alike(breaker, 5)
    assert (breaker.state, breaker._window.counts()) == ("closed", (3, 3))
    ticket = take(breaker)
    breaker.failed(ticket, FailureKind.SERVER)
    clock.advance(10)
    breaker.take_back(ticket)
    assert breaker._window.counts() == (0, 0)


def test_requests_that_all_fail_alike_are_an_outage(breaker: Breaker) -> None:
    alike(breaker, 9)
    assert breaker.state == "closed"
    alike(breaker, 1)
    assert breaker.state == "open"


def test_any_number_is_taken_back_while_others_are_served(breaker: Breaker) -> None:
    serve(breaker, "b")
    alike(breaker, 30)
    assert (breaker.state, breaker._window.counts()) == ("closed", (1, 0))


def test_after_it_has_opened_nothing_is_taken_back(breaker: Breaker) -> None:
    tickets = [take(breaker) for _ in range(5)]
    for ticket in tickets:
        breaker.failed(ticket, FailureKind.SERVER)
    breaker.take_back(tickets[0])
    assert breaker.state == "open"


# Credentials


@pytest.mark.parametrize("kind", sorted(CREDENTIAL_KINDS))
def test_a_refused_credential_is_out_for_a_minute(breaker: Breaker, clock: ManualClock, kind: FailureKind) -> None:
    refuse(breaker, kind)
    assert (breaker.state, breaker.reason, breaker.credential_out) == ("ejected", kind, True)
    clock.advance(59.9)
    assert breaker.acquire() is None
    clock.advance(0.1)
    assert (breaker.state, breaker.credential_out) == ("half-open", True)
    succeed(breaker, 3)
    assert (breaker.state, breaker.credential_out) == ("closed", False)


def test_a_probe_with_the_same_refusal_is_out_for_another_minute(breaker: Breaker, clock: ManualClock) -> None:
    refuse(breaker, FailureKind.CREDIT)
    clock.advance(60)
    refuse(breaker, FailureKind.CREDIT, "a")
    assert breaker.available_at == clock.monotonic() + 60


def test_refusals_of_attempts_under_way_do_not_prolong_the_minute(breaker: Breaker, clock: ManualClock) -> None:
    late = take(breaker)
    refuse(breaker, FailureKind.CREDENTIAL)
    clock.advance(30)
    breaker.failed(late, FailureKind.CREDENTIAL)
    assert breaker.available_at == clock.monotonic() + 30


def test_a_refusal_from_before_the_return_is_old_news(breaker: Breaker, clock: ManualClock) -> None:
    late = take(breaker)
    half_opened(breaker, clock)
    succeed(breaker, 3)
    breaker.failed(late, FailureKind.CREDENTIAL)
    assert breaker.state == "closed"


def test_a_refusal_while_open_ejects(breaker: Breaker) -> None:
    late = [breaker.acquire("a"), breaker.acquire("b")]
    fail(breaker, 5)
    for ticket in late:
        assert breaker.state == "open"
        breaker.failed(ticket, FailureKind.CREDENTIAL)
    assert breaker.state == "ejected"


def test_one_namespace_alone_ejects_for_nobody(breaker: Breaker) -> None:
    refuse(breaker, FailureKind.CREDENTIAL, *["a"] * 20)
    assert (breaker.state, breaker.healthy, breaker.in_doubt) == ("closed", True, True)


def test_a_request_that_is_served_ends_the_doubt(breaker: Breaker) -> None:
    refuse(breaker, FailureKind.CREDENTIAL, "a")
    succeed(breaker)
    refuse(breaker, FailureKind.CREDENTIAL, "b")
    assert breaker.state == "closed"


def test_refusals_of_two_kinds_or_far_apart_do_not_confirm_each_other(breaker: Breaker, clock: ManualClock) -> None:
    refuse(breaker, FailureKind.CREDENTIAL, "a")
    refuse(breaker, FailureKind.MODEL, "b")
    clock.advance(61)
    refuse(breaker, FailureKind.CREDENTIAL, "c")
    assert breaker.state == "closed"


@pytest.mark.parametrize(
    ("met", "state", "doubt"),
    [
        (FailureKind.CREDIT, "ejected", False),
        (None, "closed", False),
        (FailureKind.CALLER, "closed", False),
        (FailureKind.CONNECT, "closed", True),
    ],
)
def test_the_routers_own_request_settles_the_doubt(
    breaker: Breaker, met: FailureKind | None, state: str, doubt: bool
) -> None:
    refuse(breaker, FailureKind.CREDENTIAL, "a")
    breaker.settle(met)
    assert (breaker.state, breaker.in_doubt) == (state, doubt)


def test_the_routers_own_request_changes_nothing_while_ejected(breaker: Breaker, clock: ManualClock) -> None:
    refuse(breaker, FailureKind.CREDENTIAL)
    clock.advance(30)
    breaker.settle(FailureKind.CREDENTIAL)
    assert breaker.available_at == clock.monotonic() + 30


def test_a_probe_that_meets_a_new_refusal_gives_its_slot_back(breaker: Breaker, clock: ManualClock) -> None:
    refuse(half_opened(breaker, clock), FailureKind.CREDENTIAL, "a")
    assert breaker.state == "half-open"
    assert breaker.acquire() is not None


# Last resorts


def test_open_for_faults_is_no_last_resort(breaker: Breaker) -> None:
    fail(breaker, 5)
    assert not breaker.last_resort
    assert breaker.acquire(panic=True) is None


def test_open_for_slowness_alone_is_a_last_resort(breaker: Breaker) -> None:
    for _ in range(5):
        breaker.slow(take(breaker))
    assert breaker.last_resort
    breaker.good(take(breaker, panic=True))
    assert breaker.state == "open"


def test_a_failure_ends_the_last_resort(breaker: Breaker) -> None:
    tickets = [take(breaker) for _ in range(5)]
    for ticket in tickets:
        breaker.slow(ticket)
    breaker.failed(tickets[0], FailureKind.SILENT)
    assert (breaker.reason, breaker.last_resort) == ("silent", False)


def test_half_open_is_a_last_resort_once_its_probe_gives_content(breaker: Breaker, clock: ManualClock) -> None:
    half_opened(breaker, clock)
    probe = take(breaker)
    assert breaker.acquire(panic=True) is None
    breaker.content(probe)
    assert breaker.last_resort
    breaker.good(take(breaker, panic=True))
    assert breaker.acquire() is None, "the probe still holds its slot"


def test_in_panic_one_failure_does_not_open_again_but_five_do(breaker: Breaker, clock: ManualClock) -> None:
    breaker.content(take(half_opened(breaker, clock)))
    for _ in range(4):
        breaker.failed(take(breaker, panic=True), FailureKind.RESET)
    assert breaker.state == "half-open"
    breaker.failed(take(breaker, panic=True), FailureKind.RESET)
    assert breaker.state == "open"
