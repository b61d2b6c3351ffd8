"""The seconds that an upstream asks callers to wait, from an error answer's headers. Used by `failures`.

No clock is read: a moment is compared with the answer's own Date header, and ignored without one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")
_UNITS = (3600.0, 60.0, 1.0, 0.001)


def seconds(headers: Mapping[str, str], *, limited: bool) -> float | None:
    """Reads `retry-after-ms`, then `retry-after`; for a rate limit (`limited`) also OpenAI's reset of a budget."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if value:
        given = _number(value)
        return _until(value, headers.get("date")) if given is None else given
    return _longest_reset(headers) if limited else None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _until(moment: str, now: str | None) -> float | None:
    try:
        # Without a zone ("-0000") the two cannot be compared; the standard says GMT.
        start, end = (_in_utc(parsedate_to_datetime(text)) for text in (now or "", moment))
    except (ValueError, OverflowError):
        return None
    return max((end - start).total_seconds(), 0.0)


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _longest_reset(headers: Mapping[str, str]) -> float | None:
    """The longest `x-ratelimit-reset-*` ("6m0s", "120ms") of all used-up budgets."""
    resets = [
        _duration(headers.get(f"x-ratelimit-reset-{budget}", ""))
        for budget in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{budget}") == "0"
    ]
    return max((reset for reset in resets if reset is not None), default=None)


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        return None
    try:
        return sum(float(amount) * unit for amount, unit in zip(match.groups(), _UNITS, strict=True) if amount)
    except ValueError:  # "1.2.3s"
        return None
