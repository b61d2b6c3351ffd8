"""RoutingPolicy → `contract.Policy`. Pure; the step of one policy, after the tiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec.structs import replace as replaced
from pydantic import ValidationError

from weir_operator.compile.callers import caller_rules, limit
from weir_operator.compile.report import Report
from weir_operator.compile.room import MAX_POLICY, size, too_large
from weir_operator.compile.step import Around
from weir_operator.kinds.modeltier import MODEL_TIER
from weir_operator.kinds.modeltier.compile import OTHER_CLASS, CompiledTier
from weir_operator.kinds.routingpolicy import schema
from weir_operator.kinds.routingpolicy.checks import (
    POLICY_CHECKS,
    REFERENCE_CHECKS,
    ROUTE_CHECKS,
    PolicyFacts,
    ReferenceFacts,
    RouteFacts,
    models_for_vectors,
    same_askers,
)
from weir_operator.kinds.routingpolicy.consent import Served, foreign_tiers, served, with_tiers
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest
from weir_operator.problems.finding import Verdict, findings, removed
from weir_operator.problems.problem import Reason
from weir_operator.schemas.common import MAX_RULES, MAX_TEXT, CallerRuleSpec, From, TierReference, seconds, timestamp
from weir_operator.schemas.rules import Model, unstated
from weir_router import contract
from weir_router.contract.conditions import KEEPS_OLDER_OUT, covers

M = TypeVar("M", bound=Model)

INVALID = "its spec is not valid"
TOO_LARGE = "it is larger than a policy may be"
"""Answers to callers of a policy that cannot be used; its owner gets more."""


UNREAD = "its namespace has too many policies"
"""The same, for one whose spec was not read."""


_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]


class _Named(msgspec.Struct):
    name: _Text | None = None
    prefix: _Text | None = None


class CompiledPolicy(NamedTuple):
    """A policy, and its bytes as JSON."""

    policy: contract.Policy
    size: int


def compile_one(spec: schema.RoutingPolicySpec, report: Report, around: Around) -> CompiledPolicy:
    """The policy; one that is too large only claims its callers."""
    policy = compile_policy(spec, report, around)
    made = CompiledPolicy(policy, size(policy))
    if made.size <= MAX_POLICY:
        return made
    too_large(report, made.size, MAX_POLICY, "Make several policies of it, or name fewer callers and tiers.")
    return claim(policy, TOO_LARGE)


def unusable(report: Report, around: Around) -> CompiledPolicy | None:
    """The claim of a policy that cannot be read or compiled."""
    policy = unreadable_policy(report.manifest, around)
    if policy is None:
        return None
    return claim(policy, TOO_LARGE if any(it.reason == Reason.TOO_LARGE for it in report.problems) else INVALID)


def unread(manifest: Manifest, around: Around) -> CompiledPolicy | None:
    """The claim of a policy for whose spec there is no room: its models, and callers of its own namespace."""
    stated = manifest.spec.get("models") if isinstance(manifest.spec, dict) else None
    read = stated[: schema.MAX_MODELS] if isinstance(stated, list) else []
    try:
        listed = [it for it in msgspec.convert(read, list[_Named]) if it.name or it.prefix]
    except msgspec.ValidationError:
        return None
    if not listed:
        return None
    policy = contract.Policy(
        namespace=manifest.namespace,
        name=manifest.name,
        models=_names(listed),
        prefixes=_prefixes(listed),
        callers=(contract.CallerRule(namespaces=frozenset((manifest.namespace,))),),
        not_ready=UNREAD,
        created=manifest.created,
        rank=around.consents.rank(manifest.namespace),
    )
    return CompiledPolicy(policy, size(policy))


def has_override(spec: Any) -> bool:
    """Whether the policy may change as time passes: overrides end, whether anything else changes or not."""
    return isinstance(spec, dict) and spec.get("override") is not None


def compile_policy(spec: schema.RoutingPolicySpec, report: Report, around: Around) -> contract.Policy:
    """The policy with what of it can be used; what is wrong goes to `report`."""
    manifest = report.manifest
    references = _References(report, around)
    routes = _routes(spec, references)
    baseline = references.resolve(spec.baseline, "spec.baseline", Verdict.WARN)
    until = timestamp(spec.override.until) if spec.override else None
    override = None
    if spec.override and until is not None and until > around.now:
        tier = references.resolve(spec.override.tier, "spec.override.tier")
        override = contract.Override(tier=tier, until=until) if tier else None
    facts = PolicyFacts(
        mode=spec.mode,
        routes=routes,
        has_baseline=baseline is not None,
        selects_unknown=around.namespaces is None and _selects(spec),
        overridden=override is not None,
        override_until=until,
        now=around.now,
        namespace=manifest.namespace,
        shared_keys=around.shared_keys.get(manifest.namespace, ()),
    )
    found = findings(POLICY_CHECKS, facts)
    report.add("spec", found)
    callers = _callers(spec.callers, manifest.namespace, around)
    report.add("spec", callers.findings)
    for number, stated in enumerate(spec.routes):
        if stated.when and stated.when.user_tiers:
            report.add(f"spec.routes[{number}]", foreign_tiers(callers.rules, manifest.namespace, around.consents))
    limits = spec.limits
    return contract.Policy(
        namespace=manifest.namespace,
        name=manifest.name,
        models=_names(spec.models),
        prefixes=_prefixes(spec.models),
        callers=callers.rules,
        routes=routes,
        not_ready=next((it.message for it in found if it.verdict is Verdict.REMOVE), None),
        created=manifest.created,
        rank=around.consents.rank(manifest.namespace),
        mode=spec.mode,
        baseline=baseline,
        min_confidence=float(spec.classifier.min_confidence),
        failover=_failover(spec.failover),
        queue=_queue(spec.queue or unstated(schema.QueueSpec)),
        override=override,
        limits=limit(f"policy/{manifest.key}", limits),
        max_request_bytes=limits.request_bytes if limits else None,
        prompt_logging=spec.prompt_logging,
    )


def _names(models: Sequence[schema.ModelName | _Named]) -> tuple[str, ...]:
    """The exact names."""
    return tuple(dict.fromkeys(it.name for it in models if it.name and it.name != schema.ANY_NAME))


def _prefixes(models: Sequence[schema.ModelName | _Named]) -> tuple[str, ...]:
    """The prefixes; that of `*`, which is every name, is empty."""
    prefixes = ("" if it.name == schema.ANY_NAME else it.prefix for it in models)
    return tuple(dict.fromkeys(it for it in prefixes if it is not None))


def _callers(rules: Sequence[CallerRuleSpec], own: str, around: Around) -> Served:
    stated = (rule.namespaces.from_ is From.NAMES for rule in rules)
    return served(caller_rules(rules, own, around.namespaces), own, stated, around.consents)


def _failover(stated: schema.FailoverSpec) -> contract.Failover:
    budget = stated.retry_budget
    return contract.Failover(
        attempts=stated.attempts,
        deadline=seconds(stated.deadline),
        retry_budget=None if budget is None else contract.RetryBudget(**dict(budget)),
        tier_delay=seconds(stated.tier_delay or schema.DEFAULT_TIER_DELAY),
        keep_alive=seconds(stated.keep_alive or schema.DEFAULT_KEEP_ALIVE),
    )


def _queue(stated: schema.QueueSpec) -> contract.Queue:
    return contract.Queue(priority=stated.priority, wait=None if stated.wait is None else seconds(stated.wait))


class _References:
    """Resolves references to tiers from one policy's namespace."""

    def __init__(self, report: Report, around: Around) -> None:
        self.namespace = report.manifest.namespace
        self.report = report
        self.around = around
        self.tiers: dict[str, CompiledTier] = {}  # those that were found, by `namespace/name`
        self._found: dict[str, contract.TierRef | None] = {}  # of all that are named; routes name the same

    def resolve(
        self,
        reference: TierReference | None,
        path: str,
        worst: Verdict | None = None,
        seen: frozenset[str] = frozenset(),
    ) -> contract.TierRef | None:
        """The tier as it is granted; None where it cannot be used, which is then reported."""
        if reference is None:
            return None
        name = ObjectName(reference.namespace or self.namespace, reference.name)
        key = str(name)
        if key not in self._found:
            self._find(name, key)
        tier, granted = self.tiers.get(key), self._found[key]
        ready = tier is not None and bool(tier.tier.backends)
        facts = ReferenceFacts(
            key,
            self.namespace,
            granted=granted is not None,
            ready=ready,
            repeated=key in seen,
            class_name=self.around.observed.class_name,
            other_class=self.around.look(OTHER_CLASS, name, self.namespace) if tier is None else None,
        )
        found = findings(REFERENCE_CHECKS, facts)
        self.report.add(path, [it._replace(verdict=worst) for it in found] if worst else found)
        return granted if not found else None

    def _find(self, name: ObjectName, key: str) -> None:
        tier = cast("CompiledTier | None", self.around.look(MODEL_TIER.kind, name))
        self._found[key] = tier.reference(self.namespace) if tier is not None else None
        if tier is not None:
            self.tiers[key] = tier


