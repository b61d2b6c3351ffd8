"""Windows of local time: across midnight, and where clocks are changed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_router.contract import CompiledConfig, Day, Policy, Route, TimeWindow, When, hours

BERLIN = "Europe/Berlin"
FRIDAY = frozenset({Day.FRIDAY})
OFFICE = TimeWindow(BERLIN, frozenset(hours.DAYS[:5]), 9 * 60, 17 * 60)
NIGHT = TimeWindow(BERLIN, FRIDAY, 22 * 60, 6 * 60)
TWO_TO_THREE = TimeWindow(BERLIN, start=2 * 60, end=3 * 60)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("window", "moment", "expected"),
    [
        (OFFICE, "2026-12-04T09:00:00+01:00", True),
        (OFFICE, "2026-12-04T08:59:59+01:00", False),
        (OFFICE, "2026-12-04T17:00:00+01:00", False),
        (OFFICE, "2026-12-05T10:00:00+01:00", False),
        (OFFICE, "2026-07-03T07:00:00+00:00", True),
        (NIGHT, "2026-12-04T22:00:00+01:00", True),
        (NIGHT, "2026-12-05T05:59:59+01:00", True),
        (NIGHT, "2026-12-05T06:00:00+01:00", False),
        (NIGHT, "2026-12-04T05:00:00+01:00", False),
        (NIGHT, "2026-12-05T22:00:00+01:00", False),
        (TimeWindow("UTC"), "2026-12-05T22:00:00+01:00", True),
        (TimeWindow("UTC", frozenset({Day.SUNDAY}), 0, 1440), "2026-12-06T23:59:59+00:00", True),
        (TimeWindow("UTC", frozenset({Day.SUNDAY}), 1380, 60), "2026-12-07T00:30:00+00:00", True),
    ],
)
def test_a_window_holds_by_the_clock_of_its_zone(window: TimeWindow, moment: str, expected: bool) -> None:
    assert hours.holds(window, at(moment)) is expected


def minutes_of(window: TimeWindow, day: str) -> int:
    """Minutes in which the window holds, of the 24 hours from 23:00 UTC of the day before."""
    start = at(f"{day}T00:00:00+00:00") - 3600
    return sum(hours.holds(window, start + 60 * minute) for minute in range(24 * 60))


@pytest.mark.parametrize(("day", "minutes"), [("2026-06-14", 60), ("2026-03-29", 0), ("2026-10-25", 120)])
def test_a_skipped_hour_is_in_no_window_and_a_repeated_one_is_in_it_twice(day: str, minutes: int) -> None:
    assert minutes_of(TWO_TO_THREE, day) == minutes


@pytest.mark.parametrize(
    ("window", "wall", "begins"),
    [
        (NIGHT, "2026-12-05T12:00:00+01:00", "2026-12-11T22:00:00+01:00"),
        (NIGHT, "2026-12-11T23:00:00+01:00", "2026-12-11T23:00:00+01:00"),
        (TWO_TO_THREE, "2026-03-28T12:00:00+01:00", "2026-03-30T02:00:00+02:00"),
        (TWO_TO_THREE, "2026-10-24T12:00:00+02:00", "2026-10-25T02:00:00+02:00"),
    ],
)
def test_the_next_moment_in_a_window(window: TimeWindow, wall: str, begins: str) -> None:
    assert hours.next_in(window, at(wall)) == at(begins)


WINDOWS = st.builds(
    TimeWindow,
    zone=st.sampled_from(["UTC", BERLIN, "America/St_Johns"]),
    days=st.frozensets(st.sampled_from(Day)),
    start=st.integers(0, 1439),
    end=st.integers(0, 1440),
).filter(lambda it: it.start != it.end)
MOMENTS = st.floats(at("2026-01-01T00:00:00+00:00"), at("2028-01-01T00:00:00+00:00"))


@given(WINDOWS, WINDOWS, MOMENTS)
def test_a_window_that_covers_another_holds_wherever_that_does(
    wide: TimeWindow, narrow: TimeWindow, wall: float
) -> None:
    if hours.covers(wide, narrow) and hours.holds(narrow, wall):
        assert hours.holds(wide, wall)


@given(WINDOWS)
def test_a_window_covers_itself(window: TimeWindow) -> None:
    assert hours.covers(window, window)


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "../etc/passwd", "", "Europe"])
def test_a_window_of_an_unknown_zone_never_holds(zone: str) -> None:
    window = TimeWindow(zone)
    assert not hours.holds(window, 0.0)
    assert hours.next_in(window, 5.0) == 5.0
    assert hours.told_now(window, 0.0) == "Thursday 00:00"


def test_zone_files_are_read_with_the_config_and_not_by_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    hours.zone_of.cache_clear()
    route = Route(name="r", tiers=(), when=When(times=(OFFICE, TWO_TO_THREE)))
    policy = Policy(namespace="n", name="p", models=("m",), callers=(), routes=(route,))
    hours.load_zones(CompiledConfig(policies=(policy,)))
    monkeypatch.setattr(hours, "ZoneInfo", None)
    assert hours.holds(OFFICE, at("2026-12-04T09:00:00+01:00"))


def test_the_zones_of_python_alone_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image's base may have no zone data: then `tzdata` has it."""
    import tzdata

    found = Path(tzdata.__file__).parent / "zoneinfo" / "Europe" / "Berlin"
    with found.open("rb") as file:
        assert ZoneInfo.from_file(file, BERLIN).utcoffset(datetime(2026, 7, 1)) is not None
