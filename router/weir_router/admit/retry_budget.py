"""A budget of the attempts beyond the first, for all requests together. Used by `call.journey`; local to the router.

One budget is shared by all policies that state none of their own.

When most backends fail, retries multiply the load on the others. The budget lets a fifth of the requests be retried,
plus one per second so that a quiet router can fail over, too. A tighter budget, like gRPC's, ran dry in simulation when
half the fleet was black-holed, and cost answers.
"""

from __future__ import annotations

from typing import NamedTuple

from weir_router.clock import Clock
from weir_router.contract import CompiledConfig, Policy
from weir_router.contract import RetryBudget as Stated

PER_REQUEST = 0.2
"""Retries earned by each request (Finagle's default share)."""
PER_SECOND = 1.0
"""Retries earned per second, without requests."""
CAP = 20.0
"""Retries that can be saved up. A new router starts with as many, since it may start in the middle of an outage."""


class Rates(NamedTuple):
    """The rates at which a budget fills."""

    per_request: float = PER_REQUEST
    per_second: float = PER_SECOND
    cap: float = CAP

    @classmethod
    def of(cls, stated: Stated) -> Rates:
        """The defaults, replaced by the stated values."""
        return cls(
            PER_REQUEST if stated.percent is None else stated.percent / 100,
            PER_SECOND if stated.per_second is None else stated.per_second,
            CAP if stated.burst is None else stated.burst,
        )


DEFAULTS = Rates()


class RetryBudget:
    """A token bucket that requests and time fill, and retries empty."""

    def __init__(self, clock: Clock, rates: Rates = DEFAULTS) -> None:
        self._clock = clock
        self.rates = rates
        self._tokens = rates.cap
        self._at = clock.monotonic()

    @property
    def tokens(self) -> float:
        """Retries that could be taken now, 0 to the cap."""
        now = self._clock.monotonic()
        self._tokens = min(self.rates.cap, self._tokens + (now - self._at) * self.rates.per_second)
        self._at = now
        return self._tokens

    def request(self) -> None:
        """A request has come in; call it once per request, not per attempt."""
        self._tokens = min(self.rates.cap, self.tokens + self.rates.per_request)

    def take(self) -> bool:
        """Spends one retry; returns whether the budget had one."""
        if self.tokens < 1:
            return False
        self._tokens -= 1
        return True


class RetryBudgets:
    """Every budget of this router."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shared = RetryBudget(clock)
        self._own: dict[str, RetryBudget] = {}

    def configure(self, config: CompiledConfig) -> None:
        """Takes a new config. A budget whose policy states the same rates as before keeps its retries."""
        old, self._own = self._own, {}
        for policy in config.policies:
            if (stated := policy.failover.retry_budget) is not None:
                rates, known = Rates.of(stated), old.get(policy.key)
                same = known is not None and known.rates == rates
                self._own[policy.key] = known if known is not None and same else RetryBudget(self._clock, rates)

    def of(self, policy: Policy) -> RetryBudget:
        """The policy's own budget, or the shared one."""
        return self._own.get(policy.key, self._shared) if self._own else self._shared
