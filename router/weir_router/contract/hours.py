"""Windows of local time, as `when.times` has them: whether a moment is within one, and when the next one begins. Pure.

A window is compared with what a clock on the wall of its time zone shows. So where clocks are put forward, the hour
that they skip is in no window. Where they are put back, a window that names the repeated hour holds for both.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from weir_router.contract.config import CompiledConfig
from weir_router.contract.policy import DAYS, TimeWindow

DAY_MINUTES = 24 * 60
LOOK_AHEAD = 15
"""Days in which the next beginning is looked for: each day of the week twice, since clocks may skip the first."""


@cache
def zone_of(name: str) -> ZoneInfo | None:
    """The time zone of this name; None: the zone data does not have it. Its file is read once per process.

    The operator refuses unknown names. An older router may know fewer, and then the window never holds.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # of these, `KeyError` means that there is none
        return None


def load_zones(config: CompiledConfig) -> None:
    """Reads the zone files that a config needs, so that no request waits for one."""
    for policy in config.policies:
        for route in policy.routes:
            for window in route.when.times:
                zone_of(window.zone)


def holds(window: TimeWindow, wall: float) -> bool:
    """Whether the moment `wall`, in seconds since the epoch, is within the window."""
    zone = zone_of(window.zone)
    if zone is None:
        return False
    local = datetime.fromtimestamp(wall, zone)
    minute, day = local.hour * 60 + local.minute, local.weekday()
    if window.start < window.end:
        return window.start <= minute < window.end and _on(window, day)
    # Across midnight: the window belongs to the day on which it begins.
    return (minute >= window.start and _on(window, day)) or (minute < window.end and _on(window, day - 1))


def next_in(window: TimeWindow, wall: float) -> float:
    """The first moment from `wall` on that is within the window; `wall` itself where its zone is unknown."""
    zone = zone_of(window.zone)
    if zone is None or holds(window, wall):
        return wall
    midnight = datetime.fromtimestamp(wall, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    for days in range(LOOK_AHEAD):
        begins = (midnight + timedelta(days=days, minutes=window.start)).timestamp()
        if begins > wall and holds(window, begins):
            return begins
    return wall


def covers(wide: TimeWindow, narrow: TimeWindow) -> bool:
    """Whether `wide` holds wherever `narrow` does. False if that cannot be decided."""
    within = wide.start <= narrow.start and _end(narrow) <= _end(wide)
    return wide.zone == narrow.zone and within and (not wide.days or (bool(narrow.days) and narrow.days <= wide.days))


def told(window: TimeWindow) -> str:
    """The window for people: `Monday, Friday 22:00-06:00 Europe/Berlin`."""
    days = ", ".join([day for day in DAYS if day in window.days])
    return f"{days or 'every day'} {_clock(window.start)}-{_clock(window.end)} {window.zone}"


def told_now(window: TimeWindow, wall: float) -> str:
    """The moment in the window's zone for people: `Sunday 14:05`."""
    local = datetime.fromtimestamp(wall, zone_of(window.zone) or UTC)
    return f"{DAYS[local.weekday()]} {local:%H:%M}"


def _on(window: TimeWindow, day: int) -> bool:
    return not window.days or DAYS[day] in window.days


def _end(window: TimeWindow) -> int:
    return window.end if window.start < window.end else window.end + DAY_MINUTES


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
