"""Coarse states of a tier's backends, from the reports of routers. PURE; used by the statuses of tiers and policies.

The gateway's routers and those of the tier's own namespace witness the state of a backend. A router of another
namespace could otherwise make a tier look sick. Of these, only the routers that have tried the backend lately count:
one that has sent it nothing knows nothing. Example: `connect: Connection refused (tried by 1 of 5 routers)`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from weir_operator.distribute.reports import Reported
from weir_operator.kube.objects import JSON
from weir_operator.problems.problem import Problem, Reason
from weir_router.contract import FAILING, Backend, BackendReport, BackendState, Tier

CLOSED = "closed"
"""The one state of a breaker in which a router sends requests as usual."""

MAX_REASON = 200
"""Characters of the routers' reasons together: two of the longest."""

REASONS = 2
"""Number of different reasons that a status shows: the most frequent ones."""

NOT_TRIED = "no router has tried it in the last ten minutes"
"""The reason of the state `Unknown` of a backend that routers have in their config (`contract.TRIED_SECONDS`)."""


class CoarseState(StrEnum):
    """The state of a backend, over all routers."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"  # some routers leave it alone, or get only failures from it
    UNHEALTHY = "Unhealthy"  # all that have tried it do
    DRAINING = "Draining"
    DISABLED = "Disabled"
    UNUSABLE = "Unusable"  # not in the routers' config: something is wrong with it
    UNKNOWN = "Unknown"  # no router has tried it


_TOLD = (CoarseState.HEALTHY, CoarseState.DEGRADED, CoarseState.UNHEALTHY)


class Said:
    """Counts of some routers' reports about one backend, made once for all objects: there may be a thousand of each."""

    def __init__(self) -> None:
        self.routers = 0
        self.tried = 0  # of these, those that have tried it
        self.down = 0  # of these, those that leave it alone or get only failures
        self.why = Counter[str]()  # of those, the kind of failure, with the upstream's words if there are any

    def hear(self, report: BackendReport) -> None:
        """Counts the report of one more router."""
        down = report.state != CLOSED or report.failing >= FAILING
        self.routers += 1
        self.tried += down or report.tried
        self.down += down
        if down and (why := report.words or report.reason):
            self.why[why] += 1

    def __add__(self, other: Said) -> Said:
        """The sum of both."""
        both = Said()
        both.routers, both.tried = self.routers + other.routers, self.tried + other.tried
        both.down, both.why = self.down + other.down, self.why + other.why
        return both

    @property
    def all_down(self) -> bool:
        """Whether every router that has tried it leaves it alone or gets only failures."""
        return 0 < self.tried == self.down

    @property
    def reasons(self) -> str:
        """The most frequent reasons, as one text."""
        found = sorted(self.why, key=lambda it: (-self.why[it], it))
        return ", ".join(found[:REASONS])[:MAX_REASON]


Witnesses = Mapping[str | None, Mapping[str, Said]]
"""Counts by namespace of the routers (None: the gateway's), then by `namespace/tier/backend`."""

_NOBODY: Mapping[str, Said] = {}


def witnesses(routers: Iterable[Reported]) -> Witnesses:
    """The counts of all routers' reports."""
    found: dict[str | None, dict[str, Said]] = defaultdict(lambda: defaultdict(Said))
    for router in routers:
        heard = found[None if router.gateway else router.account.namespace]
        for key, report in router.report.backends.items():
            heard[key].hear(report)
    return {namespace: dict(heard) for namespace, heard in found.items()}


def backend_states(
    names: Sequence[str],
    tier: Tier,
    problems: Sequence[Problem],
    told: Witnesses,
    before: Mapping[str, JSON],
) -> list[dict[str, str]]:
    """The backends called `names`, in this order, with state and reason.

    `before`: the last status, which holds for a backend while no router witnesses its health.
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
            result.append(_active(name, [_said(told, tier, it) for it in kept[name]], before.get(name)))
    return result


def failing(tier: Tier, told: Witnesses) -> dict[str, str]:
    """The Active backends of a tier that serve nothing, by `Backend.id`, with the kind of failure, e.g. `connect`."""
    said = {it.id: _said(told, tier, it) for it in tier.backends if it.state is BackendState.ACTIVE}
    return {name: it.reasons.partition(":")[0] for name, it in said.items() if it.all_down}


def _said(told: Witnesses, tier: Tier, backend: Backend) -> Said:
    """The counts of the routers that are believed."""
    key = backend.key(f"{tier.namespace}/{tier.name}")
    ours, theirs = (told.get(who, _NOBODY).get(key) for who in (None, tier.namespace))
    if ours is None or theirs is None:
        return ours or theirs or Said()
    return ours + theirs


def _active(name: str, endpoints: Sequence[Said], before: JSON | None) -> dict[str, str]:
    """`endpoints`: the counts of each; without a Service there is one."""
    said = sum(endpoints[1:], endpoints[0])
    if not said.tried:
        state = before.get("state") if before else None
        known = next((it for it in _TOLD if it == state), None)
        if before and known is not None:
            return _item(name, known, str(before.get("reason", "")))
        return _item(name, CoarseState.UNKNOWN, NOT_TRIED if said.routers else "")
    if not said.down:
        return _item(name, CoarseState.HEALTHY, "")
    all_down, alone = all(it.all_down for it in endpoints), len(endpoints) == 1
    count = f"{sum(bool(it.down) for it in endpoints)} of {len(endpoints)} endpoints"
    if alone:
        count = "all routers" if all_down else f"{said.down} of {said.tried} routers"
    why = said.reasons
    parts = [why] if all_down and why else [f"{count}: {why}" if why else count]
    if alone and said.tried < said.routers:
        parts.append(f"(tried by {said.tried} of {said.routers} routers)")
    return _item(name, CoarseState.UNHEALTHY if all_down else CoarseState.DEGRADED, " ".join(parts))


def _item(name: str, state: CoarseState, reason: str) -> dict[str, str]:
    item = {"name": name, "state": state.value}
    return item | {"reason": reason} if reason else item
