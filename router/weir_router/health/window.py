"""Exact counts of the outcomes of attempts over the last ten seconds. Used by `health.breaker` alone.

Counts in buckets rather than an average weighted by time: an average hides a tight burst of failures.
"""

from __future__ import annotations

from enum import IntEnum

from weir_router.clock import Clock

BUCKETS = 10
"""Buckets of one second each: an outcome is forgotten after 9 to 10 s (linkerd's ratio window)."""
BUCKET_SECONDS = 1.0


class Outcome(IntEnum):
    """The outcome of an attempt. A good one counts as `CONTENT` and later as `COMPLETED`."""

    CONTENT = 0  # first content in time
    COMPLETED = 1
    BAD = 2  # failed or slow before any content
    BROKEN = 3  # failed or slow after it


class Window:
    """A ring of buckets that forgets as time passes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.tick = 0  # the second of the latest outcome
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._buckets = [[0] * len(Outcome) for _ in range(BUCKETS)]

    def add(self, outcome: Outcome) -> int:
        """Counts one outcome, now. Returns the second in which it counts."""
        self._bucket()[outcome] += 1
        return self.tick

    def remove(self, outcome: Outcome, second: int) -> None:
        """Takes back an outcome that was counted in this second."""
        self._bucket()
        if self.tick - second < BUCKETS:
            self._buckets[second % BUCKETS][outcome] -= 1

    def counts(self) -> tuple[int, int]:
        """`(total, bad)` of the window that ends now.

        An attempt counts as good while it gives content and has not broken, though its stream may go on: failures are
        known in milliseconds and completions after many seconds, so counting completions alone would overrate a few
        quick failures. In a steady state both ways of counting give the same.
        """
        self._bucket()
        content, completed, bad, broken = (sum(counts) for counts in zip(*self._buckets, strict=True))
        return bad + broken + max(completed, content - broken), bad + broken

    def _bucket(self) -> list[int]:
        """The current bucket, after emptying outdated ones."""
        tick = int(self._clock.monotonic() / BUCKET_SECONDS)
        for passed in range(min(tick - self.tick, BUCKETS)):
            self._buckets[(tick - passed) % BUCKETS] = [0] * len(Outcome)
        self.tick = tick
        return self._buckets[tick % BUCKETS]
