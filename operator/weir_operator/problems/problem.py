"""Problems of objects, for status conditions and for `weir validate`.

Made by `observe.manifests` and `compile`. A problem never holds a secret, and never says whether
something exists in a namespace that the object's owner may not see.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """`ERROR`: something that was asked for does not work. `WARNING`: it works, but perhaps not as meant."""

    ERROR = "Error"
    WARNING = "Warning"


class ConditionType(StrEnum):
    """The condition of the object's status that a problem belongs to."""

    ACCEPTED = "Accepted"  # the object says something that can be done
    RESOLVED_REFS = "ResolvedRefs"  # what it refers to is there and may be used
    CONFLICTED = "Conflicted"  # an older policy has the same callers and models
    PRICED = "Priced"  # cost is known
    PROGRAMMED = "Programmed"  # the routers run it; no problem of an object, but a matter of time
    READY = "Ready"  # requests can be served
    STALLED = "Stalled"  # only where it is True: nothing but another spec will help; repeats why it is not Accepted


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    object: str  # "ModelTier/llm/budget"; a file's name where no object could be read
    field: str  # "spec.routes[0].tiers[1]"; empty: the object as a whole
    condition: str  # a `ConditionType`, or a condition that only this kind has
    reason: str  # CamelCase; docs/config.md lists them all
    message: str  # what is wrong
    action: str  # what to do
    severity: Severity = Severity.ERROR
    where: str | None = None  # "path/file.yaml:12"; None: the object is in no file


class Reason(StrEnum):
    """Every reason a problem can have; `docs/config.md` explains each."""

    # of files
    YAML_INVALID = "YAMLInvalid"
    DUPLICATE_KEY = "DuplicateKey"
    NOT_A_MANIFEST = "NotAManifest"
    UNKNOWN_KIND = "UnknownKind"
    METADATA_INVALID = "MetadataInvalid"
    SECRET_INVALID = "SecretInvalid"
    DUPLICATE_OBJECT = "DuplicateObject"
    # of any object
    INVALID_SPEC = "InvalidSpec"
    COMPILER_BUG = "CompilerBug"
    TOO_LARGE = "TooLarge"
    NAMESPACES_UNKNOWN = "NamespacesUnknown"
    # of a tier
    HOST_FORBIDDEN = "HostForbidden"
    SERVICES_UNKNOWN = "ServicesUnknown"
    SERVICE_NOT_FOUND_OR_NOT_GRANTED = "ServiceNotFoundOrNotGranted"
    SERVICE_WITHOUT_ENDPOINTS = "ServiceWithoutEndpoints"
    SERVICE_PORT_NOT_FOUND = "ServicePortNotFound"
    NO_ENDPOINTS = "NoEndpoints"
    ENDPOINT_FORBIDDEN = "EndpointForbidden"
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_NOT_LABELLED = "SecretNotLabelled"
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"
    SECRET_VALUE_UNUSABLE = "SecretValueUnusable"
    SECRET_VALUE_TOO_LARGE = "SecretValueTooLarge"
    PRICE_UNKNOWN = "PriceUnknown"
    NO_USABLE_BACKENDS = "NoUsableBackends"
    # of a policy
    TIER_NOT_FOUND_OR_NOT_GRANTED = "TierNotFoundOrNotGranted"
    TIER_NOT_READY = "TierNotReady"
    TIER_REPEATED = "TierRepeated"
    ROUTE_WITHOUT_TIERS = "RouteWithoutTiers"
    ROUTE_CANNOT_BE_SERVED = "RouteCannotBeServed"
    ROUTE_SHADOWED = "RouteShadowed"
    MIXED_EMBEDDINGS = "MixedEmbeddings"
    CONVERSATIONS_MISROUTED = "ConversationsMisrouted"
    NO_USABLE_ROUTES = "NoUsableRoutes"
    OBSERVE_WITHOUT_BASELINE = "ObserveWithoutBaseline"
    OVERRIDE_EXPIRED = "OverrideExpired"
    NOT_CONSENTED = "NotConsented"
    CONFLICTED = "Conflicted"
    # of a caller's key
    API_KEY_INVALID = "APIKeyInvalid"
    API_KEY_REPEATED = "APIKeyRepeated"
