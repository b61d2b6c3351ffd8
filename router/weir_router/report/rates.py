"""Output tokens per second of a backend, all answers together: its present throughput. Used by `report.report`.

The rates are computed from the counters when they are read, so that a request pays nothing for them. An answer counts
when it ends.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from weir_router.clock import Clock
from weir_router.record.metrics import Metrics

MEMORY_SECONDS = 15.0
"""Seconds in which an old rate fades to a third: answers take seconds, and each counts at its end."""

LEAST_RATE = 0.05
"""Tokens per second below which a rate counts as 0, so that it does not fade for ever."""

LEAST_SECONDS = 5.0
"""Seconds between two samples: there may be thousands of counters, and the average hardly moves meanwhile."""


class Rates:
    """Averages that fade."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._at = clock.monotonic()
        self._counted = self._counts()
        self._rates: dict[str, float] = {}

    @property
    def whole(self) -> float:
        """The rate of all backends together."""
        return round(sum(self._rates.values()), 1)

    @property
    def of_backends(self) -> Mapping[str, float]:
        """The rates of active backends, by "namespace/tier/backend"."""
        return self._rates

    def sample(self) -> None:
        """Adds the tokens counted since the last sample."""
        now = self._clock.monotonic()
        seconds = now - self._at
        if seconds < LEAST_SECONDS:
            return
        counted = self._counts()
        share = 1.0 - math.exp(-seconds / MEMORY_SECONDS)
        rates = {key: (1.0 - share) * rate for key, rate in self._rates.items()}
        for key, count in counted.items():
            rates[key] = rates.get(key, 0.0) + share * (count - self._counted[key]) / seconds
        self._rates = {key: rate for key, rate in rates.items() if rate >= LEAST_RATE}
        self._at, self._counted = now, counted

    def _counts(self) -> Counter[str]:
        counts = Counter[str]()
        for (_, _, _, tier, backend, _, kind), number in self._metrics.tokens:
            if kind == "output":
                counts[f"{tier}/{backend}"] += int(number.value)
        return counts
