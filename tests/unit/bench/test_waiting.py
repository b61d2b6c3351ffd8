"""The delay of a queue alone, as the benchmark computes it."""

from __future__ import annotations

import pytest
from bench.waiting import queue


def test_where_nobody_waits_it_is_the_work():
    assert queue(rate=10.0, share=0.001, upstream=0.0) == pytest.approx((0.0001, 0.0001), rel=0.01)


def test_what_is_waited_elsewhere_is_not_added():
    assert queue(rate=10.0, share=0.001, upstream=0.02) == pytest.approx((0.0001, 0.0001), rel=0.01)


def test_it_grows_faster_than_its_share():
    half, most = (queue(rate=1000.0, share=it, upstream=0.0001) for it in (0.4, 0.8))
    assert most[0] > 3 * half[0]
    assert most[1] > 3 * half[1]


def test_times_go_by_the_work_of_a_request():
    """A tenth of the rate at the same load means ten times the work, and ten times the time, for each request."""
    fast, slow = queue(1000.0, 0.7, 0.0001), queue(100.0, 0.7, 0.001)
    assert slow == pytest.approx((10 * fast[0], 10 * fast[1]), rel=0.15)
