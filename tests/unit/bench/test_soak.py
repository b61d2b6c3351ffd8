"""Steady memory in the soak test."""

import pytest
from bench.soak import WARM, Round, drifts


def rounds(*megabytes):
    counts = {"requests": 1, "not_ok": 0, "honest": 1, "honest_failed": 0}
    return [Round(**counts, seconds=1.0, resident=round(it * 1e6)) for it in megabytes]


def test_what_fills_while_it_is_warming_up_does_not_count():
    assert drifts(rounds(50, 60, 70, *[80] * 6)) == 0.0


def test_growth_is_told_as_a_share():
    assert drifts(rounds(*[80] * WARM, 80, 80, 80, 82, 84, 84, 84)) == pytest.approx(0.05)


def test_one_round_that_sticks_out_is_no_growth():
    assert drifts(rounds(*[80] * WARM, 80, 80, 80, 80, 99, 80)) == 0.0
