"""Requests that were answered elsewhere than their route wants, counted by policy and route. Used by `record.metrics`;
reports read the counts of the last ten minutes.

A request falls when a tier that its route names earlier could not serve it, and another one answered: the tier's
backends were out, full or just back, or attempts there failed. It is no fall where the policy chooses: an override,
`mode: Observe`, a grant that is used up, a backend that is drained, a latency budget, objectives, a check of the
answer, or a request that the tier can never serve.

A fall goes to a cheaper or to a dearer tier, by their prices. Where one is unknown, or they are equal, the route's
order decides: a later tier counts as dearer, as for `failover.tierDelay`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry

from weir_router.contract import TRIED_SECONDS, CompiledConfig, Policy, PolicyReport, Route, RouteReport, Tier
from weir_router.decide.types import Candidate
from weir_router.errors import FailureKind
from weir_router.health.kinds import BLAMELESS_KINDS, NEUTRAL_KINDS
from weir_router.record.finished import Finished
from weir_router.record.series import Counters

FIRST, CHEAPER, DEARER, UNSERVED = range(4)
"""Places where a request is answered; no tier could answer an `UNSERVED` one."""

PROMPT_SHARE = 3.0
"""Prompt tokens for each output token by which the prices of two tiers are compared: the usual mix of chat requests."""

BUCKETS = 10
"""Parts of `TRIED_SECONDS` that are counted and forgotten as a whole."""

BUCKET_SECONDS = TRIED_SECONDS / BUCKETS

_NO_FALL: Final = frozenset(
    {"ok", "cancelled", *(BLAMELESS_KINDS | NEUTRAL_KINDS | {FailureKind.REJECTED}) - {FailureKind.BLOCKED}}
)
"""Outcomes of an attempt after which the tier could serve other requests like before."""


class _OfRoute:
    """The counts of one route, in buckets of a minute."""

    def __init__(self, policy: Policy, route: str) -> None:
        self.policy = policy
        self.route = next((it for it in policy.routes if it.name == route), None)
        self.first = self.route.tiers[0].tier if self.route is not None and self.route.tiers else None
        self.bucket = 0
        self.until = 0.0  # end of the bucket
        self.counts = [0, 0, 0, 0]
        self.past: dict[int, list[int]] = {}
        self.fell_at = -math.inf  # moment of the last request that the first tier did not answer

    def turn(self, now: float) -> None:
        """Begins a later bucket."""
        bucket = int(now / BUCKET_SECONDS)
        self.past[self.bucket] = self.counts
        self.past = {it: counts for it, counts in self.past.items() if it > bucket - BUCKETS and any(counts)}
        self.bucket, self.counts = bucket, [0, 0, 0, 0]
        self.until = (bucket + 1) * BUCKET_SECONDS

    def report(self, now: float) -> RouteReport:
        """The counts of the last ten minutes."""
        oldest = int(now / BUCKET_SECONDS) - BUCKETS
        known = [*self.past.items(), (self.bucket, self.counts)]
        first, cheaper, dearer, unserved = (
            sum(counts[place] for bucket, counts in known if bucket > oldest) for place in range(4)
        )
        requests = first + cheaper + dearer + unserved
        return RouteReport(requests=requests, cheaper=cheaper, dearer=dearer, unserved=unserved)


class Falls:
    """The counts of one router. They are bounded by the config: see `keep`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._routes: dict[tuple[str, str], _OfRoute] = {}
        self.elsewhere = Counters(
            "weir_requests_elsewhere",
            "Requests that another tier answered because one that the route names earlier could not serve.",
            ("policy", "route", "direction"),
            registry,
        )
        self.unserved = Counters(
            "weir_requests_unserved",
            "Requests that no tier of the route could answer.",
            ("policy", "route"),
            registry,
        )

    def observe(self, finished: Finished) -> None:
        """Counts one ended request whose backends were decided."""
        decision, policy = finished.decision, finished.policy_key
        if decision is None or policy is None or (finished.tier is None and finished.error is None):
            return
        route = decision.choice.route or ""
        known = self._routes.get((policy, route))
        if known is None or known.policy is not decision.policy:
            known = self._renewed(policy, route, decision.policy)
        place = FIRST if finished.tier is not None and finished.tier == known.first else placed(finished, known.route)
        if place is None:
            return
        if decision.now >= known.until:
            known.turn(decision.now)
        counts = known.counts
        counts[place] = counts[place] + 1
        if place != FIRST:
            known.fell_at = decision.now
        if place == UNSERVED:
            self.unserved[policy, route].value += 1
        elif place != FIRST:
            self.elsewhere[policy, route, "cheaper" if place == CHEAPER else "dearer"].value += 1

    def keep(self, config: CompiledConfig) -> None:
        """Forgets the routes of policies that are gone."""
        policies = {it.key for it in config.policies}
        self._routes = {key: it for key, it in self._routes.items() if key[0] in policies}

    def report(self, now: float) -> dict[str, PolicyReport]:
        """The counts of the last ten minutes, by policy; only routes with requests."""
        found: dict[str, dict[str, RouteReport]] = {}
        for (policy, route), known in self._routes.items():
            report = known.report(now)
            if report.requests:
                found.setdefault(policy, {})[route] = report
        return {policy: PolicyReport(routes=routes) for policy, routes in found.items()}

    def fallen(self, now: float) -> frozenset[str]:
        """The policies of which a request was not answered where its route wants it."""
        since = now - TRIED_SECONDS
        return frozenset([policy for (policy, _), known in self._routes.items() if known.fell_at > since])

    def _renewed(self, key: str, route: str, policy: Policy) -> _OfRoute:
        """The counts of a route after a new config; those so far stay."""
        old, new = self._routes.get((key, route)), _OfRoute(policy, route)
        if old is not None:
            new.bucket, new.until, new.counts, new.past = old.bucket, old.until, old.counts, old.past
            new.fell_at = old.fell_at
        self._routes[key, route] = new
        return new


