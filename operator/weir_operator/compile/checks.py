"""The named checks behind each condition: each looks at one thing and gives a finding, or None.

Run by `weir_operator.compile`, which decides nothing itself: a finding's verdict says whether what was looked at goes
or stays. Pure. The lists at the end of each section are the table of contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weir_operator.compile.hosts import forbidden
from weir_operator.compile.room import MAX_CREDENTIAL
from weir_operator.compile.service_checks import SERVICE_CHECKS, ServiceFacts
from weir_operator.observe.observed import CREDENTIAL_LABEL, SecretData
from weir_operator.problems.finding import Check, Finding, Verdict
from weir_operator.problems.problem import ConditionType, Reason
from weir_operator.schemas.modeltier import SecretReference
from weir_router.contract import Backend, BackendState, Mode, Price, Route, Tier

# --- backends


@dataclass(frozen=True)
class BackendFacts:
    """What is looked at before a backend is used."""

    namespace: str
    base_url: str
    model: str
    price: Price | None
    reference: SecretReference | None = None  # None: the backend wants no credentials
    secret: SecretData | None = None  # None: there is no such Secret
    value: str | None = None  # the credential, wherever it came from
    service: ServiceFacts | None = None  # None: no Service is referred to
    api_servers: frozenset[str] = frozenset()  # addresses of the API server

    @property
    def secret_name(self) -> str:
        """`namespace/name` of the Secret."""
        return f"{self.namespace}/{self.reference.name}" if self.reference else ""


_SECRET = ".credentials.secretRef"


def host_is_forbidden(it: BackendFacts) -> Finding | None:
    """Whoever can make a ModelTier could otherwise send any key anywhere."""
    what = forbidden(it.base_url, it.api_servers)
    if what is None:
        return None
    message = f"{it.base_url} is {what}; Weir sends nothing there"
    action = "Give the address of a model provider."
    field = ".backendRef" if it.service else ".baseURL"
    return Finding(Reason.HOST_FORBIDDEN, message, Verdict.REMOVE, ConditionType.ACCEPTED, action, field)


def of_its_service(check: Check[ServiceFacts]) -> Check[BackendFacts]:
    """The check, of a backend that is a Service."""

    def checked(it: BackendFacts) -> Finding | None:
        return check(it.service) if it.service is not None else None

    return checked


def secret_is_missing(it: BackendFacts) -> Finding | None:
    """A Secret that the operator does not see is one without the label, or none at all."""
    if it.reference is None or it.secret is not None or it.value is not None:
        return None
    message = f'there is no Secret {it.secret_name} with the label {CREDENTIAL_LABEL}: "true"'
    action = f"Create it in namespace {it.namespace}, with that label."
    return Finding(
        Reason.SECRET_NOT_FOUND, message, Verdict.REMOVE, ConditionType.RESOLVED_REFS, action, f"{_SECRET}.name"
    )


def secret_does_not_consent(it: BackendFacts) -> Finding | None:
    """The label is the Secret's own consent to be sent to a provider."""
    if it.secret is None or it.secret.labels.get(CREDENTIAL_LABEL) == "true":
        return None
    message = f'Secret {it.secret_name} lacks the label {CREDENTIAL_LABEL}: "true", by which it consents'
    action = f"kubectl -n {it.namespace} label secret {it.secret_name.partition('/')[2]} {CREDENTIAL_LABEL}=true"
    return Finding(
        Reason.SECRET_NOT_LABELLED, message, Verdict.REMOVE, ConditionType.RESOLVED_REFS, action, f"{_SECRET}.name"
    )


def secret_lacks_the_key(it: BackendFacts) -> Finding | None:
    """Names the key that is looked for, not those that are there."""
    if it.reference is None or it.value is not None:
        return None
    message = f"Secret {it.secret_name} has no key '{it.reference.key}'"
    action = "Add the key to the Secret, or correct secretRef.key."
    return Finding(
        Reason.SECRET_KEY_NOT_FOUND, message, Verdict.REMOVE, ConditionType.RESOLVED_REFS, action, f"{_SECRET}.key"
    )


def value_is_too_large(it: BackendFacts) -> Finding | None:
    """All credentials of an installation share one Secret."""
    if it.value is None or len(it.value) <= MAX_CREDENTIAL:
        return None
    name = f"key '{it.reference.key}' of Secret {it.secret_name}" if it.reference else "the credential"
    message = f"{name} has more than {MAX_CREDENTIAL:,} bytes"
    action = "Store the API key alone; no provider's is as long as that."
    return Finding(
        Reason.SECRET_VALUE_TOO_LARGE, message, Verdict.REMOVE, ConditionType.RESOLVED_REFS, action, f"{_SECRET}.key"
    )


def value_is_unusable(it: BackendFacts) -> Finding | None:
    """It goes into an HTTP header, where other characters would at best be refused."""
    if it.value is None or (it.value.isascii() and it.value.isprintable() and it.value.strip() == it.value != ""):
        return None
    name = f"key '{it.reference.key}' of Secret {it.secret_name}" if it.reference else "the credential"
    message = f"{name} is empty or has characters that no HTTP header can carry"
    action = "Store the API key alone: printable ASCII on one line."
    return Finding(
        Reason.SECRET_VALUE_UNUSABLE, message, Verdict.REMOVE, ConditionType.RESOLVED_REFS, action, f"{_SECRET}.key"
    )


