"""The compiler: what was observed in, what routers need out, with everything that is wrong. PURE.

Called by `weir up`, `weir validate`, `weir explain`; the same compiler will serve a cluster. It reads no file, no
clock, no environment. The order:

1. each ModelTier of our class by itself: a backend that cannot be used removes itself;
2. each RoutingPolicy against those tiers: an invalid reference removes itself, a route without tiers removes itself,
   and a policy without routes stays, not ready, so that its callers never fall through to another namespace's policy;
3. policies against each other;
4. callers' keys.

What has no room is left out, see `compile.room`: a tier is then as good as none, and a policy refuses its
callers, as far as there is room for that.

An object that cannot be read, or that a bug of ours trips over, is one problem; the others go on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.keys import caller_keys
from weir_operator.compile.memory import Memory, Result, Tiers
from weir_operator.compile.overlap import Conflict, conflicts, precedence
from weir_operator.compile.report import Report
from weir_operator.compile.room import (
    CLAIMS,
    CREDENTIALS,
    MAX_POLICY,
    MAX_SPEC,
    MAX_TIER,
    POLICIES,
    TIERS,
    left_out,
    size,
)
from weir_operator.compile.routing import (
    INVALID,
    CompiledPolicy,
    Surroundings,
    claim,
    compile_policy,
    unreadable_policy,
)
from weir_operator.compile.services import Lookup, Services
from weir_operator.compile.tiers import CompiledTier, compile_tier
from weir_operator.kube.crowding import Part
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.problems.problem import ConditionType, Problem, Reason, Severity
from weir_operator.schemas import ModelTierSpec, RoutingPolicySpec
from weir_operator.schemas.common import DEFAULT_CLASS
from weir_operator.schemas.rules import Model
from weir_router.contract import CompiledConfig, Policy, Secrets, Tier, TokenTrust

__all__ = ["Compiled", "Memory", "compile_config", "ours"]

T = TypeVar("T")
M = TypeVar("M", bound=Model)

TOO_LARGE = "it is larger than a policy may be"
NO_ROOM = "there is no room for it"
"""What callers of such a policy hear; its owner hears more."""

CREDENTIAL_NAME = 150
"""Bytes of a credential's name in the Secret of all of them, where names count twice."""


@dataclass(frozen=True)
class Compiled:
    """What `compile_config` makes."""

    config: CompiledConfig
    secrets: Secrets
    problems: tuple[Problem, ...]


def compile_config(
    observed: Observed,
    *,
    catalogue: Catalogue,
    revision: int = 0,
    now: float,
    tokens: TokenTrust | None = None,
    memory: Memory | None = None,
) -> Compiled:
    """Compiles everything of `observed.class_name`; `now` is in seconds since the epoch. Never raises.

    `tokens` is which ServiceAccount tokens routers accept; None, as on a laptop: none. `memory` is handed
    in again by whoever compiles again and again.
    """
    memory = memory or Memory()
    memory.begin(observed, catalogue)
    services = Services.of(observed)
    tiers: dict[str, CompiledTier] = {}
    policies: dict[ObjectName, CompiledPolicy] = {}
    problems: list[Problem] = []
    for manifest in ours(observed.tiers, observed.class_name):
        build = functools.partial(_tier, manifest, memory, observed, catalogue)
        tier, found = memory.recall(manifest, {}, services.facts, build)
        problems += found
        if tier is not None:
            tiers[tier.key] = tier
    expanded = {key: tiers[key].expanded(services) for key in sorted(tiers)}
    problems += _crowded_tiers(observed, tiers, expanded)
    for manifest in ours(observed.policies, observed.class_name):
        work = functools.partial(_policy, manifest, memory, now)
        policy, found = memory.recall(manifest, tiers, services.facts, work)
        problems += found
        if policy is not None:
            policies[manifest.key] = policy
    manifests = {it.key: it for it in observed.policies}
    problems += _crowded_policies(manifests, policies)
    routed = {key: it.policy for key, it in policies.items()}
    problems += [_conflict(it, manifests, local=observed.local) for it in conflicts(routed.values())]
    keys, found = caller_keys(observed)
    credentials = {digest: value for tier in tiers.values() for digest, value in tier.credentials.items()}
    config = CompiledConfig(
        revision=revision,
        class_name=observed.class_name,
        tiers=expanded,
        policies=tuple(sorted(routed.values(), key=precedence)),
        generations=_generations(observed, tiers, routed),
        catalogue_date=catalogue.date,
        tokens=tokens,
    )
    return Compiled(config, Secrets(credentials=credentials, caller_keys=keys), (*problems, *found))


