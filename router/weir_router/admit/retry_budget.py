"""How many attempts beyond the first all requests together may make. Used by `call.failover`; local to the router.

When everything is sick, retries multiply the load on what is left. The budget lets a fifth of the traffic be retried,
plus one a second so that a quiet router can fail over too. A tighter budget, like gRPC's, ran dry in simulation when
half the fleet was black-holed, and cost answers.
"""

from __future__ import annotations

from weir_router.clock import Clock

PER_REQUEST = 0.2
"""Retries earned by each request (Finagle's default share)."""
PER_SECOND = 1.0
"""Retries earned by time alone."""
CAP = 20.0
"""Retries that can be saved up; also what a fresh router starts with, since it may start in the middle of an outage."""


class RetryBudget:
    """A token bucket that requests and time fill, and retries empty."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens = CAP
        self._at = clock.monotonic()

    @property
    def tokens(self) -> float:
        """Retries that could be taken now, 0 to `CAP`."""
        now = self._clock.monotonic()
        self._tokens = min(CAP, self._tokens + (now - self._at) * PER_SECOND)
        self._at = now
        return self._tokens

    def request(self) -> None:
        """A request has come in; call it once per request, not per attempt."""
        self._tokens = min(CAP, self.tokens + PER_REQUEST)

    def take(self) -> bool:
        """Whether one more attempt is within the budget; if so it is spent."""
        if self.tokens < 1:
            return False
        self._tokens -= 1
        return True