def _routes(spec: schema.RoutingPolicySpec, references: _References) -> tuple[contract.Route, ...]:
    kept: list[contract.Route] = []
    embedding: list[tuple[contract.Route, list[str]]] = []  # with their models
    for number, stated in enumerate(spec.routes):
        path = f"spec.routes[{number}]"
        route = _route(stated, path, references)
        shadow = next((earlier.name for earlier in kept if covers(earlier.when, route.when)), None)
        targets = {it.tier: references.tiers[it.tier].tier for it in route.tiers}
        vectors = models_for_vectors(route, targets)
        others = (it.name for it, known in embedding if vectors and known != vectors and same_askers(it, route))
        found = findings(ROUTE_CHECKS, RouteFacts(route, targets, shadow, next(others, None)))
        references.report.add(path, found)
        if not removed(found):
            kept.append(route)
            embedding += [(route, vectors)] if vectors else []
    return tuple(kept)


def _route(stated: schema.RouteSpec, path: str, references: _References) -> contract.Route:
    tiers: list[contract.TierRef] = []
    for number, reference in enumerate(stated.tiers):
        seen = frozenset(it.tier for it in tiers)
        tier = references.resolve(reference, f"{path}.tiers[{number}]", seen=seen)
        if tier is not None:
            tiers.append(tier)
    when = stated.when or unstated(schema.WhenSpec)
    require = dict(when.require.labels) if when.require else {}
    return contract.Route(name=stated.name, tiers=tuple(tiers), when=_when(when, references), require=require)


