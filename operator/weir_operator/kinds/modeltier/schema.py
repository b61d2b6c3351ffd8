"""ModelTier: models that are equally good for routing, with their prices, capabilities and objectives.

Read by the compile step and `crdgen`. Prices and capabilities of well-known models are not here but in the catalogue.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from weir_operator.kinds.modeltier.dialects import SPOKEN, WITH_ENDPOINTS
from weir_operator.kinds.modeltier.price import PriceSpec
from weir_operator.kinds.modeltier.request import Headers, KeyHeader, ParametersSpec, Query
from weir_operator.schemas.common import (
    DEFAULT_CLASS,
    INT32,
    MAX_NAMES,
    MAX_RULES,
    MAX_TOKENS,
    ClassName,
    Conditions,
    Duration,
    Generation,
    Labels,
    Name,
    Namespaces,
    ObjectivesSpec,
    ObjectName,
    Rate,
    RateLimits,
    Token,
    Tokens,
    seconds,
)
from weir_operator.schemas.rules import MAP, SET, Model, Rule
from weir_router.contract import BackendState, Capability, Dialect, Endpoint, Selection, Transport, WireFormat

DEFAULT_BASE_URL = {Dialect.OPENAI: "https://api.openai.com/v1", Dialect.ANTHROPIC: "https://api.anthropic.com"}
"""A provider's URL without a `baseURL`; OpenAI's SDK and Anthropic's have the same defaults."""

DEFAULT_PATH = {Dialect.OPENAI: "/v1", Dialect.ANTHROPIC: ""}
"""Path of the API on a server of your own, as in vLLM, SGLang, llama.cpp, Ollama and TGI."""

MAX_BACKENDS = 32  # several regions and accounts of several providers; keeps CEL and the breaker table small
MAX_URL = 1024
# No user info, query or fragment: a key in a URL ends up in logs.
BASE_URL = r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%/-]*)?$"

MAX_PATH = 256
PATH = r"^(/[A-Za-z0-9._~%-]+)*/?$"

# A port above 65535, or with a zero in front, which programs read differently.
WRONG_PORT = r"^https?://[^/]+:(0[0-9]*|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4})(/|$)"
# "." and ".." as a part, also escaped; an escaped slash; "%" without two digits.
WRONG_PATH = r"/([.]|%2[eE]){1,2}(/|$)|%2[fF]|%5[cC]|%([^0-9A-Fa-f]|$)|%[0-9A-Fa-f]([^0-9A-Fa-f]|$)"


def _lacks(pattern: str, message: str) -> Rule:
    return Rule(f"!self.matches('{pattern}')", message, lambda text: re.search(pattern, text) is None)


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:  # brackets around anything but an IPv6 address
        return False


PLAIN_PATH = _lacks(
    WRONG_PATH, "a path has no . or .. between slashes, no escaped slash, and % only before two hexadecimal digits"
)

BaseURL = Annotated[
    str,
    Field(min_length=8, max_length=MAX_URL, pattern=BASE_URL),
    _lacks(WRONG_PORT, "a port is a number from 1 to 65535"),
    PLAIN_PATH,
    Rule(None, "has no host that can be read", _has_host),
]


class GrantPriority(StrEnum):
    """The place of granted requests among those of other namespaces that wait for the tier."""

    HIGH = "High"
    NORMAL = "Normal"


class Grant(Model):
    """Permission for policies of some namespaces to route here."""

    namespaces: Namespaces = Namespaces()
    """Namespaces of the policies. Default: this namespace."""
    limits: RateLimits | None = None
    """Limits for each granted namespace by itself. If several grants match a namespace, all their limits apply.
    Default: none."""
    priority: GrantPriority | None = None
    """Place among other namespaces' requests that wait for this tier. `High`: those of policies with `queue.priority:
    High` go ahead. `Normal`: namespaces take turns, and `queue.priority` counts within each. Default: `Normal`."""


class CredentialType(StrEnum):
    """Ways to authenticate at a backend."""

    API_KEY = "APIKey"


class SecretReference(Model):
    """A key of a Secret of this namespace."""

    name: ObjectName
    """Name of the Secret. It consents by the label `weir.dev/credential: "true"`."""
    key: Token
    """Key within the Secret's data, for example `api-key`."""


