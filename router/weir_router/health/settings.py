"""The settings of a breaker, and the defaults with their reasons. Read by `health.breaker`."""

from __future__ import annotations

from typing import NamedTuple

from weir_router.contract import BreakerKnobs

CONSECUTIVE = 5
"""Hard failures in a row that open the breaker (Envoy's `consecutive_5xx`, linkerd)."""
RATIO = 0.5
"""Share of bad outcomes that opens the breaker: resilience4j's default, and low enough for a pool of two."""
RATIO_MINIMUM = 10
"""Outcomes in the window before the ratio is believed."""
OPEN_FIRST, OPEN_LAST = 5.0, 8.0
"""Seconds for which it is open first and at most; doubled with each failed probe. Short, since a probe costs one
failover at most, and a backend that is back after a long outage must get its probe within ten seconds."""
RETRY_AFTER_CAP = 300.0
"""Seconds of the longest Retry-After that is followed; an upstream that asks for more is probed anyway (linkerd)."""
PROBES_TO_CLOSE = 3
"""Clean completed streams that close a half-open breaker."""
SLOW_START = 10.0
"""Seconds in which a backend that has returned reaches its whole share: long enough for the window to judge it."""


class Settings(NamedTuple):
    """The settings of one breaker, which a `ModelTier` may change; times in seconds."""

    consecutive: int = CONSECUTIVE
    ratio: float = RATIO
    minimum: int = RATIO_MINIMUM
    open_first: float = OPEN_FIRST
    open_last: float = OPEN_LAST
    retry_after_cap: float = RETRY_AFTER_CAP
    probes: int = PROBES_TO_CLOSE
    slow_start: float = SLOW_START

    @classmethod
    def of(cls, knobs: BreakerKnobs) -> Settings:
        """The defaults, replaced by the values in `knobs`. One of the two periods alone moves the other if needed."""
        first, last = knobs.open_for, knobs.max_open_for
        return cls(
            knobs.consecutive_failures or CONSECUTIVE,
            RATIO if knobs.failure_percent is None else knobs.failure_percent / 100,
            knobs.minimum_requests or RATIO_MINIMUM,
            min(OPEN_FIRST, last or OPEN_FIRST) if first is None else first,
            max(OPEN_LAST, first or OPEN_LAST) if last is None else last,
            RETRY_AFTER_CAP if knobs.max_retry_after is None else knobs.max_retry_after,
            knobs.probes or PROBES_TO_CLOSE,
            SLOW_START if knobs.slow_start is None else knobs.slow_start,
        )


DEFAULTS = Settings()
