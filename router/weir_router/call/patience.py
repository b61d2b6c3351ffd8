"""The wait of one request for a cheaper tier, `failover.tierDelay`. Used by `call.journey` where a policy sets one.

A route's tiers are in the order of escalation, so an earlier one counts as cheaper. A backend of it is worth the wait
if it has failed in this request in a way that passes, or if a Retry-After keeps it back. One whose breaker is open is
not, since that is no blip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from weir_router.call.attempt import Attempt
from weir_router.call.verdict import PASSING
from weir_router.decide.types import Candidate, Choice, Decision
from weir_router.errors import AttemptFailed, FailureKind
from weir_router.health.view import BackendView

CLOSED = "closed"
"""State of a breaker that lets attempts through."""

EARLY = 0.01
"""Seconds added to the wait for a backend, since a loop's timers may fire a few milliseconds early."""


class Patience:
    """The wait of one request, as far as it is left, and the tiers that are worth it."""

    def __init__(self, decision: Decision) -> None:
        route = next(it for it in decision.policy.routes if it.name == decision.choice.route)
        self._ranks: Final = {ref.tier: rank for rank, ref in enumerate(route.tiers)}
        self._delay: Final = decision.policy.failover.tier_delay
        self._until: float | None = None  # set by the first wait

    def soonest(
        self,
        dearer: Candidate,
        spent: Sequence[Attempt],
        choice: Choice,
        health: Mapping[str, BackendView],
        now: float,
        back_off: float,
    ) -> tuple[float, str, Candidate | None] | None:
        """Seconds until the first backend of a tier cheaper than `dearer`'s is back, and its key. The candidate comes
        with it, if it has failed in this request. None: no wait would help.
        """
        rank = self._ranks.get(dearer.tier, 0)
        found: list[tuple[float, str, Candidate | None]] = []
        for attempt in spent:
            candidate, failure = attempt.candidate, attempt.failure
            view = health.get(candidate.key)
            if failure is None or view is None or self._ranks.get(candidate.tier, rank) >= rank:
                continue
            if _passes(failure, view, now):
                found.append((max(back_off, view.available_at - now), candidate.key, candidate))
        for skip in choice.skipped:
            view = health.get(skip.key)
            if skip.seen is None or view is None or self._ranks.get(skip.tier, rank) >= rank:
                continue
            if view.state == CLOSED:
                found.append((max(view.available_at - now, 0.0), skip.key, None))
        first = min(found, key=lambda it: it[0], default=None)
        return first if first is not None and first[0] <= self._left(now) else None

    def begins(self, now: float) -> None:
        """The request waits from now on."""
        if self._until is None:
            self._until = now + self._delay

    def _left(self, now: float) -> float:
        return self._delay if self._until is None else self._until - now


def patience_of(decision: Decision) -> Patience | None:
    """The wait of a request, if its policy has any. One that an override or `mode: Observe` diverts has one tier."""
    choice = decision.choice
    waits = decision.policy.failover.tier_delay > 0 and choice.route is not None and not choice.diverted
    return Patience(decision) if waits else None


def _passes(failure: AttemptFailed, view: BackendView, now: float) -> bool:
    """Whether the failure may be over soon."""
    if view.state != CLOSED:
        return False
    return failure.kind in PASSING or (failure.kind is FailureKind.RATE_LIMIT and view.available_at > now)