def placed(finished: Finished, route: Route | None) -> int | None:
    """The place of a request among the four; None: it says nothing, e.g. because its caller is at fault. Pure."""
    decision, tier = finished.decision, finished.tier
    assert decision is not None
    if tier is None:
        return UNSERVED if finished.error is not None and finished.error.unserved else None
    if route is None or decision.choice.diverted:
        return FIRST
    ranks = {ref.tier: rank for rank, ref in enumerate(route.tiers)}
    for ref in route.tiers:
        if ref.tier == tier:
            return FIRST
        if _could_not_serve(ref.tier, finished):
            return _direction(ref.tier, tier, ranks, decision.config.tiers)
    return FIRST


def _could_not_serve(tier: str, finished: Finished) -> bool:
    """Whether the request would have gone to this tier, if it had been well."""
    assert finished.decision is not None
    outcomes = [it.outcome for it in finished.attempts if it.tier == tier]
    if any(it not in _NO_FALL for it in outcomes):
        return True
    choice = finished.decision.choice
    if any(it.tier == tier and it.seen is not None and not it.unfit for it in choice.skipped):
        return True
    if outcomes or tier in finished.over_quota:
        return False
    too_long = any(it.outcome == FailureKind.CONTEXT_LENGTH for it in finished.attempts)
    return not too_long and any(it.tier == tier and not _stood_behind(it) for it in choice.candidates)


def _stood_behind(candidate: Candidate) -> bool:
    """Whether it stood behind others by the policy's or tier's own will, although it could have served."""
    seen = candidate.seen
    return not seen.keeps_objectives or seen.ttft_p95 is not None or bool(seen.refuses)


def _direction(from_tier: str, to_tier: str, ranks: Mapping[str, int], tiers: Mapping[str, Tier]) -> int:
    was, now = _price(tiers.get(from_tier)), _price(tiers.get(to_tier))
    if was is None or now is None or was == now:
        return DEARER if ranks[to_tier] > ranks[from_tier] else CHEAPER
    return CHEAPER if now < was else DEARER


def _price(tier: Tier | None) -> float | None:
    """The price of a usual mix of tokens at the tier's cheapest backend; None: no backend has a price."""
    backends = () if tier is None else tier.backends
    prices = [PROMPT_SHARE * it.price.input + it.price.output for it in backends if it.price is not None]
    return min(prices, default=None)
