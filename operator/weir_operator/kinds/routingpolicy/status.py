"""The status of a RoutingPolicy: how many routes and tiers can be used, and whether requests are served. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from weir_operator.kinds.modeltier.status import heard
from weir_operator.kinds.routingpolicy import health
from weir_operator.kube.objects import JSON
from weir_operator.observe.observed import Manifest
from weir_operator.problems.problem import ConditionType, Reason
from weir_operator.status.conditions import FALSE, READY, RESOLVED, TRUE, Condition, Judgement, StatusReason, shortened
from weir_operator.status.events import Event, EventType
from weir_operator.status.step import Around, Judged, StatusStep, Subject, waits_for
from weir_router.contract import Policy, RouteReport

CONFLICTED = Condition(
    ConditionType.CONFLICTED, Judgement(FALSE, StatusReason.NO_CONFLICT, "no other policy goes first"), strict=True
)

_ILL = (StatusReason.NO_HEALTHY_TIERS, StatusReason.DEGRADED)
_ROUTE = re.compile(r"spec\.routes\[\d+\]")
_REFERENCE = re.compile(r"spec\.(routes\[\d+\]\.tiers\[\d+\]|baseline)")


def judge(it: Subject, around: Around) -> Judged:
    """The judgement of one policy."""
    policy = around.once(_policies).get(str(it.manifest.key))
    programmed = around.programmed(it, policy.caller_namespaces if policy else frozenset())
    if not it.usable:
        return Judged(programmed, it.fault() or it.served())
    spec = it.manifest.spec
    routes, references = len(spec["routes"]), sum(len(route["tiers"]) for route in spec["routes"])
    references += spec.get("baseline") is not None
    counts = around.once(_counts).get(str(it.manifest.key), {})
    fields: dict[str, Any] = {
        "routesReady": f"{routes - it.places(READY, _ROUTE)}/{routes}",
        "tiersReady": f"{references - it.places(RESOLVED, _REFERENCE)}/{references}",
    }
    elsewhere = health.elsewhere(counts.values(), _before(it).get("elsewhere"))
    if elsewhere is not None:
        fields["elsewhere"] = elsewhere
    if policy is not None and policy.override is not None:
        fields["override"] = f"until {datetime.fromtimestamp(policy.override.until, UTC):%Y-%m-%dT%H:%MZ}"
    ready = it.fault() or waits_for(programmed) or _health(it, around, policy, counts) or it.served()
    return Judged(programmed, ready, fields)


def news(manifest: Manifest, before: Any, after: JSON) -> list[Event]:
    """The beginning and the end of an override."""
    old = before.get("override") if isinstance(before, Mapping) else None
    new = after.get("override")
    if new == old:
        return []
    if new is None:
        return [Event(EventType.NORMAL, "OverrideEnded", "the override has ended; the policy's routes decide again")]
    stated = manifest.spec["override"]["tier"]
    tier = f"{stated.get('namespace') or manifest.namespace}/{stated['name']}"
    note = f"an override holds {new}: every request goes to ModelTier {tier}; then the policy's routes decide again"
    return [Event(EventType.NORMAL, "OverrideStarted", note)]


STEP = StatusStep(
    judge=judge,
    own=(CONFLICTED,),
    whole=(Reason.NO_USABLE_ROUTES, Reason.OBSERVE_WITHOUT_BASELINE),
    passing=("elsewhere", "override"),
    news=news,
)


def _health(it: Subject, around: Around, policy: Policy | None, counts: Mapping[str, RouteReport]) -> Judgement | None:
    """The judgement on its tiers; None: all serve. A new leader keeps the last one for a minute."""
    before = it.conditions.get(READY.type, {})
    message = str(before.get("message", ""))
    found = None
    if policy is not None:
        found = health.judged(policy, around.config.tiers, around.once(_failing), counts, message)
    if found is not None:
        partly = it.served()
        more = f"; {partly.message}" if partly != READY.good else ""
        return found._replace(message=shortened(found.message + more))
    if around.rollout.settled:
        return None
    held = (before.get("status"), before.get("observedGeneration")) == (TRUE.value, it.manifest.generation)
    reason = next((one for one in _ILL if one == before.get("reason")), None)
    return Judgement(TRUE, reason, message) if held and reason else None


def _before(it: Subject) -> Mapping[str, Any]:
    return it.before if isinstance(it.before, Mapping) else {}


def _failing(around: Around) -> health.Failing:
    return health.failing_tiers(around.config.tiers.values(), around.once(heard))


def _counts(around: Around) -> health.Counts:
    return health.counted(around.rollout.routers)


def _policies(around: Around) -> dict[str, Policy]:
    return {policy.key: policy for policy in around.config.policies}
