"""Output tokens per second of a backend, all answers together: its present throughput. Used by `report.report`.

Taken from the counters whenever somebody looks, so a request pays nothing for it. An answer is counted when it ends.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from weir_router.clock import Clock
from weir_router.record.metrics import Metrics

MEMORY_SECONDS = 15.0
"""After which what was has faded to a third: answers take seconds, and each is counted at its end."""

LEAST_RATE = 0.05
"""Tokens per second below which nothing flows any more, instead of less and less for ever."""

LEAST_SECONDS = 5.0
"""Between two samples: there may be thousands of counters, and the average hardly moves meanwhile."""


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
        """Of all backends."""
        return round(sum(self._rates.values()), 1)

    @property
    def of_backends(self) -> Mapping[str, float]:
        """By "namespace/tier/backend", where anything flows."""
        return self._rates

    def sample(self) -> None:
        """Takes in what was counted since the last one."""
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
