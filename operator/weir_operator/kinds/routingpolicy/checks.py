"""The named checks of a policy, its routes and references: each looks at one thing and gives a finding, or None. Pure.

A finding's verdict says whether the policy, route or reference stays. The lists at the end of each section are the
table of contents; `kinds.routingpolicy.compile` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weir_operator.compile.callers import namespaces_are_unknown
from weir_operator.problems.finding import Check, Finding, Verdict
from weir_operator.problems.problem import ConditionType, Reason
from weir_operator.schemas.common import DEFAULT_CLASS
from weir_router.contract import CONVERSATIONS, Backend, BackendState, Mode, Operation, Route, Tier
from weir_router.contract.conditions import KEEPS_OLDER_OUT
from weir_router.contract.embeddings import embedding_models

MODELS_SHOWN = 3
"""Models that a message names."""

# --- references to tiers


@dataclass(frozen=True)
class ReferenceFacts:
    """A reference to a tier, from a namespace."""

    tier: str  # "namespace/name"
    namespace: str  # the policy's
    granted: bool  # exists, and grants that namespace: the status never distinguishes the two
    ready: bool
    repeated: bool = False
    class_name: str = DEFAULT_CLASS  # the policy's
    other_class: str | None = None  # of a tier of that name that another installation serves, and that grants it


def tier_is_missing_or_not_granted(it: ReferenceFacts) -> Finding | None:
    """One reason and one message for both: status is no oracle for what exists elsewhere."""
    if it.granted:
        return None
    stated = f" of className {it.class_name}" if it.other_class or it.class_name != DEFAULT_CLASS else ""
    message = f"there is no ModelTier {it.tier}{stated} that grants namespace {it.namespace}"
    action = f"Check the name, or ask the owner of {it.tier} for a grant to namespace {it.namespace}."
    if it.other_class is not None:
        message += f"; the one of that name has className {it.other_class}"
        action = f"A policy routes to tiers of its own className: make it anew with className {it.other_class}, "
        action += f"or ask the owner for a tier of className {it.class_name}."
    return Finding(Reason.TIER_NOT_FOUND_OR_NOT_GRANTED, message, Verdict.REMOVE, ConditionType.RESOLVED_REFS, action)


def tier_is_not_ready(it: ReferenceFacts) -> Finding | None:
    """Only said of a granted tier."""
    if it.ready:
        return None
    message, action = f"ModelTier {it.tier} has no usable backend", f"See the problems of ModelTier {it.tier}."
    return Finding(Reason.TIER_NOT_READY, message, Verdict.REMOVE, ConditionType.RESOLVED_REFS, action)


def tier_is_repeated(it: ReferenceFacts) -> Finding | None:
    """A second mention would never be reached."""
    if not it.repeated:
        return None
    message, action = f"ModelTier {it.tier} stands in this route already", "Remove the second mention."
    return Finding(Reason.TIER_REPEATED, message, Verdict.WARN, ConditionType.ACCEPTED, action)


REFERENCE_CHECKS: tuple[Check[ReferenceFacts], ...] = (
    tier_is_missing_or_not_granted,
    tier_is_not_ready,
    tier_is_repeated,
)


# --- routes


@dataclass(frozen=True)
class RouteFacts:
    """A route with what survived of its tiers, and the routes before it."""

    route: Route
    tiers: Mapping[str, Tier]
    shadowed_by: str | None = None  # name of an earlier route that takes all of its requests
    other_vectors: str | None = None  # name of an earlier route that embeds for the same callers with another model


def route_has_no_tiers(it: RouteFacts) -> Finding | None:
    """It removes itself and later routes take its requests; one with `require` stays and refuses them."""
    if it.route.tiers:
        return None
    if it.route.require:
        message = f"route '{it.route.name}' has no tier left; because of require its requests are refused"
        verdict = Verdict.FAULTY
    else:
        message, verdict = f"route '{it.route.name}' has no tier left and is left out", Verdict.REMOVE
    action = "See what is wrong with each of its tiers."
    return Finding(Reason.ROUTE_WITHOUT_TIERS, message, verdict, ConditionType.READY, action, ".tiers")


def route_cannot_be_served(it: RouteFacts) -> Finding | None:
    """It stays: leaving it out would send its requests where `require` or `capabilities` do not hold."""
    backends = [backend for reference in it.route.tiers for backend in it.tiers[reference.tier].backends]
    if not backends or any(serves(backend, it.route) for backend in backends):
        return None
    message = (
        f"no backend of route '{it.route.name}' is Active and has the endpoints, labels, capabilities and context that "
        "it asks"
    )
    action = "Compare when.operations, when.require, when.capabilities and when.promptTokens with the backends of its "
    action += "tiers."
    return Finding(Reason.ROUTE_CANNOT_BE_SERVED, message, Verdict.FAULTY, ConditionType.READY, action)


def serves(backend: Backend, route: Route) -> bool:
    """Whether the backend could take some request of this route."""
    return (
        backend.state is BackendState.ACTIVE
        and route.require.items() <= backend.labels.items()
        and any(it in CONVERSATIONS or it in backend.endpoints for it in route.when.operations or CONVERSATIONS)
        and (backend.capabilities is None or route.when.capabilities <= backend.capabilities)
        and (_context(backend) is None or (route.when.min_prompt_tokens or 0) <= (_context(backend) or 0))
    )


def _context(backend: Backend) -> int | None:
    return backend.limits.effective_context_tokens or backend.limits.context_tokens


def route_is_shadowed(it: RouteFacts) -> Finding | None:
    """First match wins, so nothing ever gets to it."""
    if it.shadowed_by is None:
        return None
    message = f"route '{it.route.name}' is never reached: '{it.shadowed_by}' before it takes all of its requests"
    action = "Put it further up, or remove it."
    return Finding(Reason.ROUTE_SHADOWED, message, Verdict.WARN, ConditionType.ACCEPTED, action)


def route_mixes_embeddings(it: RouteFacts) -> Finding | None:
    """It stays, for its other operations; routers refuse embeddings on it, since vectors of two models cannot be
    compared.
    """
    if Operation.EMBEDDINGS not in it.route.when.operations:
        return None
    models = models_for_vectors(it.route, it.tiers)
    if len(models) < 2:
        return None
    message = f"route '{it.route.name}' has {len(models)} models for embeddings: {', '.join(models[:MODELS_SHOWN])}; "
    message += "their vectors cannot be compared, so it answers none"
    action = "Keep one model for embeddings in all tiers of the route, and give each other one a policy of its own; "
    action += "deployments of one model share its name by baseModel."
    return Finding(Reason.MIXED_EMBEDDINGS, message, Verdict.FAULTY, ConditionType.ACCEPTED, action, ".tiers")


def models_for_vectors(route: Route, tiers: Mapping[str, Tier]) -> list[str]:
    """The models for embeddings of a route that serves them."""
    if Operation.EMBEDDINGS not in route.when.operations:
        return []
    backends = [backend for reference in route.tiers for backend in tiers[reference.tier].backends]
    return embedding_models(backends, route.require)


def same_askers(one: Route, other: Route) -> bool:
    """Whether nothing about the caller separates two routes, only what is asked and when."""
    ours, theirs = (
        (it.callers, it.user_tiers, it.features, [header for header in it.headers if header != KEEPS_OLDER_OUT])
        for it in (one.when, other.when)
    )
    return ours == theirs


def routes_mix_embeddings(it: RouteFacts) -> Finding | None:
    """Warns of two routes that embed the texts of one caller with two models, for example by their length."""
    if it.other_vectors is None:
        return None
    message = f"routes '{it.other_vectors}' and '{it.route.name}' have different models for embeddings and the same "
    message += "callers, so one name gives vectors that cannot be compared"
    action = "Keep one model for embeddings, and give each other one a policy of its own."
    return Finding(Reason.MIXED_EMBEDDINGS, message, Verdict.WARN, ConditionType.ACCEPTED, action, ".tiers")


def conversations_reach_other_endpoints(it: RouteFacts) -> Finding | None:
    """Warns of a model for vectors, pictures or the like that also gets chats, which it would fail. Known capabilities,
    stated or from the catalogue, are those of a model for conversations.
    """
    operations = it.route.when.operations or CONVERSATIONS
    if not operations & CONVERSATIONS:
        return None
    for reference in it.route.tiers:
        for backend in it.tiers[reference.tier].backends:
            special = [name for name in backend.endpoints if name != Operation.COMPLETIONS]
            if special and backend.capabilities is None and serves(backend, it.route):
                message = f"route '{it.route.name}' sends conversations to {reference.tier}/{backend.name}, "
                message += f"which lists {', '.join(special)}"
                action = f"Give the route when.operations, e.g. [{special[0]}], and conversations a route to other "
                action += "backends; or state the backend's capabilities, if its model answers conversations, too."
                where = ConditionType.ACCEPTED
                return Finding(Reason.CONVERSATIONS_MISROUTED, message, Verdict.WARN, where, action, ".tiers")
    return None


ROUTE_CHECKS: tuple[Check[RouteFacts], ...] = (
    route_has_no_tiers,
    route_cannot_be_served,
    route_mixes_embeddings,
    routes_mix_embeddings,
    conversations_reach_other_endpoints,
    route_is_shadowed,
)


# --- policies


@dataclass(frozen=True)
class PolicyFacts:
    """A policy with what survived of it."""

    mode: Mode
    routes: tuple[Route, ...]
    has_baseline: bool
    selects_unknown: bool  # selects namespaces by labels while no namespace is known
    overridden: bool  # break-glass holds and its tier can be used: the policy answers in spite of other problems
    override_until: float | None
    now: float
    namespace: str = ""
    shared_keys: tuple[str, ...] = ()  # Secrets of its namespace whose key another namespace holds, too

    @property
    def verdict(self) -> Verdict:
        """The verdict of a problem that would keep it from answering."""
        return Verdict.FAULTY if self.overridden else Verdict.REMOVE


def override_has_expired(it: PolicyFacts) -> Finding | None:
    """It ended by itself; routes decide again."""
    if it.override_until is None or it.now < it.override_until:
        return None
    message, action = "the override has expired and does nothing", "Remove it."
    return Finding(Reason.OVERRIDE_EXPIRED, message, Verdict.WARN, ConditionType.ACCEPTED, action, ".override.until")


def holds_a_shared_key(it: PolicyFacts) -> Finding | None:
    """Warns the owner of a key: another namespace knows its hash, or has a copy of the whole key."""
    if not it.shared_keys:
        return None
    name = it.shared_keys[0]
    message = f"Secret {name} of this namespace holds a key that a Secret of another namespace holds too"
    message += "; it stays the key of the older Secret, and where both are of the same age it is refused"
    action = f"Make a new one: weir key create {name} --namespace {it.namespace}"
    return Finding(Reason.API_KEY_REPEATED, message, Verdict.WARN, ConditionType.ACCEPTED, action)


def has_no_routes(it: PolicyFacts) -> Finding | None:
    """Its callers get 503 policy_not_ready."""
    if any(route.tiers for route in it.routes):
        return None
    message, action = "no route can be used", "See what is wrong with each route."
    return Finding(Reason.NO_USABLE_ROUTES, message, it.verdict, ConditionType.READY, action, ".routes")


def observes_without_baseline(it: PolicyFacts) -> Finding | None:
    """Finds `mode: Observe` without a baseline, to which everything would go."""
    if it.mode is not Mode.OBSERVE or it.has_baseline:
        return None
    message = "mode is Observe, which sends everything to the baseline, and there is no usable baseline"
    action = "Set baseline to a tier that grants this namespace, or mode to Enforce."
    return Finding(Reason.OBSERVE_WITHOUT_BASELINE, message, it.verdict, ConditionType.READY, action, ".baseline")


POLICY_CHECKS: tuple[Check[PolicyFacts], ...] = (
    holds_a_shared_key,
    namespaces_are_unknown,
    override_has_expired,
    has_no_routes,
    observes_without_baseline,
)
