"""Averages, quantiles and the deadlines that follow from them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.contract import Backend, Capability, Objectives, Timeouts
from weir_router.health.latency import (
    Ewma,
    PeakEwma,
    Pool,
    Recent,
    failure_cost,
    size_class,
    slow_after,
    ttft_deadline,
)


def recent(*values: float, now: float = 0.0) -> Recent:
    samples = Recent()
    for value in values:
        samples.add(now, value)
    return samples


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 0), (1_000, 0), (1_001, 1), (4_000, 1), (16_000, 2), (64_000, 3), (64_001, 4)]
)
def test_prompts_fall_into_five_sizes(tokens: int, expected: int) -> None:
    assert size_class(tokens) == expected


def test_a_peak_replaces_at_once_and_fades_to_normal() -> None:
    cost = PeakEwma()
    cost.observe(0, 0.5)
    cost.observe(0, 9)
    assert cost.read(0) == 9
    assert cost.read(10) == pytest.approx(1 + 8 * 0.3679, abs=1e-3)
    assert cost.read(1_000) == pytest.approx(1)


def test_good_news_is_averaged_in() -> None:
    cost = PeakEwma()
    cost.observe(0, 4)
    cost.observe(1, 1)
    assert 3 < cost.read(1) < 4


def test_a_backend_left_alone_does_not_look_better_than_normal() -> None:
    cost = PeakEwma()
    cost.observe(0, 0.8)
    assert cost.read(1_000) == cost.read(0)


def test_an_average_moves_with_samples_of_one_instant() -> None:
    average = Ewma()
    average.observe(0, 1)
    average.observe(0, 2)
    assert average.value is not None
    assert 1 < average.value < 1.1


def test_an_average_forgets_over_ten_seconds() -> None:
    average = Ewma()
    average.observe(0, 10)
    average.observe(30, 1)
    assert average.value == pytest.approx(1.448, abs=1e-3)
    assert average.samples == 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.sampled_from([0.05, 0.5, 0.95, 1.0]))
def test_quantiles_are_those_of_the_last_128(values: list[float], q: float) -> None:
    last = sorted(values[-128:])
    rank = max(-(-round(q * 100) * len(last) // 100), 1)
    assert recent(*values).quantile(0, q) == last[rank - 1]


def test_samples_older_than_five_minutes_are_dropped() -> None:
    samples = recent(1, 1, 1)
    samples.add(200, 5)
    assert samples.quantile(300, 0.5) == 1
    assert samples.quantile(301, 0.5) == 5
    assert samples.quantile(501, 0.5) is None


def test_a_pool_expects_its_median_once_it_has_twenty_samples() -> None:
    pool = Pool()
    for _ in range(19):
        pool.ttft[0].add(0, 0.25)
    assert pool.expected_ttft(0, 10) == 1
    pool.ttft[0].add(0, 0.25)
    assert pool.expected_ttft(0, 10) == 0.25
    assert pool.expected_ttft(0, 2_000) == 1, "another size says nothing"


@pytest.mark.parametrize(
    ("expected", "retry_after", "cost"),
    [(1, None, 5), (0.5, None, 10), (10, None, 5), (1, 30, 30), (1, 900, 300), (1, 0, 5)],
)
def test_a_failure_costs_five_seconds_or_its_retry_after(
    expected: float, retry_after: float | None, cost: float
) -> None:
    assert failure_cost(expected, retry_after, 300) == cost


MakeBackend = Callable[..., Backend]


def test_slow_is_twice_the_objective(backend: MakeBackend) -> None:
    strict = backend(objectives=Objectives(ttft=0.3))
    assert slow_after(strict, recent(*[9.0] * 50), recent(), 0, 10) == 0.6


def test_slow_is_four_times_the_tiers_median(backend: MakeBackend) -> None:
    assert slow_after(backend(), recent(*[0.5] * 20), recent(*[3.0] * 20), 0, 10) == 2


def test_slow_falls_back_to_the_backends_own_baseline(backend: MakeBackend) -> None:
    assert slow_after(backend(), recent(*[0.5] * 19), recent(*[3.0] * 5), 0, 10) == 12


def test_slow_is_never_below_a_second_by_a_median(backend: MakeBackend) -> None:
    assert slow_after(backend(), recent(*[0.02] * 20), recent(), 0, 10) == 1


def test_slow_without_samples_is_half_the_deadline_but_not_below_five_seconds(backend: MakeBackend) -> None:
    thinker = backend(capabilities=frozenset({Capability.REASONING}))
    assert slow_after(backend(), recent(), recent(*[0.5] * 4), 0, 10) == 5
    assert slow_after(backend(timeouts=Timeouts(ttft=2.0)), recent(), recent(), 0, 10) == 5
    assert slow_after(backend(timeouts=Timeouts(ttft=40.0)), recent(), recent(), 0, 10) == 20
    assert slow_after(thinker, recent(), recent(), 0, 10) == 30


def test_an_explicit_deadline_holds_whatever_was_measured(backend: MakeBackend) -> None:
    explicit = backend(timeouts=Timeouts(ttft=0.7))
    assert ttft_deadline(explicit, recent(*[5.0] * 50), 0, 10) == 0.7


@pytest.mark.parametrize(("ttft", "deadline"), [(0.1, 2), (3, 9), (20, 30)])
def test_the_deadline_is_three_times_the_p95_within_bounds(backend: MakeBackend, ttft: float, deadline: float) -> None:
    assert ttft_deadline(backend(), recent(*[ttft] * 20), 0, 10) == deadline


def test_a_cold_deadline_is_five_times_the_objective(backend: MakeBackend) -> None:
    assert ttft_deadline(backend(objectives=Objectives(ttft=0.8)), recent(*[9.0] * 19), 0, 10) == 4
    assert ttft_deadline(backend(objectives=Objectives(ttft=0.1)), recent(), 0, 10) == 2


def test_a_cold_deadline_without_objective_is_ten_seconds_but_the_cap_for_long_prompts(backend: MakeBackend) -> None:
    assert ttft_deadline(backend(), recent(), 0, 16_000) == 10
    assert ttft_deadline(backend(), recent(), 0, 16_001) == 30


def test_reasoning_models_have_a_minute(backend: MakeBackend) -> None:
    thinker = backend(capabilities=frozenset({Capability.REASONING}))
    assert ttft_deadline(thinker, recent(), 0, 10) == 60
    assert ttft_deadline(thinker, recent(*[25.0] * 20), 0, 10) == 60


def test_more_than_128_samples_push_out_the_oldest() -> None:
    assert recent(9, *[1.0] * 128).quantile(0, 1.0) == 1
