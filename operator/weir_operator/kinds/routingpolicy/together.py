"""All compiled policies together: those that have room go into the config, and conflicts are problems. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from weir_operator.compile.room import CLAIMS, POLICIES, crowded, left_out, weight
from weir_operator.compile.step import Around, Compiled
from weir_operator.kinds.routingpolicy.compile import UNREAD, CompiledPolicy, claim
from weir_operator.kinds.routingpolicy.overlap import Conflict, conflicts
from weir_operator.kube.crowding import Part
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest
from weir_operator.problems.problem import ConditionType, Problem, Reason, Severity
from weir_router.contract import Policy

NO_ROOM = "there is no room for it"
"""Answer to callers of a policy that has no room; its owner gets more."""

Manifests = Mapping[ObjectName, Manifest]


def add_policies(
    compiled: Compiled, policies: dict[ObjectName, CompiledPolicy], manifests: Manifests, around: Around
) -> Compiled:
    """`compiled` with the policies. One that has no room still claims its callers, as far as there is room for that."""
    out = left_out(_parts(manifests, policies, policies), POLICIES)
    for name in out:
        policies[name] = claim(policies[name].policy, NO_ROOM)
    for name in left_out(_parts(manifests, policies, out), CLAIMS):
        del policies[name]
    routed = sorted((it.policy for it in policies.values()), key=lambda it: it.precedence)
    problems = [crowded(manifests[name], why, "policies") for name, why in out.items()]
    problems += [
        _conflict(it, manifests, local=around.observed.local)
        for it in conflicts(it for it in routed if it.not_ready != UNREAD)
    ]
    config = msgspec.structs.replace(compiled.config, policies=tuple(routed))
    return replace(compiled, config=config, problems=(*compiled.problems, *problems))


def _parts(
    manifests: Manifests, policies: Mapping[ObjectName, CompiledPolicy], names: Iterable[ObjectName]
) -> list[Part]:
    return [Part(it, manifests[it].created, weight(manifests[it], policies[it].size)) for it in names]


def _conflict(conflict: Conflict, manifests: Mapping[ObjectName, Manifest], *, local: bool) -> Problem:
    loser = manifests[ObjectName(conflict.policy.namespace, conflict.policy.name)]
    winner = manifests[ObjectName(conflict.winner.namespace, conflict.winner.name)]
    other = winner.id
    if local:
        place = winner.where("metadata.name")
        why = f"{f' ({place})' if place else ''}; nothing has an age in a directory, so that one goes first by its name"
    else:
        offered = conflict.winner.rank < conflict.policy.rank
        why = ", which the installation offers and" if offered else ", which is older or comes first by its name and"
        why += " goes first"
        if not _may_know(conflict.winner, loser.namespace):
            other = "a policy of another namespace"
    return Problem(
        object=loser.id,
        field="spec.models",
        condition=ConditionType.CONFLICTED,
        reason=Reason.CONFLICTED,
        message=f"has callers of model '{conflict.model}' in common with {other}{why}",
        action="Let the two differ in models or callers, or remove one.",
        severity=Severity.ERROR if local else Severity.WARNING,
        where=loser.where("spec.models"),
    )


def _may_know(policy: Policy, namespace: str) -> bool:
    """Whether `policy` is of that namespace, or for its callers: status is no oracle for what exists elsewhere."""
    names = [rule.namespaces for rule in policy.callers]
    return policy.namespace == namespace or any(it is None or namespace in it for it in names)
