"""The named checks of a backend that is a Service; they go with the others in `kinds.modeltier.checks`. PURE.

A Service consents by a label to be called by the tiers of its namespace, and by an annotation to those of others. A
missing Service and one that does not consent give the same reason: status is no oracle for objects of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from weir_operator.observe.observed import BACKEND_LABEL, BACKEND_NAMESPACES_ANNOTATION
from weir_operator.problems.finding import Check, Finding, Verdict
from weir_operator.problems.problem import ConditionType, Reason

_REFERENCE = ".backendRef"


@dataclass(frozen=True)
class ServiceFacts:
    """Facts that are checked before a Service is called."""

    name: str  # "namespace/name"
    namespace: str  # of the tier
    port: int
    known: bool = True  # whether Services and their endpoints are known at all
    admitted: bool = False  # it is there, and consents
    external: bool = False  # of type ExternalName
    has_port: bool = False
    has_endpoints: bool = False  # that take requests
    forbidden: Mapping[str, str] = field(default_factory=dict)  # endpoints that are refused, and what they are

    @property
    def own(self) -> bool:
        """Whether it is of the tier's namespace."""
        return self.name.partition("/")[0] == self.namespace

    @property
    def idle(self) -> bool:
        """Whether no endpoint takes a request."""
        return self.followed and not self.has_endpoints

    @property
    def followed(self) -> bool:
        """Whether its endpoints are known: otherwise it is called by its name."""
        return self.known and self.admitted


def _removed(reason: Reason, message: str, action: str, name: str) -> Finding:
    """The backend cannot be used for what the field `name` of its reference says."""
    return Finding(reason, message, Verdict.REMOVE, ConditionType.RESOLVED_REFS, action, f"{_REFERENCE}.{name}")


def services_are_unknown(it: ServiceFacts) -> Finding | None:
    """Warns that Services are unknown. One's own works by its name; the consent of another namespace's is unknown."""
    if it.known:
        return None
    message = f"Services and their endpoints are not known, so Service {it.name} is "
    message += "called by its name, without a breaker per endpoint" if it.own else "left out: its consent is unknown"
    action = "Let Weir list Services and EndpointSlices; outside of a cluster nothing is to be done."
    verdict = Verdict.WARN if it.own else Verdict.REMOVE
    return Finding(Reason.SERVICES_UNKNOWN, message, verdict, ConditionType.RESOLVED_REFS, action, _REFERENCE)


def service_is_missing_or_not_granted(it: ServiceFacts) -> Finding | None:
    """The operator sees only Services with the label."""
    if it.admitted or not it.known:
        return None
    namespace, _, name = it.name.partition("/")
    message = f'there is no Service {it.name} with the label {BACKEND_LABEL}: "true"'
    action = f"Create it, or kubectl -n {namespace} label service {name} {BACKEND_LABEL}=true"
    if not it.own:
        message += f" that admits tiers of namespace {it.namespace}"
        action = f"Ask its owner for that label, and the annotation {BACKEND_NAMESPACES_ANNOTATION}: {it.namespace}"
    return _removed(Reason.SERVICE_NOT_FOUND_OR_NOT_GRANTED, message, action, "name")


def service_is_a_name_elsewhere(it: ServiceFacts) -> Finding | None:
    """Refuses an ExternalName: its target may be any host and change at any time, unseen by the host policy."""
    if not it.external:
        return None
    message = f"Service {it.name} is of type ExternalName, which has no endpoints"
    action = "Give the name that it stands for as baseURL."
    return _removed(Reason.SERVICE_WITHOUT_ENDPOINTS, message, action, "name")


def service_lacks_the_port(it: ServiceFacts) -> Finding | None:
    """The port of the Service, not of its pods."""
    if it.has_port or not it.followed:
        return None
    message = f"Service {it.name} has no TCP port {it.port}"
    action = "Name a port of the Service itself: spec.ports[].port there."
    return _removed(Reason.SERVICE_PORT_NOT_FOUND, message, action, "port")


def endpoint_is_forbidden(it: ServiceFacts) -> Finding | None:
    """Refuses forbidden endpoints: an author of EndpointSlices could otherwise send keys and prompts anywhere."""
    if not it.forbidden:
        return None
    endpoint, what = min(it.forbidden.items())
    message = f"endpoint {endpoint} of Service {it.name} is {what}; Weir sends nothing there"
    action = "See who writes its EndpointSlices; the other endpoints are used."
    return Finding(Reason.ENDPOINT_FORBIDDEN, message, Verdict.FAULTY, ConditionType.RESOLVED_REFS, action, _REFERENCE)


def service_has_no_ready_endpoint(it: ServiceFacts) -> Finding | None:
    """It stays, and takes no requests until there is one: routes must not change their meaning meanwhile."""
    if not it.idle:
        return None
    namespace, _, name = it.name.partition("/")
    message = f"Service {it.name} has no ready endpoint"
    action = f"See why: kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}"
    return Finding(Reason.NO_ENDPOINTS, message, Verdict.FAULTY, ConditionType.RESOLVED_REFS, action, _REFERENCE)


SERVICE_CHECKS: tuple[Check[ServiceFacts], ...] = (
    services_are_unknown,
    service_is_missing_or_not_granted,
    service_is_a_name_elsewhere,
    service_lacks_the_port,
    endpoint_is_forbidden,
    service_has_no_ready_endpoint,
)