def _when(stated: schema.WhenSpec, references: _References) -> contract.When:
    tokens = stated.prompt_tokens or unstated(schema.PromptTokens)
    own, around = references.namespace, references.around
    callers = caller_rules(stated.callers or (), own, around.namespaces)
    operations = frozenset(stated.operations or ())
    return contract.When(
        complexity=frozenset(stated.complexity or ()),
        min_prompt_tokens=tokens.min,
        max_prompt_tokens=tokens.max,
        capabilities=frozenset(stated.capabilities or ()),
        headers=_headers(stated, operations),
        callers=with_tiers(callers, own, around.consents) if stated.user_tiers else callers,
        user_tiers=frozenset(stated.user_tiers or ()),
        features=frozenset(stated.features or ()),
        times=tuple(
            contract.TimeWindow(
                zone=window.time_zone,
                days=frozenset(window.days or ()),
                start=schema.minutes(window.from_),
                end=schema.minutes(window.to),
            )
            for window in stated.times or ()
        ),
        max_latency_budget=seconds(stated.latency_budget.max) if stated.latency_budget else None,
        operations=operations,
    )


def _headers(stated: schema.WhenSpec, operations: frozenset[contract.Operation]) -> tuple[contract.HeaderMatch, ...]:
    headers = [
        contract.HeaderMatch(name=header.name.lower(), exact=header.exact, prefix=header.prefix)
        for header in stated.headers or ()
    ]
    if operations and contract.Operation.CHAT not in operations:
        headers.append(KEEPS_OLDER_OUT)
    return tuple(headers)


def _selects(spec: schema.RoutingPolicySpec) -> bool:
    rules = [*spec.callers, *(rule for route in spec.routes if route.when for rule in route.when.callers or ())]
    return any(rule.namespaces.from_ is From.SELECTOR for rule in rules)


def unreadable_policy(manifest: Manifest, around: Around) -> contract.Policy | None:
    """A policy that cannot be used still claims the callers and models that can be read from it, and refuses them.

    Otherwise they would fall through to another namespace's policy. None where no model can be read.
    """
    listed = [it for it in _readable(schema.ModelName, manifest.spec, "models", schema.MAX_MODELS) if it]
    if not listed:
        return None
    rules = _readable(CallerRuleSpec, manifest.spec, "callers", MAX_RULES)
    # Where a rule cannot be read its own namespace is claimed: that is what most rules mean.
    readable = [rule or CallerRuleSpec() for rule in rules] or [CallerRuleSpec()]
    return contract.Policy(
        namespace=manifest.namespace,
        name=manifest.name,
        models=_names(listed),
        prefixes=_prefixes(listed),
        callers=_callers(readable, manifest.namespace, around).rules,
        not_ready=INVALID,
        created=manifest.created,
        rank=around.consents.rank(manifest.namespace),
    )


def claim(policy: contract.Policy, why: str) -> CompiledPolicy:
    """The remains of a policy that cannot be used: small, and it refuses its callers.

    If its callers are too many, only those of its own namespace are left.
    """
    rest = contract.Policy(
        namespace=policy.namespace,
        name=policy.name,
        models=policy.models[: schema.MAX_MODELS],
        prefixes=policy.prefixes,
        callers=policy.callers,
        not_ready=why,
        created=policy.created,
        rank=policy.rank,
    )
    if size(rest) > MAX_POLICY:
        rest = replaced(rest, callers=(contract.CallerRule(namespaces=frozenset((policy.namespace,))),))
    return CompiledPolicy(rest, size(rest))


def _readable(model: type[M], spec: Any, field: str, most: int) -> list[M | None]:
    items = spec.get(field) if isinstance(spec, dict) else None
    return [_or_none(model, item) for item in items[:most]] if isinstance(items, list) else []


def _or_none(model: type[M], item: Any) -> M | None:
    try:
        return model.model_validate(item)
    except ValidationError:
        return None
