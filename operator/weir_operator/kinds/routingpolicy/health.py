"""Whether the tiers of a policy serve its routes, and which requests went elsewhere. PURE; used by the policy's status.

The owner of a policy may have no right to read its tiers, so the policy's status says it. It names only tiers that
grant the policy's namespace, and of an upstream's failure only the kind, such as `connect`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from weir_operator.distribute.reports import Reported
from weir_operator.kinds.modeltier.states import Witnesses, failing
from weir_operator.kinds.routingpolicy.checks import serves
from weir_operator.status.conditions import TRUE, Judgement, StatusReason, shortened
from weir_operator.status.figures import figure
from weir_router.contract import FAILING, BackendState, Mode, Policy, Route, RouteReport, Tier

Failing = Mapping[str, "Down"]
"""The tiers with backends that serve nothing, by `namespace/name`."""

Counts = Mapping[str, Mapping[str, RouteReport]]
"""The requests of the last ten minutes over all routers, by policy and by route."""

_SHARE = re.compile(r"([0-9.]+) % (cheaper|dearer)")


class Down(NamedTuple):
    """The backends of a tier that serve nothing."""

    backends: Mapping[str, str]  # by id, with the kind of failure
    whole: bool  # no other backend is Active

    @property
    def why(self) -> str:
        """The kinds of failure, e.g. `connect, timeout`."""
        if not self.backends:
            return "no backend is Active"
        return ", ".join(sorted(set(self.backends.values()) - {""})) or "all routers leave it alone"


def failing_tiers(tiers: Iterable[Tier], told: Witnesses) -> Failing:
    """The tiers that have a backend that serves nothing, or no Active one. Computed once for all policies."""
    found = ((f"{it.namespace}/{it.name}", _down(it, told)) for it in tiers)
    return {key: it for key, it in found if it.backends or it.whole}


def _down(tier: Tier, told: Witnesses) -> Down:
    down = failing(tier, told)
    return Down(down, all(it.id in down for it in tier.backends if it.state is BackendState.ACTIVE))


def counted(routers: Iterable[Reported]) -> Counts:
    """The sums of the routers' counts. Each sidecar speaks only of policies of its own namespace."""
    sums: dict[str, dict[str, RouteReport]] = {}
    for router in routers:
        for policy, report in router.report.policies.items():
            routes = sums.setdefault(policy, {})
            for name, it in report.routes.items():
                routes[name] = _sum(routes[name], it) if name in routes else it
    return sums


def _sum(one: RouteReport, two: RouteReport) -> RouteReport:
    return RouteReport(
        requests=one.requests + two.requests,
        cheaper=one.cheaper + two.cheaper,
        dearer=one.dearer + two.dearer,
        unserved=one.unserved + two.unserved,
    )


def judged(
    policy: Policy, tiers: Mapping[str, Tier], down: Failing, counts: Mapping[str, RouteReport], before: str
) -> Judgement | None:
    """The judgement on the policy's tiers, as its condition Ready; None: no first tier of a route fails, and requests
    are answered.

    `counts` are those of its routes, and `before` is the present message, whose figures stay as long as they are near.
    """
    without, beside = [], []
    for route in _used(policy):
        ill = [it.tier for it in route.tiers if _is_ill(route, tiers[it.tier], down.get(it.tier))]
        if not ill or ill[0] != route.tiers[0].tier:
            continue
        if len(ill) == len(route.tiers):
            named = ", ".join(f"{it}: {down[it].why}" for it in ill)
            without.append(f"{_name(route)}: no tier is healthy ({named})")
        else:
            share = _elsewhere(route.name, counts.get(route.name), before)
            beside.append(f"{_name(route)}: its first tier {ill[0]} serves nothing ({down[ill[0]].why}){share}")
    beside += [] if without else _unanswered(policy, counts, before)
    if not without and not beside:
        return None
    reason = StatusReason.NO_HEALTHY_TIERS if without else StatusReason.DEGRADED
    message = f"{'; '.join([*without, *beside])}. See the status of the tier, or ask its owner"
    return Judgement(TRUE, reason, shortened(message))


def _unanswered(policy: Policy, counts: Mapping[str, RouteReport], before: str) -> list[str]:
    """The routes of which no request was answered, in words. A backend may serve other tenants, and fail for this one:
    then no tier is out.
    """
    found = []
    for route in policy.routes:
        it = counts.get(route.name)
        if it is not None and it.requests == it.unserved >= FAILING:
            old = re.search(rf"{re.escape(_name(route))}: none of its ([0-9.]+) requests", before)
            requests = _short(it.requests, old and old[1])
            found.append(f"{_name(route)}: none of its {requests} requests of the last ten minutes was answered")
    return found


def elsewhere(counts: Iterable[RouteReport], before: Any) -> str | None:
    """The shares of requests that another tier than the route's first answered, e.g. `34 % cheaper, 2 % dearer`.

    None: all were answered by the first. `before` is the present text.
    """
    total = RouteReport()
    for it in counts:
        total = _sum(total, it)
    old = {word: share for share, word in _SHARE.findall(before)} if isinstance(before, str) else {}
    parts = [
        f"{_short(100 * count / total.requests, old.get(word))} % {word}"
        for word, count in (("cheaper", total.cheaper), ("dearer", total.dearer))
        if count and total.requests
    ]
    return ", ".join(parts) or None


OVERRIDE, BASELINE = "the override", "the baseline"


def _used(policy: Policy) -> Iterable[Route]:
    """The routes that requests take now: an override and the mode Observe lead past the stated ones."""
    if policy.override is not None:
        return (Route(name=OVERRIDE, tiers=(policy.override.tier,)),)
    if policy.mode is Mode.OBSERVE and policy.baseline is not None:
        return (Route(name=BASELINE, tiers=(policy.baseline,)),)
    return policy.routes


def _name(route: Route) -> str:
    return route.name if route.name in (OVERRIDE, BASELINE) else f"route '{route.name}'"


def _is_ill(route: Route, tier: Tier, down: Down | None) -> bool:
    """Whether the tier serves nothing of the route: each backend that could take requests of it is down."""
    if down is None or down.whole:
        return down is not None
    if not (route.require or route.when.capabilities or route.when.min_prompt_tokens):
        return False  # any other backend serves it; there may be hundreds, for a thousand policies
    able = [it.id for it in tier.backends if serves(it, route)]
    return bool(able) and all(it in down.backends for it in able)


def _elsewhere(name: str, counts: RouteReport | None, before: str) -> str:
    """The share of a route's requests that went elsewhere, in words. The larger share counts: cheaper or dearer."""
    if counts is None or not (most := max(counts.cheaper, counts.dearer)):
        return ""
    word = "cheaper" if counts.cheaper >= counts.dearer else "dearer"
    old = re.search(rf"route '{re.escape(name)}':[^;]*; ([0-9.]+) % of ([0-9.]+) requests", before)
    share, requests = _short(100 * most / counts.requests, old and old[1]), _short(counts.requests, old and old[2])
    return f"; {share} % of {requests} requests of the last ten minutes went to a {word} tier"


def _short(value: float, before: str | None) -> str:
    """A figure; of a whole number without `.0`."""
    return figure(value, before).removesuffix(".0")
