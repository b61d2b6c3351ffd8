"""The named checks of a tier and its backends: each looks at one thing and gives a finding, or None. Pure.

A finding's verdict says whether the backend or tier stays. The lists at the end of each section are the table of
contents; `kinds.modeltier.compile` runs them.
"""

from __future__ import annotations

from dataclasses import dataclass

from weir_operator.compile.callers import namespaces_are_unknown
from weir_operator.compile.room import MAX_CREDENTIAL
from weir_operator.kinds.modeltier.hosts import forbidden
from weir_operator.kinds.modeltier.schema import SecretReference
from weir_operator.kinds.modeltier.service_checks import SERVICE_CHECKS, ServiceFacts
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import CREDENTIAL_LABEL, SecretData
from weir_operator.problems.finding import Check, Finding, Verdict
from weir_operator.problems.problem import ConditionType, Reason
from weir_router.contract import Price, Tier
from weir_router.contract.addresses import LAPTOP, HostPolicy

# --- backends


@dataclass(frozen=True)
class BackendFacts:
    """Facts that are checked before a backend is used."""

    namespace: str
    base_url: str
    model: str
    price: Price | None
    reference: SecretReference | None = None  # None: the backend wants no credentials
    secret: SecretData | None = None  # None: there is no such Secret
    value: str | None = None  # the credential, wherever it came from
    service: ServiceFacts | None = None  # None: no Service is referred to
    hosts: HostPolicy = LAPTOP
    gateway: ObjectName | None = None  # the Service of this installation's routers

    @property
    def secret_name(self) -> str:
        """`namespace/name` of the Secret."""
        return f"{self.namespace}/{self.reference.name}" if self.reference else ""


_SECRET = ".credentials.secretRef"


def host_is_forbidden(it: BackendFacts) -> Finding | None:
    """Refuses hosts to which no key may go: an author of ModelTiers could otherwise send any key anywhere."""
    what = forbidden(it.base_url, it.hosts, it.gateway)
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
    name = it.secret_name.partition("/")[2]
    action = f"Create it with that label, or kubectl -n {it.namespace} label secret {name} {CREDENTIAL_LABEL}=true"
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
    """Servers accept no longer line in a request's head, and the namespace's credentials share one Secret."""
    if it.value is None or len(it.value) <= MAX_CREDENTIAL:
        return None
    action = "Store the API key alone; no provider's is as long as that."
    return _bad_value(it, Reason.SECRET_VALUE_TOO_LARGE, f"has more than {MAX_CREDENTIAL:,} bytes", action)


def value_is_unusable(it: BackendFacts) -> Finding | None:
    """It goes into an HTTP header, where other characters would at best be refused."""
    if it.value is None or (it.value.isascii() and it.value.isprintable() and it.value.strip() == it.value != ""):
        return None
    action = "Store the API key alone: printable ASCII on one line."
    return _bad_value(
        it, Reason.SECRET_VALUE_UNUSABLE, "is empty or has characters that no HTTP header can carry", action
    )


def _bad_value(it: BackendFacts, reason: Reason, fault: str, action: str) -> Finding:
    name = f"key '{it.reference.key}' of Secret {it.secret_name}" if it.reference else "the credential"
    return Finding(reason, f"{name} {fault}", Verdict.REMOVE, ConditionType.RESOLVED_REFS, action, f"{_SECRET}.key")


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


def no_backend_is_usable(it: TierFacts) -> Finding | None:
    """References to it then remove themselves."""
    if it.tier.backends:
        return None
    message, action = "no backend can be used", "See what is wrong with each backend."
    return Finding(Reason.NO_USABLE_BACKENDS, message, Verdict.REMOVE, ConditionType.READY, action, ".backends")


TIER_CHECKS: tuple[Check[TierFacts], ...] = (namespaces_are_unknown, no_backend_is_usable)
