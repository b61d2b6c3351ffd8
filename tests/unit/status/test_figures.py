"""Figures in a status: two digits, and no news below 10 %."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_operator.status.changes import QUIET_SECONDS, write_at
from weir_operator.status.figures import figure

AMOUNTS = st.floats(min_value=-1e9, max_value=1e9).filter(lambda it: it == 0 or abs(it) > 1e-6)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.1534, "0.15"), (1234, "1200"), (0.999, "1.0"), (12, "12"), (-0.05, "-0.050"), (1e-5, "0.000010")],
)
def test_a_figure_has_two_digits(value: float, text: str):
    assert figure(value) == text


@pytest.mark.parametrize(
    ("before", "value", "text"),
    [("100", 109.9, "100"), ("100", 90.1, "100"), ("100", 110.0, "110"), ("100", 89.9, "90"), ("0", 0.001, "0.0010")],
)
def test_a_figure_stays_while_its_value_is_near(before: str, value: float, text: str):
    assert figure(value, before) == text


@pytest.mark.parametrize("before", [None, "", "many", "1e9999", "nan", 100, ["100"], "9" * 400])
def test_anything_may_stand_in_the_status_before(before: object):
    assert figure(100.0, before) == "100"


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_value_that_is_no_number_is_refused(value: float):
    with pytest.raises(ValueError, match="leave the field out"):
        figure(value)


@given(AMOUNTS, st.lists(AMOUNTS, max_size=20))
def test_a_figure_is_never_far_from_its_value(first: float, others: list[float]):
    shown = figure(first)
    for value in others:
        shown = figure(value, shown)
        assert abs(float(shown) - value) <= 0.12 * max(abs(float(shown)), abs(value))


@given(AMOUNTS)
def test_a_figure_is_the_figure_of_itself(value: float):
    assert figure(float(figure(value)), figure(value)) == figure(value)


def test_a_status_that_differs_in_figures_is_written_once_a_minute():
    assert write_at({"left": "100"}, {"left": "90"}, written=1000.0) == 1000.0 + QUIET_SECONDS
    assert write_at({"left": "100"}, {"left": "100"}, written=1000.0) is None
