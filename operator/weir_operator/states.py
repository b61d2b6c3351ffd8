"""What routers see of a tier's backends, made coarse. PURE; used by `weir_operator.report`.

Who speaks for a backend: the gateway's routers, and those of the tier's own namespace. A router of another namespace
could otherwise give somebody else's tier a bad name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from weir_operator.conditions import JSON
from weir_operator.problems import Problem
from weir_operator.reports import Reported
from weir_router.contract import BackendReport, BackendState, Tier

CLOSED = "closed"
"""The one state of a breaker in which a router sends requests as usual."""

MAX_REASON = 100
"""Characters of a router's reason."""


class CoarseState(StrEnum):
    """Of a backend, over all routers."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"  # some routers leave it alone
    UNHEALTHY = "Unhealthy"  # all do
    DRAINING = "Draining"
    DISABLED = "Disabled"
    UNUSABLE = "Unusable"  # not in the routers' config: something is wrong with it
    UNKNOWN = "Unknown"  # no router has told of it


_TOLD = (CoarseState.HEALTHY, CoarseState.DEGRADED, CoarseState.UNHEALTHY)


class Witness(NamedTuple):
    """What one router says of one backend."""

    namespace: str | None  # None: one of the gateway's
    report: BackendReport


Witnesses = Mapping[str, Sequence[Witness]]


def witnesses(routers: Iterable[Reported]) -> Witnesses:
    """What all routers say, by `namespace/tier/backend`."""
    found: dict[str, list[Witness]] = defaultdict(list)
    for router in routers:
        namespace = None if router.gateway else router.account.namespace
        for key, report in router.report.backends.items():
            found[key].append(Witness(namespace, report))
    return found


def backend_states(
    names: Sequence[str],
    tier: Tier,
    problems: Sequence[Problem],
    told: Witnesses,
    before: Mapping[str, JSON],
) -> list[dict[str, str]]:
    """The backends called `names`, in this order, with state and reason.

    `before`: what a status said that still holds while nobody tells of a backend.
    """
    kept = {it.name: it for it in tier.backends}
    result = []
    for number, name in enumerate(names):
        if name not in kept:
            reasons = [it.reason for it in problems if it.field.startswith(f"spec.backends[{number}]")]
            result.append(_item(name, CoarseState.UNUSABLE, ", ".join(dict.fromkeys(reasons))))
        elif kept[name].state is not BackendState.ACTIVE:
            result.append(_item(name, CoarseState(kept[name].state.value), ""))
        else:
            said = told.get(f"{tier.namespace}/{tier.name}/{name}", ())
            reports = [it.report for it in said if it.namespace in (None, tier.namespace)]
            result.append(_active(name, reports, before.get(name)))
    return result


def _active(name: str, reports: Sequence[BackendReport], before: JSON | None) -> dict[str, str]:
    if not reports:
        state = before.get("state") if before else None
        known = next((it for it in _TOLD if it == state), CoarseState.UNKNOWN)
        return _item(name, known, str(before.get("reason", "")) if before and known in _TOLD else "")
    down = [it for it in reports if it.state != CLOSED]
    if not down:
        return _item(name, CoarseState.HEALTHY, "")
    why = ", ".join(sorted({it.reason for it in down if it.reason}))[:MAX_REASON]
    if len(down) == len(reports):
        return _item(name, CoarseState.UNHEALTHY, why)
    count = f"{len(down)} of {len(reports)} routers"
    return _item(name, CoarseState.DEGRADED, f"{count}: {why}" if why else count)


def _item(name: str, state: CoarseState, reason: str) -> dict[str, str]:
    item = {"name": name, "state": state.value}
    return item | {"reason": reason} if reason else item
