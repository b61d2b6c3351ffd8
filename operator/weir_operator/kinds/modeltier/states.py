"""Coarse states of a tier's backends, from the reports of routers. PURE; used by `weir_operator.status.statuses`.

The gateway's routers and those of the tier's own namespace witness the state of a backend. A router of another
namespace could otherwise make a tier look sick.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from weir_operator.distribute.reports import Reported
from weir_operator.kube.objects import JSON
from weir_operator.problems.problem import Problem, Reason
from weir_router.contract import Backend, BackendReport, BackendState, Tier

CLOSED = "closed"
"""The one state of a breaker in which a router sends requests as usual."""

MAX_REASON = 100
"""Characters of a router's reason."""


class CoarseState(StrEnum):
    """The state of a backend, over all routers."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"  # some routers leave it alone
    UNHEALTHY = "Unhealthy"  # all do
    DRAINING = "Draining"
    DISABLED = "Disabled"
    UNUSABLE = "Unusable"  # not in the routers' config: something is wrong with it
    UNKNOWN = "Unknown"  # no router has reported it


_TOLD = (CoarseState.HEALTHY, CoarseState.DEGRADED, CoarseState.UNHEALTHY)


class Said:
    """Counts of some routers' reports about one backend, made once for all objects: there may be a thousand of each."""

    def __init__(self) -> None:
        self.routers = 0
        self.down: list[BackendReport] = []  # of those that do not send it requests as usual

    def __add__(self, other: Said) -> Said:
        """The sum of both."""
        both = Said()
        both.routers, both.down = self.routers + other.routers, [*self.down, *other.down]
        return both


Witnesses = Mapping[str | None, Mapping[str, Said]]
"""Counts by namespace of the routers (None: the gateway's), then by `namespace/tier/backend`."""

_NOBODY: Mapping[str, Said] = {}


def witnesses(routers: Iterable[Reported]) -> Witnesses:
    """The counts of all routers' reports."""
    found: dict[str | None, dict[str, Said]] = defaultdict(lambda: defaultdict(Said))
    for router in routers:
        heard = found[None if router.gateway else router.account.namespace]
        for key, report in router.report.backends.items():
            said = heard[key]
            said.routers += 1
            if report.state != CLOSED:
                said.down.append(report)
    return {namespace: dict(heard) for namespace, heard in found.items()}


def backend_states(
    names: Sequence[str],
    tier: Tier,
    problems: Sequence[Problem],
    told: Witnesses,
    before: Mapping[str, JSON],
) -> list[dict[str, str]]:
    """The backends called `names`, in this order, with state and reason.

    `before`: the last status, which holds for a backend while no router reports it.
    """
    kept: dict[str, list[Backend]] = defaultdict(list)
    for backend in tier.backends:  # several of one name are endpoints of a Service
        kept[backend.name].append(backend)
    result = []
    for number, name in enumerate(names):
        reasons = [it.reason for it in problems if it.field.startswith(f"spec.backends[{number}]")]
        if name not in kept:
            result.append(_item(name, CoarseState.UNUSABLE, ", ".join(dict.fromkeys(reasons))))
        elif Reason.NO_ENDPOINTS in reasons:
            result.append(_item(name, CoarseState.UNHEALTHY, Reason.NO_ENDPOINTS))
        elif kept[name][0].state is not BackendState.ACTIVE:
            result.append(_item(name, CoarseState(kept[name][0].state.value), ""))
        else:
            said = [_said(told, tier.namespace, f"{tier.namespace}/{tier.name}/{it.id}") for it in kept[name]]
            result.append(_active(name, [it for it in said if it.routers], before.get(name)))
    return result


def _said(told: Witnesses, namespace: str, key: str) -> Said:
    """The counts of the routers that are believed."""
    ours, theirs = (told.get(who, _NOBODY).get(key, Said()) for who in (None, namespace))
    return ours + theirs


def _active(name: str, endpoints: Sequence[Said], before: JSON | None) -> dict[str, str]:
    """`endpoints`: what is said of each, of those of which anything is; without a Service there is one."""
    said = sum(endpoints, Said())
    if not said.routers:
        state = before.get("state") if before else None
        known = next((it for it in _TOLD if it == state), CoarseState.UNKNOWN)
        return _item(name, known, str(before.get("reason", "")) if before and known in _TOLD else "")
    if not said.down:
        return _item(name, CoarseState.HEALTHY, "")
    why = ", ".join(sorted({it.reason for it in said.down if it.reason}))[:MAX_REASON]
    if len(said.down) == said.routers:
        return _item(name, CoarseState.UNHEALTHY, why)
    count = f"{len(said.down)} of {said.routers} routers"
    if len(endpoints) > 1:
        count = f"{sum(bool(it.down) for it in endpoints)} of {len(endpoints)} endpoints"
    return _item(name, CoarseState.DEGRADED, f"{count}: {why}" if why else count)


def _item(name: str, state: CoarseState, reason: str) -> dict[str, str]:
    item = {"name": name, "state": state.value}
    return item | {"reason": reason} if reason else item