class BackendLimitsSpec(Model):
    """Sizes of a model, in tokens, and its concurrency."""

    context_tokens: Tokens | None = None
    """Number of tokens that fit into the model, prompt and completion together. Default: the catalogue's."""
    effective_context_tokens: Tokens | None = None
    """Number of prompt tokens up to which the model is known to be good; requests are routed by it. Default:
    `contextTokens`."""
    output_tokens: Tokens | None = None
    """Number of tokens of the longest completion; a larger `max_tokens` is cut to it. Default: the catalogue's."""
    concurrency: Rate | None = None
    """Number of requests in flight, of all routers together; with a `backendRef`, of each endpoint. Default: no
    limit."""

    RULES: ClassVar = (
        Rule(
            "!has(self.effectiveContextTokens) || !has(self.contextTokens)"
            " || self.effectiveContextTokens <= self.contextTokens",
            "effectiveContextTokens cannot exceed contextTokens",
            lambda it: (it.effective_context_tokens or 0) <= (it.context_tokens or MAX_TOKENS),
        ),
    )


class TimeoutsSpec(Model):
    """Clocks of one attempt. Unset ones have the router's default."""

    connect: Duration | None = None
    """Time to connect, TLS included. Default: `2s`; of a backend, the tier's."""
    ttft: Duration | None = None
    """Time to the first content; after it the next candidate is tried. Default: a multiple of the measured times; of a
    backend, the tier's."""
    idle: Duration | None = None
    """Time between two pieces of a stream. Default: `8s`, and 300 s after a ping; of a backend, the tier's."""
    total: Duration | None = None
    """Time for the whole answer. Default: `10m`, and none for a stream while content comes and is read; of a backend,
    the tier's."""


class Breaker(Model):
    """Circuit breaker: when a sick backend is left alone, and how it returns. Unset fields have the default."""

    consecutive_failures: Annotated[int, Field(strict=True, ge=1, le=100, json_schema_extra=INT32)] | None = None
    """Number of hard failures in a row that open it. Less notices an outage sooner, and may take chance for one.
    Default: `5`."""
    failure_percent: Annotated[int, Field(strict=True, ge=1, le=100, json_schema_extra=INT32)] | None = None
    """Share of bad outcomes within ten seconds that opens it, in percent. Default: `50`."""
    minimum_requests: Annotated[int, Field(strict=True, ge=1, le=10_000, json_schema_extra=INT32)] | None = None
    """Number of outcomes within the ten seconds from which `failurePercent` counts. Default: `10`."""
    open_for: Duration | None = None
    """Time until it is probed with a request; doubled with each probe that fails. Default: `5s`."""
    max_open_for: Duration | None = None
    """Longest time after doubling. Default: `8s`."""
    max_retry_after: Duration | None = None
    """Longest wait for an upstream's `Retry-After`. Default: `5m`."""
    probes: Annotated[int, Field(strict=True, ge=1, le=20, json_schema_extra=INT32)] | None = None
    """Number of clean completed streams, one after the other, that close it. Default: `3`."""
    slow_start: Duration | None = None
    """Time over which a backend that has returned takes on its whole share of requests. Default: `10s`."""

    RULES: ClassVar = (
        Rule(
            "!has(self.openFor) || !has(self.maxOpenFor) || duration(self.openFor) <= duration(self.maxOpenFor)",
            "openFor cannot exceed maxOpenFor",
            lambda it: (
                it.open_for is None or it.max_open_for is None or seconds(it.open_for) <= seconds(it.max_open_for)
            ),
        ),
    )


class ReferenceKind(StrEnum):
    """Kinds of objects that a backend can refer to."""

    SERVICE = "Service"


class BackendReference(Model):
    """A Service in front of a model that you serve yourselves. Its ready endpoints are followed: each is a backend of
    its own to the routers, with its own breaker, and takes requests within a second of being ready.
    """

    kind: ReferenceKind = ReferenceKind.SERVICE
    """Kind of the object. `Service`: of any type but ExternalName, headless or not."""
    name: ObjectName
    """Name of the Service. It consents by the label `weir.dev/backend: "true"`."""
    namespace: Name | None = None
    """Namespace of the Service. Elsewhere than in the tier's own, the Service must admit it by the annotation
    `weir.dev/backend-namespaces`. Default: the tier's own."""
    port: Annotated[int, Field(strict=True, ge=1, le=65_535, json_schema_extra=INT32)]
    """Port number of the Service, for example `8000`; plain HTTP."""
    path: Annotated[str, Field(max_length=MAX_PATH, pattern=PATH), PLAIN_PATH] | None = None
    """Path of the API, for example `/openai/v1`. Default: `/v1` for OpenAI, nothing for Anthropic."""


