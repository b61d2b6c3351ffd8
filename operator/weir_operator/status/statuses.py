"""What was observed, compiled, published and reported → the status of every object. PURE.

Called by the leader's `status.reporter`, which writes what differs from what is there. A status tells nothing
that changes while nobody changes anything: neither revisions nor figures.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir_operator.compile import Compiled, ours
from weir_operator.kube.objects import JSON
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.problems.problem import ConditionType, Problem, Reason, Severity
from weir_operator.schemas import MODEL_TIER
from weir_operator.status.conditions import (
    FALSE,
    GOOD,
    TRUE,
    UNKNOWN,
    Judgement,
    StatusReason,
    by_type,
    conditions,
    judged,
    shortened,
    told,
)
from weir_operator.status.rollout import Rollout
from weir_operator.status.states import CoarseState, backend_states, witnesses
from weir_router.contract import CompiledConfig, Policy

ACCEPTED, RESOLVED, READY = ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS, ConditionType.READY

_NO_CONFIG = (Reason.INVALID_SPEC, Reason.COMPILER_BUG, Reason.TOO_LARGE)
_WHOLE = (Reason.NO_USABLE_BACKENDS, Reason.NO_USABLE_ROUTES, Reason.OBSERVE_WITHOUT_BASELINE)
"""Of an object as a whole: said before what is wrong with its parts."""
_ROUTE = re.compile(r"spec\.routes\[\d+\]")
_REFERENCE = re.compile(r"spec\.(routes\[\d+\]\.tiers\[\d+\]|baseline)")
_IDLE = (CoarseState.DRAINING, CoarseState.DISABLED, CoarseState.UNUSABLE)


def statuses(
    observed: Observed, compiled: Compiled, rollout: Rollout, present: Mapping[str, Any], now: float
) -> list[tuple[Manifest, JSON]]:
    """Every object of our class with the status that it should have.

    `present` are the statuses that are there, by object; `now` is in seconds since the epoch.
    """
    around = _Around(compiled, rollout)
    manifests = (*ours(observed.tiers, observed.class_name), *ours(observed.policies, observed.class_name))
    return [(it, around.status(it, present.get(it.id), now)) for it in manifests]


@dataclass(frozen=True)
class _Subject:
    """An object with what is wrong with it and what its status says now."""

    manifest: Manifest
    problems: Sequence[Problem]
    before: Any

    @property
    def usable(self) -> bool:
        """Whether it could be compiled."""
        return not any(it.reason in _NO_CONFIG for it in self.problems)

    @property
    def conditions(self) -> Mapping[str, JSON]:
        return by_type(self.before)

    @property
    def backends(self) -> dict[str, JSON]:
        listed = self.before.get("backends") if isinstance(self.before, Mapping) else None
        return {it["name"]: it for it in listed or ()}

    def of(self, kind: ConditionType) -> list[Problem]:
        return [it for it in self.problems if it.condition is kind]

    def places(self, kind: ConditionType, place: re.Pattern[str]) -> int:
        """How many places of this form have a problem of this kind."""
        found = (place.match(it.field) for it in self.of(kind))
        return len({match[0] for match in found if match})

    def fault(self) -> Judgement | None:
        """Why it is not ready, as far as it follows from what was observed."""
        if not self.usable:
            return judged(ACCEPTED, self.of(ACCEPTED))
        found = sorted(self.of(READY), key=lambda it: it.reason not in _WHOLE)
        if not found:
            return None
        causes = [it for it in (*self.of(ACCEPTED), *self.of(RESOLVED)) if it.severity is Severity.ERROR]
        # What to do comes first: a column of kubectl has room for one sentence.
        return judged(READY, found)._replace(message=told([*causes, *found]))

    def served(self) -> Judgement:
        """It is ready; says so if not all of it is."""
        lacking = [it for it in (*self.of(ACCEPTED), *self.of(RESOLVED)) if it.severity is Severity.ERROR]
        if not lacking:
            return GOOD[READY]
        return Judgement(TRUE, StatusReason.PARTLY_READY, shortened(f"requests are served, but {told(lacking)}"))


class _Around:
    """What all objects share, sorted by object once."""

    def __init__(self, compiled: Compiled, rollout: Rollout) -> None:
        config = compiled.config
        self._rollout = rollout
        self._tiers = config.tiers
        self._policies = {policy.key: policy for policy in config.policies}
        self._users = _users(config)
        self._witnesses = witnesses(rollout.routers)
        self._problems: dict[str, list[Problem]] = defaultdict(list)
        for problem in compiled.problems:
            self._problems[problem.object].append(problem)

    def status(self, manifest: Manifest, before: Any, now: float) -> JSON:
        """The status of one object."""
        it = _Subject(manifest, self._problems.get(manifest.id, ()), before)
        own, judgements, rest = (self._tier if manifest.kind == MODEL_TIER.kind else self._policy)(it)
        kinds = [(kind, judged(kind, it.of(kind), usable=it.usable)) for kind in (ACCEPTED, RESOLVED, own)]
        stalled = [*_stalled(dict(kinds)[ACCEPTED], judgements[READY])]
        found = conditions([*kinds, *judgements.items(), *stalled], it.conditions, manifest.generation, now)
        return {"observedGeneration": manifest.generation, "conditions": found, **rest}

    def _tier(self, it: _Subject) -> _Judged:
        key = str(it.manifest.key)
        programmed = self._programmed(it, self._users.get(key, frozenset()))
        if not it.usable:
            return ConditionType.PRICED, _pair(programmed, it.fault()), {}
        names = [backend["name"] for backend in it.manifest.spec["backends"]]
        before = {} if self._rollout.settled else it.backends
        states = backend_states(names, self._tiers[key], it.problems, self._witnesses, before)
        count = f"{sum(_takes_requests(state) for state in states)}/{len(states)}"
        ready = it.fault() or _nothing_active(states) or _waits_for(programmed) or _nothing_healthy(states)
        rest = {"backendsReady": count, "backends": states}
        return ConditionType.PRICED, _pair(programmed, ready or it.served()), rest

    def _policy(self, it: _Subject) -> _Judged:
        policy = self._policies.get(str(it.manifest.key))
        programmed = self._programmed(it, _named(policy) if policy else frozenset())
        if not it.usable:
            return ConditionType.CONFLICTED, _pair(programmed, it.fault()), {}
        spec = it.manifest.spec
        routes, references = len(spec["routes"]), sum(len(route["tiers"]) for route in spec["routes"])
        references += spec.get("baseline") is not None
        tiers = f"{references - it.places(RESOLVED, _REFERENCE)}/{references}"
        ready = it.fault() or _waits_for(programmed) or it.served()
        rest = {"routesReady": f"{routes - it.places(READY, _ROUTE)}/{routes}", "tiersReady": tiers}
        return ConditionType.CONFLICTED, _pair(programmed, ready), rest

    def _programmed(self, it: _Subject, namespaces: frozenset[str] | None) -> Judgement:
        if not it.usable:
            return Judgement(FALSE, StatusReason.NOT_ACCEPTED, "there is nothing to run: see Accepted")
        before = it.conditions.get(ConditionType.PROGRAMMED.value, {})
        return self._rollout.programmed(it.manifest.id, it.manifest.generation, before, namespaces)


_Judged = tuple[ConditionType, dict[ConditionType, Judgement], dict[str, Any]]
"""The condition that only this kind has, what two others say, and the other fields of the status."""


def _pair(programmed: Judgement, ready: Judgement | None) -> dict[ConditionType, Judgement]:
    assert ready is not None
    return {ConditionType.PROGRAMMED: programmed, READY: ready}


def _stalled(accepted: Judgement, ready: Judgement) -> Iterator[tuple[ConditionType, Judgement]]:
    """Nothing but another spec will make it ready: who waits for that, such as Flux, need not go on waiting."""
    if accepted.status is FALSE and ready.status is FALSE:
        yield ConditionType.STALLED, accepted._replace(status=TRUE)


def _waits_for(programmed: Judgement) -> Judgement | None:
    """Ready follows Programmed: what no router runs serves nobody."""
    if programmed.status is TRUE:
        return None
    under_way = programmed.reason in (StatusReason.PENDING, StatusReason.WAITING)
    return programmed._replace(status=UNKNOWN if under_way else FALSE)


def _takes_requests(state: JSON) -> bool:
    return state["state"] not in (*_IDLE, CoarseState.UNHEALTHY)


def _nothing_active(states: Sequence[JSON]) -> Judgement | None:
    if any(it["state"] not in _IDLE for it in states):
        return None
    message = "no backend that can be used has state: Active; set one to Active"
    return Judgement(FALSE, StatusReason.NO_ACTIVE_BACKENDS, message)


def _nothing_healthy(states: Sequence[JSON]) -> Judgement | None:
    if any(map(_takes_requests, states)):
        return None
    names = [f"{it['name']}: {it.get('reason', 'no reason was given')}" for it in states if it["state"] not in _IDLE]
    message = f"all routers leave every backend alone ({', '.join(names)}); they probe them, and see to the provider"
    return Judgement(FALSE, StatusReason.NO_HEALTHY_BACKENDS, shortened(message))


def _named(policy: Policy) -> frozenset[str] | None:
    """The namespaces of its callers; None: all."""
    rules = [rule.namespaces for rule in policy.callers]
    return None if None in rules else frozenset(name for rule in rules for name in rule or ())


def _users(config: CompiledConfig) -> dict[str, frozenset[str] | None]:
    """The namespaces whose callers may use a tier, by tier; None: all."""
    found: dict[str, frozenset[str] | None] = {}
    for policy in config.policies:
        names = _named(policy)
        for tier in {ref.tier for ref in policy.references()}:
            others = found.get(tier, frozenset())
            found[tier] = None if names is None or others is None else names | others
    return found