def price_is_unknown(it: BackendFacts) -> Finding | None:
    """Usable, but last in cost order."""
    if it.price is not None:
        return None
    message = f"neither spec nor catalogue has input and output prices of '{it.model}'; it comes last in cost order"
    action = 'Set price: {input: "...", output: "..."}, in US dollars per million tokens.'
    return Finding(Reason.PRICE_UNKNOWN, message, Verdict.WARN, ConditionType.PRICED, action, ".price")


BACKEND_CHECKS: tuple[Check[BackendFacts], ...] = (
    host_is_forbidden,
    *map(of_its_service, SERVICE_CHECKS),
    secret_is_missing,
    secret_does_not_consent,
    secret_lacks_the_key,
    value_is_too_large,
    value_is_unusable,
    price_is_unknown,
)


# --- tiers


@dataclass(frozen=True)
class TierFacts:
    """A tier with what survived of it."""

    tier: Tier
    selects_unknown: bool  # selects namespaces by labels while no namespace is known


def namespaces_are_unknown(it: TierFacts | PolicyFacts) -> Finding | None:
    """Unknown is not empty: the selector may well match later."""
    if not it.selects_unknown:
        return None
    message = "namespaces and their labels are not known, so selectors match none of them"
    action = "Let Weir list namespaces, or name them with from: Names."
    return Finding(Reason.NAMESPACES_UNKNOWN, message, Verdict.WARN, ConditionType.RESOLVED_REFS, action)


def no_backend_is_usable(it: TierFacts) -> Finding | None:
    """References to it then remove themselves."""
    if it.tier.backends:
        return None
    message, action = "no backend can be used", "See what is wrong with each backend."
    return Finding(Reason.NO_USABLE_BACKENDS, message, Verdict.REMOVE, ConditionType.READY, action, ".backends")


TIER_CHECKS: tuple[Check[TierFacts], ...] = (namespaces_are_unknown, no_backend_is_usable)


# --- references to tiers


@dataclass(frozen=True)
class ReferenceFacts:
    """A reference to a tier, from a namespace."""

    tier: str  # "namespace/name"
    namespace: str  # the policy's
    granted: bool  # exists, and grants that namespace: the two are never told apart
    ready: bool
    repeated: bool = False


def tier_is_missing_or_not_granted(it: ReferenceFacts) -> Finding | None:
    """One reason and one message for both: status is no oracle for what exists elsewhere."""
    if it.granted:
        return None
    message = f"there is no ModelTier {it.tier} that grants namespace {it.namespace}"
    action = f"Check the name, or ask the owner of {it.tier} for a grant to namespace {it.namespace}."
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
        f"no backend of route '{it.route.name}' is Active and has the labels, capabilities and context that it asks"
    )
    action = "Compare when.require, when.capabilities and when.promptTokens with the backends of its tiers."
    return Finding(Reason.ROUTE_CANNOT_BE_SERVED, message, Verdict.FAULTY, ConditionType.READY, action)


def serves(backend: Backend, route: Route) -> bool:
    """Whether the backend could take some request of this route."""
    return (
        backend.state is BackendState.ACTIVE
        and route.require.items() <= backend.labels.items()
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


ROUTE_CHECKS: tuple[Check[RouteFacts], ...] = (route_has_no_tiers, route_cannot_be_served, route_is_shadowed)


# --- policies


@dataclass(frozen=True)
class PolicyFacts:
    """A policy with what survived of it."""

    mode: Mode
    routes: tuple[Route, ...]
    has_baseline: bool
    selects_unknown: bool  # selects namespaces by labels while no namespace is known
    overridden: bool  # break-glass holds and its tier can be used: the policy answers, whatever else is wrong
    override_until: float | None
    now: float

    @property
    def verdict(self) -> Verdict:
        """Of what would make it unable to answer."""
        return Verdict.FAULTY if self.overridden else Verdict.REMOVE


def override_has_expired(it: PolicyFacts) -> Finding | None:
    """It ended by itself; routes decide again."""
    if it.override_until is None or it.now < it.override_until:
        return None
    message, action = "the override has expired and does nothing", "Remove it."
    return Finding(Reason.OVERRIDE_EXPIRED, message, Verdict.WARN, ConditionType.ACCEPTED, action, ".override.until")


def has_no_routes(it: PolicyFacts) -> Finding | None:
    """Its callers get 503 policy_not_ready."""
    if any(route.tiers for route in it.routes):
        return None
    message, action = "no route can be used", "See what is wrong with each route."
    return Finding(Reason.NO_USABLE_ROUTES, message, it.verdict, ConditionType.READY, action, ".routes")


def observes_without_baseline(it: PolicyFacts) -> Finding | None:
    """In `mode: Observe` everything goes to the baseline, so without one nothing could be answered."""
    if it.mode is not Mode.OBSERVE or it.has_baseline:
        return None
    message = "mode is Observe, which sends everything to the baseline, and there is no usable baseline"
    action = "Set baseline to a tier that grants this namespace, or mode to Enforce."
    return Finding(Reason.OBSERVE_WITHOUT_BASELINE, message, it.verdict, ConditionType.READY, action, ".baseline")


POLICY_CHECKS: tuple[Check[PolicyFacts], ...] = (
    namespaces_are_unknown,
    override_has_expired,
    has_no_routes,
    observes_without_baseline,
)
