"""The status of a RoutingPolicy: how many routes and tiers can be used, and whether requests are served. PURE."""

from __future__ import annotations

import re

from weir_operator.problems.problem import ConditionType, Reason
from weir_operator.status.conditions import FALSE, READY, RESOLVED, Condition, Judgement, StatusReason
from weir_operator.status.step import Around, Judged, StatusStep, Subject, waits_for
from weir_router.contract import Policy

CONFLICTED = Condition(
    ConditionType.CONFLICTED, Judgement(FALSE, StatusReason.NO_CONFLICT, "no other policy goes first"), strict=True
)

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
    fields = {
        "routesReady": f"{routes - it.places(READY, _ROUTE)}/{routes}",
        "tiersReady": f"{references - it.places(RESOLVED, _REFERENCE)}/{references}",
    }
    return Judged(programmed, it.fault() or waits_for(programmed) or it.served(), fields)


STEP = StatusStep(judge=judge, own=(CONFLICTED,), whole=(Reason.NO_USABLE_ROUTES, Reason.OBSERVE_WITHOUT_BASELINE))


def _policies(around: Around) -> dict[str, Policy]:
    return {policy.key: policy for policy in around.config.policies}
