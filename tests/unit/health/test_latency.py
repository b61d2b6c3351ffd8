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
    Silence,
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
    assert ttft_deadline(explicit, recent(*[5.0] * 50), recent(), 0, 10) == 0.7


@pytest.mark.parametrize(("ttft", "deadline"), [(0.1, 2), (3, 9), (20, 30)])
def test_the_deadline_is_three_times_the_p95_within_bounds(backend: MakeBackend, ttft: float, deadline: float) -> None:
    assert ttft_deadline(backend(), recent(*[ttft] * 20), recent(), 0, 10) == deadline


def test_a_cold_deadline_is_five_times_the_objective(backend: MakeBackend) -> None:
    assert ttft_deadline(backend(objectives=Objectives(ttft=0.8)), recent(*[9.0] * 19), recent(), 0, 10) == 4
    assert ttft_deadline(backend(objectives=Objectives(ttft=0.1)), recent(), recent(), 0, 10) == 2


def test_a_cold_deadline_without_objective_is_ten_seconds_but_the_cap_for_long_prompts(backend: MakeBackend) -> None:
    assert ttft_deadline(backend(), recent(), recent(), 0, 16_000) == 10
    assert ttft_deadline(backend(), recent(), recent(), 0, 16_001) == 30


def test_reasoning_models_have_a_minute(backend: MakeBackend) -> None:
    thinker = backend(capabilities=frozenset({Capability.REASONING}))
    assert ttft_deadline(thinker, recent(), recent(), 0, 10) == 60
    assert ttft_deadline(thinker, recent(*[25.0] * 20), recent(), 0, 10) == 60


def test_more_than_128_samples_push_out_the_oldest() -> None:
    assert recent(9, *[1.0] * 128).quantile(0, 1.0) == 1


DUE, COST = 1.0, 10.0


def asked(*moments: float) -> Silence:
    """Attempts 1, 2, ... that began to wait at these moments."""
    silence = Silence()
    for number, moment in enumerate(moments, 1):
        silence.asked(number, moment + DUE, COST)
    return silence


def test_a_backend_that_was_asked_nothing_is_not_quiet() -> None:
    assert Silence().cost(1e9) == 0


def test_a_backend_is_quiet_once_the_first_that_waits_is_due_and_costs_what_a_failure_does() -> None:
    silence = asked(0.0, 0.5)
    assert [silence.cost(moment) for moment in (0.9, 1.0, 9.0)] == [0, COST, COST]


def test_content_of_a_later_attempt_ends_the_silence_of_an_earlier_one() -> None:
    silence = asked(0.0, 0.5)
    silence.answered(2)
    assert (silence.cost(9.0), silence.waiting) == (0, 1)


def test_after_content_the_latest_is_watched() -> None:
    silence = asked(0.0, 0.5, 0.8)
    silence.answered(1)
    assert [silence.cost(moment) for moment in (1.7, 1.8)] == [0, COST]


def test_content_of_what_was_asked_before_the_silence_says_nothing_about_it() -> None:
    silence = asked(0.0, 0.5, 0.8)
    silence.answered(2)
    silence.answered(1)
    assert silence.cost(1.8) == COST


def test_what_was_overtaken_ends_without_a_word() -> None:
    silence = asked(0.0, 0.5)
    silence.answered(2)
    silence.answered(1)
    silence.asked(3, 5.0, COST)
    assert [silence.cost(moment) for moment in (4.9, 5.0)] == [0, COST]


def test_a_short_prompt_is_watched_before_a_long_one_that_may_take_longer() -> None:
    silence = Silence()
    silence.asked(1, 20.0, COST)
    silence.asked(2, 3.0, COST)
    silence.answered(1)
    assert silence.cost(3.0) == COST


def test_giving_up_does_not_hide_a_silence_that_others_still_wait_in() -> None:
    silence = asked(0.0, 0.5)
    silence.gone()
    assert silence.cost(1.0) == COST
    silence.gone()
    assert silence.cost(1.0) == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["asked", "answered", "gone"]), st.integers(0, 9), st.integers(0, 5))))
def test_silence_is_what_it_says_and_ends_with_the_last_that_waits(steps: list[tuple[str, int, int]]) -> None:
    """Quiet only if an attempt waits and none since one that is due has brought content; and surely, if nothing
    came at all since one that is due and still waits."""
    silence, now, number = Silence(), 0.0, 0
    due: dict[int, float] = {}
    waiting: dict[int, bool] = {}  # whether content of any has come since it was asked
    answered = 0
    for action, which, patience in steps:
        now += 1
        if action == "asked":
            number += 1
            due[number] = now + patience
            waiting[number] = False
            silence.asked(number, due[number], COST)
        elif waiting:
            one = sorted(waiting)[which % len(waiting)]
            del waiting[one]
            if action == "answered":
                answered = max(answered, one)
                waiting = dict.fromkeys(waiting, True)
                silence.answered(one)
            else:
                silence.gone()
        quiet = silence.cost(now) > 0
        assert silence.waiting == len(waiting)
        assert not quiet or (waiting and any(at <= now for it, at in due.items() if it > answered))
        assert quiet or not any(due[it] <= now and not heard for it, heard in waiting.items())
    for _ in range(silence.waiting):
        silence.gone()
    assert (silence.waiting, silence.cost(1e9)) == (0, 0)


def test_the_last_sample_is_taken_back_and_no_earlier_one() -> None:
    cost = PeakEwma()
    cost.observe(0, 0.5)
    before = cost.state
    cost.observe(5, 9)
    cost.restore(before, 5)
    assert cost.state == before
    cost.observe(6, 9)
    cost.observe(7, 9)
    cost.restore(before, 6)
    assert cost.read(7) == 9


@pytest.mark.parametrize(("own", "deadline"), [([10.0] * 4, 10), ([10.0] * 5, 30), ([4.0] * 5, 12), ([1.0] * 5, 10)])
def test_a_backend_that_is_always_slow_gets_the_time_that_it_takes(
    backend: MakeBackend, own: list[float], deadline: float
) -> None:
    assert ttft_deadline(backend(), recent(), recent(*own), 0, 10) == deadline
