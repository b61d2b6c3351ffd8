"""All randomness of a decision comes from one number, and is evenly distributed."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from weir_router.decide.draws import Draws

RUNS = 20_000


@pytest.fixture(scope="module")
def many() -> list[Draws]:
    """Draws as routers make them: each from another number."""
    source = random.Random(1)
    return [Draws(source.random()) for _ in range(RUNS)]


def fits(counts: Counter[object], kinds: int) -> bool:
    """Whether all kinds came equally often, by a chi-square test with five standard deviations."""
    expected = counts.total() / kinds
    found = sum((count - expected) ** 2 / expected for count in counts.values())
    return len(counts) == kinds and abs(found - (kinds - 1)) < 5 * math.sqrt(2 * (kinds - 1))


def test_the_same_draw_gives_the_same_numbers() -> None:
    one, other = Draws(0.25), Draws(0.25)
    assert [one.random() for _ in range(9)] == [other.random() for _ in range(9)]
    assert [Draws(0.0).random(), Draws(0.25).random()] == [0.2408946247305721, 0.13575133867561817]


@pytest.mark.parametrize("number", range(4))
def test_the_first_numbers_are_spread_evenly(number: int) -> None:
    source = random.Random(2)
    found: Counter[object] = Counter()
    for _ in range(RUNS):
        draws = Draws(source.random())
        for _ in range(number):
            draws.random()
        value = draws.random()
        assert 0 <= value < 1
        found[int(value * 50)] += 1
    assert fits(found, 50)


def test_numbers_of_one_decision_do_not_follow_each_other() -> None:
    source = random.Random(3)
    found: Counter[object] = Counter()
    for _ in range(RUNS):
        draws = Draws(source.random())
        found[int(draws.random() * 7), int(draws.random() * 7)] += 1
    assert fits(found, 49)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_all_pairs_are_alike_likely(many: list[Draws], size: int) -> None:
    found: Counter[object] = Counter()
    for draws in many:
        one, other = draws.pair(size)
        assert one != other
        found[one, other] += 1
    assert fits(found, size * (size - 1))


@pytest.mark.parametrize("rate", [1, 4])
def test_arrivals_are_exponential(many: list[Draws], rate: int) -> None:
    found = [draws.exponential(rate) for draws in many]
    assert sum(found) / RUNS == pytest.approx(1 / rate, rel=0.05)
    assert sum(it > 1 / rate for it in found) / RUNS == pytest.approx(math.exp(-1), abs=0.02)


def test_draws_close_together_are_no_more_alike_than_others() -> None:
    """A draw has 53 bits, and the last ones count, too."""
    firsts = {Draws(number * 2.0**-53).random() for number in range(RUNS)}
    assert len(firsts) > RUNS * 0.99
