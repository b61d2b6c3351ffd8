"""The benchmark's table of a router's life."""

from __future__ import annotations

import pytest
from bench import life, streams


@pytest.mark.parametrize(
    ("share", "load", "most"),
    [(0.4, 0.3, 2000), (0.4, 0.6, 1500)],
    ids=["the router's core is what ends it", "load and models are what ends it"],
)
def test_as_many_streams_as_either_core_carries(share: float, load: float, most: int):
    carried = streams.Carried(1000, share, load, late=0, stolen=0, failed=0, times={})
    assert carried.carriable == pytest.approx(most, abs=1)


def test_only_what_was_measured_has_a_row():
    table = life.table({"weir": {"start_s": 0.5}, "weir, compiled": {"start_s": 0.4, "idle_mb": 47.0}})
    assert [list(column.cells) for column in table.columns] == [
        [life.ROWS["start_s"], life.ROWS["idle_mb"]],
        ["0.50", "–"],
        ["0.40", "47"],
    ]