def ours(manifests: Iterable[Manifest], class_name: str) -> list[Manifest]:
    """Those of class `class_name`, sorted."""
    return sorted((it for it in manifests if _class_of(it.spec) == class_name), key=lambda it: it.key)


def _class_of(spec: Any) -> str:
    stated = spec.get("className") if isinstance(spec, dict) else None
    # What cannot be read is ours, so that somebody hears of it.
    return stated if isinstance(stated, str) else DEFAULT_CLASS


def _tier(
    manifest: Manifest, memory: Memory, observed: Observed, catalogue: Catalogue, _: Tiers, service: Lookup
) -> Result[CompiledTier]:
    def work(report: Report) -> CompiledTier | None:
        spec = _read(report, ModelTierSpec, memory)
        tier = compile_tier(spec, report, observed, memory.namespaces, catalogue, service) if spec else None
        if tier is None or tier.size <= MAX_TIER:
            return tier
        _note_too_large(report, tier.size, MAX_TIER, "Make several tiers of it.")
        return None

    return _guarded(manifest, work)


def _policy(manifest: Manifest, memory: Memory, now: float, tiers: Tiers, _: Lookup) -> Result[CompiledPolicy]:
    def work(report: Report) -> CompiledPolicy | None:
        spec = _read(report, RoutingPolicySpec, memory)
        if spec is None:
            return None
        policy = compile_policy(spec, report, Surroundings(tiers, memory.namespaces, now))
        made = CompiledPolicy(policy, size(policy))
        if made.size <= MAX_POLICY:
            return made
        _note_too_large(report, made.size, MAX_POLICY, "Make several policies of it, or name fewer callers and tiers.")
        return claim(policy, TOO_LARGE)

    policy, found = _guarded(manifest, work)
    if policy is None and (unreadable := unreadable_policy(manifest, memory.namespaces)) is not None:
        policy = claim(unreadable, TOO_LARGE if any(it.reason is Reason.TOO_LARGE for it in found) else INVALID)
    return policy, found


def _guarded(manifest: Manifest, work: Callable[[Report], T | None]) -> tuple[T | None, list[Problem]]:
    report = Report(manifest)
    try:
        return work(report), report.problems
    except Exception as error:  # whatever it is, it is about this object, and the others must go on
        # Only the type: the message may quote the object.
        message = f"the compiler failed with {type(error).__name__}; this is a bug of Weir"
        action = "Report it with this object, without its secrets."
        report.note("", ConditionType.ACCEPTED, Reason.COMPILER_BUG, message, action, Severity.ERROR)
        return None, report.problems


def _read(report: Report, model: type[M], memory: Memory) -> M | None:
    """The spec. One that is so large that nothing usable can come of it is not even looked at."""
    found = size(report.manifest.spec)
    if found <= MAX_SPEC:
        return memory.specs.read(report, model)
    _note_too_large(report, found, MAX_SPEC, "Make several objects of it.")
    return None


def _note_too_large(report: Report, found: int, most: int, action: str) -> None:
    message = f"it would take {found:,} bytes of the routers' config, and may take {most:,}; it is left out"
    report.note("", ConditionType.ACCEPTED, Reason.TOO_LARGE, message, action, Severity.ERROR)


