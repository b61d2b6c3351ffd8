"""Settings of breakers in a ModelTier."""

from __future__ import annotations

import pytest

from weir_router.clock import ManualClock
from weir_router.contract import BreakerKnobs
from weir_router.errors import FailureKind
from weir_router.health.breaker import Breaker, State, Ticket
from weir_router.health.settings import DEFAULTS, Settings


def ticket(breaker: Breaker) -> Ticket:
    taken = breaker.acquire()
    assert taken is not None
    return taken


def fail(
    breaker: Breaker, times: int, kind: FailureKind = FailureKind.SERVER, retry_after: float | None = None
) -> None:
    for _ in range(times):
        breaker.failed(ticket(breaker), kind, retry_after)


def test_what_is_not_said_is_the_default() -> None:
    assert Settings.of(BreakerKnobs()) == DEFAULTS


def test_everything_can_be_said() -> None:
    knobs = BreakerKnobs(
        consecutive_failures=2,
        failure_percent=30,
        minimum_requests=4,
        open_for=1.0,
        max_open_for=8.0,
        max_retry_after=60.0,
        probes=1,
        slow_start=3.0,
    )
    assert Settings.of(knobs) == (2, 0.3, 4, 1.0, 8.0, 60.0, 1, 3.0)


@pytest.mark.parametrize(("knobs", "periods"), [({"open_for": 60.0}, (60, 60)), ({"max_open_for": 2.0}, (2, 2))])
def test_one_period_alone_moves_the_other_where_it_has_to(
    knobs: dict[str, float], periods: tuple[float, float]
) -> None:
    settings = Settings.of(BreakerKnobs(**knobs))  # type: ignore[arg-type]
    assert (settings.open_first, settings.open_last) == periods


def test_fewer_failures_in_a_row_open(breaker: Breaker) -> None:
    breaker.settings = Settings(consecutive=2)
    fail(breaker, 2)
    assert breaker.state is State.OPEN


def test_a_count_that_was_lowered_meanwhile_holds_for_what_was_counted(breaker: Breaker) -> None:
    fail(breaker, 4)
    breaker.settings = Settings(consecutive=2)
    fail(breaker, 1)
    assert breaker.state is State.OPEN


def test_the_ratio_and_its_minimum(breaker: Breaker) -> None:
    breaker.settings = Settings(ratio=0.25, minimum=4)
    for _ in range(3):
        taken = ticket(breaker)
        breaker.content(taken)
        breaker.good(taken)
    fail(breaker, 1)
    assert breaker.state is State.OPEN


def test_periods_probes_and_retry_after(breaker: Breaker, clock: ManualClock) -> None:
    breaker.settings = Settings(open_first=1.0, open_last=3.0, probes=1, retry_after_cap=40.0)
    fail(breaker, 5)
    periods = []
    for _ in range(3):
        periods.append(breaker.available_at - clock.monotonic())
        clock.advance(periods[-1])
        fail(breaker, 1)
    assert periods == pytest.approx([1, 2, 3])
    clock.advance(3)
    fail(breaker, 1, FailureKind.RATE_LIMIT, 3600)
    assert breaker.available_at == clock.monotonic() + 40
    clock.advance(40)
    breaker.good(ticket(breaker))
    assert breaker.state is State.CLOSED


def test_slow_start(breaker: Breaker, clock: ManualClock) -> None:
    assert breaker.share == 1.0
    breaker.settings = Settings(probes=1, slow_start=4.0)
    fail(breaker, 5)
    clock.advance(5)
    breaker.good(ticket(breaker))
    shares = []
    for _ in range(3):
        shares.append(breaker.share)
        clock.advance(2)
    assert shares == pytest.approx([0.2, 0.6, 1.0])
