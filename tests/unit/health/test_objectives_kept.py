"""When a backend misses its objectives, and when it keeps them again."""

from __future__ import annotations

import pytest

from weir_router.contract import Objectives
from weir_router.health.objectives import misses

BOTH = Objectives(ttft=1.0, tokens_per_second=33.0)


@pytest.mark.parametrize(
    ("missing", "ttft", "speed", "verdict"),
    [
        (False, None, None, False),
        (False, 1.05, None, False),  # within the band: stays as it was
        (True, 1.05, None, True),
        (False, 1.11, None, True),
        (True, 1.0, None, False),
        (False, None, 31.0, False),
        (True, None, 31.0, True),
        (False, None, 29.0, True),
        (True, 0.5, 33.0, False),
    ],
)
def test_verdicts_change_only_outside_the_band(
    missing: bool, ttft: float | None, speed: float | None, verdict: bool
) -> None:
    assert misses(missing, BOTH, ttft, speed) is verdict


def test_without_objectives_nothing_is_missed() -> None:
    assert not misses(True, Objectives(), 99.0, 0.1)