def _crowded_tiers(observed: Observed, tiers: dict[str, CompiledTier], expanded: dict[str, Tier]) -> Iterator[Problem]:
    """Takes away the tiers that have no room, or whose credentials have none."""
    manifests = {it.key: it for it in observed.tiers if str(it.key) in tiers}
    parts = [
        Part(it.key, it.created, _weight(it, _size(tiers[str(it.key)], expanded[str(it.key)])))
        for it in manifests.values()
    ]
    crowded = left_out(parts, TIERS)
    rest = [it for it in manifests.values() if it.key not in crowded]
    for name, why in {**crowded, **_without_credentials(rest, tiers)}.items():
        del tiers[str(name)], expanded[str(name)]
        yield _crowded_out(manifests[name], why, "tiers")


def _size(tier: CompiledTier, expanded: Tier) -> int:
    return tier.size if tier.tier is expanded else size(expanded)


def _without_credentials(manifests: Sequence[Manifest], tiers: Mapping[str, CompiledTier]) -> dict[ObjectName, str]:
    """The tiers of which a credential has no room, each with the reason."""
    parts: dict[ObjectName, Part] = {}  # a credential counts once in a namespace, as old as the oldest tier that has it
    for it in sorted(manifests, key=lambda it: (it.created, it.key)):
        for hashed, value in tiers[str(it.key)].credentials.items():
            name = ObjectName(it.namespace, hashed)
            parts.setdefault(name, Part(name, it.created, len(value) + CREDENTIAL_NAME))
    crowded = left_out(parts.values(), CREDENTIALS)
    named = ((it, (ObjectName(it.namespace, hashed) for hashed in tiers[str(it.key)].credentials)) for it in manifests)
    return {it.key: crowded[name] for it, names in named for name in names if name in crowded} if crowded else {}


def _crowded_policies(
    manifests: Mapping[ObjectName, Manifest], policies: dict[ObjectName, CompiledPolicy]
) -> Iterator[Problem]:
    """Takes away the policies that have no room. They still claim their callers, as far as there is room for that."""
    crowded = left_out(_parts(manifests, policies, policies), POLICIES)
    for name, why in crowded.items():
        policies[name] = claim(policies[name].policy, NO_ROOM)
        yield _crowded_out(manifests[name], why, "policies")
    for name in left_out(_parts(manifests, policies, crowded), CLAIMS):
        del policies[name]


def _parts(
    manifests: Mapping[ObjectName, Manifest], policies: Mapping[ObjectName, CompiledPolicy], names: Iterable[ObjectName]
) -> list[Part]:
    return [Part(it, manifests[it].created, _weight(manifests[it], policies[it].size)) for it in names]


def _weight(manifest: Manifest, bytes_: int) -> int:
    """With its name, which stands beside it, and beside its generation."""
    return bytes_ + 2 * len(manifest.id) + 32


def _crowded_out(manifest: Manifest, why: str, what: str) -> Problem:
    return Problem(
        object=manifest.id,
        field="",
        condition=ConditionType.ACCEPTED,
        reason=Reason.TOO_LARGE,
        message=f"{why}; it is left out",
        action=f"Remove {what} of namespace {manifest.namespace}, make them smaller, or spread them over namespaces.",
        where=manifest.where(""),
    )


def _conflict(conflict: Conflict, manifests: Mapping[ObjectName, Manifest], *, local: bool) -> Problem:
    loser = manifests[ObjectName(conflict.policy.namespace, conflict.policy.name)]
    winner = manifests[ObjectName(conflict.winner.namespace, conflict.winner.name)]
    other = winner.id
    if local:
        place = winner.where("metadata.name")
        why = f"{f' ({place})' if place else ''}; nothing has an age in a directory, so that one goes first by its name"
    else:
        why = ", which is older or comes first by its name and goes first"
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


def _generations(
    observed: Observed, tiers: Mapping[str, CompiledTier], policies: Mapping[ObjectName, Policy]
) -> dict[str, int]:
    used = [it for it in observed.tiers if str(it.key) in tiers] + [
        it for it in observed.policies if it.key in policies
    ]
    return {it.id: it.generation for it in sorted(used, key=lambda it: it.id)}
