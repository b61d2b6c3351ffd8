"""A budget of the attempts beyond the first, for all requests together. Used by `call.journey`; local to the router.

One budget is shared by all policies that state none of their own, and each by the namespaces of its callers. The
retries missing to the cap are owed by the namespaces that took them; new ones repay all of them in proportion. A
namespace may owe at most `SHARE` for each retry that is left beyond a reserve. So one namespace whose requests all fail
leaves some for the others, and all together never get more than the budget earns.

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
SHARE = 3.0
"""Retries that a namespace may owe for each that is left beyond `RESERVE`. Of 20 it takes 14 at once, two take 8 each.
"""
RESERVE = 2.0
"""Retries that are left to namespaces that owe little: one for such a namespace while another takes one."""
LITTLE = 0.1
"""Retries that count as little: of the last one nearly all is repaid. So even beside seven namespaces whose requests
all fail, another one always has a retry; beside more it often has."""
LEAST_SCALE = 1e-6
"""Scale of debts below which all are written anew. Their sum is below the cap, so debts that are much smaller than this
share of it are forgotten then."""


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

    def __init__(self, clock: Clock, rates: Rates = DEFAULTS, *, divided: bool = True) -> None:
        """`divided`: callers of several namespaces share it, so none may take all of it."""
        self._clock = clock
        self.divided = divided
        self.rates = rates
        self._tokens = rates.cap
        self._at = clock.monotonic()
        self._debts: dict[str, float] = {}  # by namespace, as multiples of the scale
        self._scale = 1.0

    @property
    def tokens(self) -> float:
        """Retries that could be taken now, 0 to the cap."""
        now = self._clock.monotonic()
        self._earn((now - self._at) * self.rates.per_second)
        self._at = now
        return self._tokens

    def request(self) -> None:
        """A request has come in; call it once per request, not per attempt."""
        self._earn(self.rates.per_request)

    def has(self, namespace: str) -> bool:
        """Whether a caller of `namespace` may take a retry now."""
        tokens = self.tokens
        if tokens < 1 or not self.divided:
            return tokens >= 1
        owed = self._debts.get(namespace, 0.0) * self._scale
        return owed < LITTLE or owed < SHARE * (tokens - RESERVE)

    def take(self, namespace: str) -> bool:
        """Spends one retry for a caller of `namespace`; returns whether there was one for it."""
        if not self.has(namespace):
            return False
        self._tokens -= 1
        if self.divided:
            self._debts[namespace] = self._debts.get(namespace, 0.0) + 1 / self._scale
        return True

    def give_back(self, namespace: str) -> None:
        """Takes back a retry that was not made. The namespace owes it less, as far as it still owes anything."""
        owed = self._debts.pop(namespace, 0.0) * self._scale
        if owed > 1:
            self._debts[namespace] = (owed - 1) / self._scale
        self._tokens = min(self.rates.cap, self._tokens + 1)

    def _earn(self, retries: float) -> None:
        missing = self.rates.cap - self._tokens
        if retries >= missing:
            self._tokens = self.rates.cap
            self._debts.clear()
            self._scale = 1.0
            return
        self._tokens += retries
        self._scale *= 1 - retries / missing
        if self._scale < LEAST_SCALE:
            written = {name: owed * self._scale for name, owed in self._debts.items()}
            self._debts = {name: owed for name, owed in written.items() if owed >= LEAST_SCALE}
            self._scale = 1.0


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
                namespaces = policy.caller_namespaces
                divided = namespaces is None or len(namespaces) > 1
                if known is None or known.rates != rates or known.divided != divided:
                    known = RetryBudget(self._clock, rates, divided=divided)
                self._own[policy.key] = known

    def of(self, policy: Policy) -> RetryBudget:
        """The policy's own budget, or the shared one."""
        return self._own.get(policy.key, self._shared) if self._own else self._shared