class Credentials(Model):
    """Credentials for the backend. They never reach a caller, and a caller's key never reaches the backend."""

    type: CredentialType = CredentialType.API_KEY
    """Way to authenticate. `APIKey`: a key in a Secret, sent in the provider's header."""
    secret_ref: SecretReference | None = None
    """Secret with the key. Default: none."""
    header: KeyHeader | None = None
    """Header for the key, for example `api-key`, where it is not the provider's: `Authorization` gets the key after
    `Bearer`, every other header gets it alone. Default: `Authorization` for OpenAI, `x-api-key` for Anthropic."""

    RULES: ClassVar = (
        Rule(
            "self.type != 'APIKey' || has(self.secretRef)",
            "secretRef is required for type APIKey",
            lambda it: it.type is not CredentialType.API_KEY or it.secret_ref is not None,
        ),
    )


class BackendSpec(Model):
    """One model at one place, with one credential."""

    name: Name
    """Name of the backend, unique in the tier; it appears in metrics and in `x-weir-backend`."""
    provider: Dialect
    """Kind of its server: how it is addressed and how it takes a key; with `baseURL` any server of that kind."""
    dialects: Annotated[tuple[WireFormat, ...], Field(min_length=1, max_length=len(WireFormat))] | None = None
    """Wire formats that it takes, the best first, for example `[Responses, Chat]`. A caller's own format is used if it
    is listed; otherwise requests are translated to the first that can express them. Default: `[Responses, Chat]` for
    OpenAI itself, `[Chat]` for other servers of that kind, `[Messages]` for `provider: Anthropic`."""
    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=len(Endpoint)), SET] | None = None
    """Operations that it takes beyond conversations, for example `[Embeddings]`. Routes that name one in
    `when.operations` send it here. Default: none."""
    model: Token
    """Name of the model at the provider, for example `gpt-5.4-mini`."""
    base_model: Token | None = None
    """Name of the model behind a deployment with a name of its own, e.g. `gpt-5.4` for Azure's `prod-eastus-1`: the
    catalogue is asked for it. Default: `model`."""
    base_url: BaseURL | None = Field(default=None, alias="baseURL")
    """URL of the API, http or https, for example `https://api.openai.com/v1`; OpenAI's ends in `/v1`, Anthropic's does
    not. Link-local, metadata and API-server addresses are refused, and in a cluster localhost and this gateway.
    Default: the provider's own."""
    backend_ref: BackendReference | None = None
    """Service of this cluster, instead of `baseURL`. Default: none."""
    credentials: Credentials | None = None
    """Key to use. Default: none, for a server that requires none."""
    headers: Headers | None = None
    """Headers of every request to it, e.g. `HTTP-Referer`. Default: none."""
    query: Query | None = None
    """Query parameters of its URL, e.g. `api-version`. Default: none."""
    price: PriceSpec | None = None
    """Price of the backend; missing figures come from the dated catalogue. A backend without a price is last in cost
    order."""
    limits: BackendLimitsSpec | None = None
    """Sizes of the backend; missing figures come from the catalogue."""
    capabilities: Annotated[tuple[Capability, ...], Field(max_length=len(Capability)), SET] | None = None
    """Capabilities that requests may use. Default: the catalogue's; an unknown model is assumed to offer all."""
    objectives: ObjectivesSpec | None = None
    """Objectives of the backend; they override the tier's, figure by figure."""
    timeouts: TimeoutsSpec | None = None
    """Timeouts of the backend; they override the tier's, clock by clock."""
    parameters: ParametersSpec | None = None
    """Changes that make request parameters fit the model."""
    labels: Labels | None = None
    """Labels for a route's `require`, e.g. `region: eu-west-1`. Default: none."""
    state: BackendState = BackendState.ACTIVE
    """Use of the backend. `Active`: takes requests. `Draining`: finishes running requests and takes no new ones.
    `Disabled`: takes none."""
    weight: Annotated[int, Field(strict=True, ge=1, le=1000, json_schema_extra=INT32)] | None = None
    """Weight of the backend for `selection: Weighted`: its share of the first choices is its part of the sum. Endpoints
    of a `backendRef` share it. Default: `1`."""
    transport: Transport = Transport.STREAMED
    """Way to ask the upstream. `Streamed` asks for a stream even if the caller did not, so that silence is seen early;
    `AsAsked` does not."""

    RULES: ClassVar = (
        Rule(
            "!has(self.baseURL) || !has(self.backendRef)",
            "baseURL and backendRef exclude each other",
            lambda it: it.base_url is None or it.backend_ref is None,
        ),
        Rule(
            "!has(self.dialects) || self.provider != 'Anthropic' || self.dialects.all(it, it == 'Messages')",
            "a server of provider Anthropic takes the dialect Messages only; others that do are of provider OpenAI",
            lambda it: it.dialects is None or set(it.dialects) <= set(SPOKEN[it.provider]),
        ),
        Rule(
            "!has(self.endpoints) || self.provider != 'Anthropic'",
            "a server of provider Anthropic takes conversations only; others have endpoints with provider OpenAI",
            lambda it: it.endpoints is None or it.provider in WITH_ENDPOINTS,
        ),
    )


