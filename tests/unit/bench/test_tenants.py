"""The bounds of honest callers beside hostile neighbours."""

import msgspec
import pytest
from bench.tenants import LIMIT, Half, broken

CALM = Half(answers=100, failed=0, plain_p99=10.0, stream_p99=12.0, turn_cpu=5.0, turn_wall=6.0, peak=60)


def test_a_router_that_keeps_its_bounds_is_not_complained_of():
    busy = msgspec.structs.replace(CALM, plain_p99=200.0, stream_p99=240.0, turn_cpu=49.0, turn_wall=300.0, peak=400)
    assert broken(CALM, busy) == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("failed", 1, "1 honest requests failed"),
        ("answers", 0, "0 were served"),
        ("plain_p99", 251.0, "plain requests was 251 ms"),
        ("stream_p99", 251.0, "streamed requests was 251 ms"),
        ("turn_cpu", 51.0, "computed for 51 ms"),
        ("peak", LIMIT, f"held {LIMIT} MiB"),
    ],
)
def test_each_bound_is_named_when_it_does_not_hold(field, value, words):
    (line,) = broken(CALM, msgspec.structs.replace(CALM, **{field: value}))
    assert words in line


def test_a_machine_that_is_slow_for_honest_neighbours_too_is_not_complained_of():
    slow = msgspec.structs.replace(CALM, plain_p99=100.0)
    assert broken(slow, msgspec.structs.replace(slow, plain_p99=299.0)) == []
