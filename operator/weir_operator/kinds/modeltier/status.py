"""The status of a ModelTier: the state of each backend over all routers, and whether requests are served. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weir_operator.kinds.modeltier.states import CoarseState, Witnesses, backend_states, witnesses
from weir_operator.kube.objects import JSON
from weir_operator.problems.problem import ConditionType, Reason
from weir_operator.status.conditions import FALSE, READY, TRUE, Condition, Judgement, StatusReason, shortened
from weir_operator.status.step import Around, Judged, StatusStep, Subject, waits_for

PRICED = Condition(ConditionType.PRICED, Judgement(TRUE, StatusReason.PRICED, "every backend has a price"), strict=True)

UNTRIED = "nothing is wrong with it, but none of the present routers has tried it in the last ten minutes"
"""The message of a tier that is ready, as far as anybody knows."""

_ILL = (CoarseState.DEGRADED, CoarseState.UNHEALTHY)
_IDLE = (CoarseState.DRAINING, CoarseState.DISABLED, CoarseState.UNUSABLE)


def judge(it: Subject, around: Around) -> Judged:
    """The judgement of one tier."""
    key = str(it.manifest.key)
    programmed = around.programmed(it, around.once(_users).get(key, frozenset()))
    if not it.usable:
        return Judged(programmed, it.fault() or it.served())
    names = [backend["name"] for backend in it.manifest.spec["backends"]]
    before = {} if around.rollout.settled else _backends(it)
    states = backend_states(names, around.config.tiers[key], it.problems, around.once(heard), before)
    count = f"{sum(_takes_requests(state) for state in states)}/{len(states)}"
    ready = it.fault() or _nothing_active(states) or waits_for(programmed) or _nothing_healthy(states)
    return Judged(programmed, ready or _served(it, states), {"backendsReady": count, "backends": states})


STEP = StatusStep(judge=judge, own=(PRICED,), whole=(Reason.NO_USABLE_BACKENDS,))


def heard(around: Around) -> Witnesses:
    """The routers' words on all backends; for `Around.once`."""
    return witnesses(around.rollout.routers)


def _users(around: Around) -> dict[str, frozenset[str] | None]:
    """The namespaces whose callers may use a tier, by tier; None: all."""
    found: dict[str, frozenset[str] | None] = {}
    for policy in around.config.policies:
        names = policy.caller_namespaces
        for tier in {ref.tier for ref in policy.references()}:
            others = found.get(tier, frozenset())
            found[tier] = None if names is None or others is None else names | others
    return found


def _backends(it: Subject) -> dict[str, JSON]:
    """The backends of the present status, by name."""
    listed = it.before.get("backends") if isinstance(it.before, Mapping) else None
    return {backend["name"]: backend for backend in listed or ()}


def _takes_requests(state: JSON) -> bool:
    return state["state"] not in (*_IDLE, *_ILL)


def _nothing_active(states: Sequence[JSON]) -> Judgement | None:
    if any(it["state"] not in _IDLE for it in states):
        return None
    message = "no backend that can be used has state: Active; set one to Active"
    return Judgement(FALSE, StatusReason.NO_ACTIVE_BACKENDS, message)


def _nothing_healthy(states: Sequence[JSON]) -> Judgement | None:
    if any(it["state"] not in (*_IDLE, CoarseState.UNHEALTHY) for it in states):
        return None
    names = [f"{it['name']}: {it.get('reason', 'no reason was given')}" for it in states if it["state"] not in _IDLE]
    message = f"every backend fails ({', '.join(names)}); routers probe them: see to the provider, the key, the quota"
    return Judgement(FALSE, StatusReason.NO_HEALTHY_BACKENDS, shortened(message))


def _served(it: Subject, states: Sequence[JSON]) -> Judgement:
    """Some backend takes requests. Says which ones fail, and whether any is known to work."""
    ill = [
        f"backend {one['name']} is {one['state']} ({one.get('reason', '')})"
        for one in states
        if one["state"] in _ILL and one.get("reason") != Reason.NO_ENDPOINTS  # which ResolvedRefs says
    ]
    served = it.served(", ".join(ill))
    untried = all(one["state"] in (*_IDLE, CoarseState.UNKNOWN) for one in states)
    return served._replace(message=UNTRIED) if served == READY.good and untried else served