def _weights_count(spec: ModelTierSpec) -> bool:
    return spec.selection is Selection.WEIGHTED or all(backend.weight is None for backend in spec.backends)


class ModelTierSpec(Model):
    """Spec of a ModelTier, written by the platform team."""

    FORMS: ClassVar = {
        BASE_URL: "an http or https URL without user, query or fragment; query parameters go into query",
        PATH: "a path such as /v1, without query",
    }

    class_name: ClassName = DEFAULT_CLASS
    """Class of the installation that serves this object; immutable."""
    grants: Annotated[tuple[Grant, ...], Field(max_length=MAX_RULES)] = (Grant(),)
    """Grants for policies that may route here. An empty list grants none. Default: those of this namespace."""
    selection: Selection = Selection.CHEAPEST
    """Order of healthy backends that fit: `Cheapest` (equals share by latency), `LeastLatency`, `Weighted`."""
    objectives: ObjectivesSpec | None = None
    """Objectives of every backend of this tier. Default: none."""
    timeouts: TimeoutsSpec | None = None
    """Clocks for every backend of this tier."""
    breaker: Breaker | None = None
    """Breaker of every backend of this tier. A backend that several tiers list alike has one; if they state different
    settings, the first tier by namespace and name decides."""
    backends: Annotated[tuple[BackendSpec, ...], Field(min_length=1, max_length=MAX_BACKENDS), MAP]
    """Backends of the tier; their order means nothing."""

    RULES: ClassVar = (
        Rule(
            "self.selection == 'Weighted' || self.backends.all(backend, !has(backend.weight))",
            "weight means something only with selection: Weighted",
            _weights_count,
        ),
    )


class BackendStatus(Model):
    """The routers' view of one backend."""

    name: Name
    """Name of the backend."""
    state: Annotated[str, Field(max_length=MAX_NAMES)]
    """`Healthy`, `Degraded` (it fails for some routers), `Unhealthy` (for all that have tried it), `Draining`,
    `Disabled`, `Unusable` (left out of the config), `Unknown` (no router has tried it lately)."""
    reason: Annotated[str, Field(max_length=1024)] | None = None
    """Reason of this state."""


class ModelTierStatus(Model):
    """Status of a ModelTier, written by Weir."""

    observed_generation: Generation | None = None
    """Generation of the spec that this status is about, which is a count of its changes."""
    conditions: Conditions | None = None
    """Conditions of the tier: `Accepted`, `ResolvedRefs`, `Priced`, `Programmed`, `Ready`."""
    backends_ready: Annotated[str, Field(max_length=16)] | None = None
    """Backends that can be used and fail for no router, of all: `2/3`."""
    backends: Annotated[tuple[BackendStatus, ...], Field(max_length=MAX_BACKENDS), MAP] | None = None
    """State by backend."""
