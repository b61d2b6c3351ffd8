"""What the compiler hands to the router (`CompiledConfig`, `Secrets`) and what the router reports back.

Written by `weir_operator.compile`, read by `weir_router.config`. Frozen and versioned: unknown fields are ignored (an
older router reads a newer operator's config), an unknown major version is refused. Durations are float seconds,
prices float US dollars per million tokens. Secrets never stand in `CompiledConfig`; they travel in `Secrets`, keyed
by a hash of their value. To be mounted, both travel as files, see `weir_router.contract.published`. A golden JSON per
version lives in `tests/contract/`.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from functools import cached_property

import msgspec

API_VERSION = "config.weir.dev/v1"
"""Major version of `CompiledConfig`. Raised only when an old router would misread a new config."""


class ConfigRejected(Exception):
    """A config that must not be run; the last good one stays."""


def check_version(version: str) -> None:
    """Raises `ConfigRejected` unless this code understands configs of `version`."""
    if version != API_VERSION:
        raise ConfigRejected(
            f"config version {version!r} is not understood by this router, which reads "
            f"{API_VERSION!r}; upgrade the router"
        )


def digest(content: bytes) -> str:
    """The hash that names `content`, here and in `Backend.credential`: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Complexity(StrEnum):
    """How demanding a prompt is by its structure. Ordered: see `raised`."""

    SIMPLE = "Simple"
    MODERATE = "Moderate"
    COMPLEX = "Complex"

    @property
    def raised(self) -> Complexity:
        """The next class up; `COMPLEX` stays."""
        return Complexity.MODERATE if self is Complexity.SIMPLE else Complexity.COMPLEX


class Dialect(StrEnum):
    """A wire dialect: of a caller's request, and of a backend (`provider` in the CRD)."""

    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"


class Capability(StrEnum):
    """What a request may need and a backend may offer."""

    TOOLS = "Tools"
    JSON_SCHEMA = "JSONSchema"
    VISION = "Vision"
    AUDIO = "Audio"
    DOCUMENTS = "Documents"
    REASONING = "Reasoning"


class Selection(StrEnum):
    """How a tier orders its healthy backends."""

    CHEAPEST = "Cheapest"
    LEAST_LATENCY = "LeastLatency"
    WEIGHTED = "Weighted"


class BackendState(StrEnum):
    """What the platform team says about a backend: `DRAINING` finishes what runs and takes nothing new."""

    ACTIVE = "Active"
    DRAINING = "Draining"
    DISABLED = "Disabled"


class Mode(StrEnum):
    """`OBSERVE` classifies, decides and records, but sends to the baseline."""

    ENFORCE = "Enforce"
    OBSERVE = "Observe"


class Transport(StrEnum):
    """`STREAMED` asks upstreams for a stream even for a plain caller; `AS_ASKED` relays the caller's choice."""

    STREAMED = "Streamed"
    AS_ASKED = "AsAsked"


class Priority(StrEnum):
    """Whose requests go first where they have to wait."""

    HIGH = "High"
    NORMAL = "Normal"
    LOW = "Low"


class PromptLogging(StrEnum):
    """What of a prompt the request log may hold: nothing, its figures (tokens, class), or its text."""

    NONE = "None"
    METADATA = "Metadata"
    FULL = "Full"


class CallerKind(StrEnum):
    """How a caller proved who it is."""

    SERVICE_ACCOUNT = "ServiceAccount"
    API_KEY = "APIKey"
    ANONYMOUS = "Anonymous"


class _Wire(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Base of everything in the contract: frozen, camelCase on the wire, unknown fields ignored."""


class Price(_Wire, frozen=True):
    """US dollars per million tokens, and where the figures come from."""

    input: float
    output: float
    cached_input: float | None = None  # reading the provider's prompt cache; None: as input
    cache_write: float | None = None  # writing it (Anthropic); None: as input
    source: str = "spec"  # "spec" or "catalogue YYYY-MM-DD"


class Objectives(_Wire, frozen=True):
    """What a backend is expected to keep. None: not stated."""

    ttft: float | None = None  # seconds to the first content
    tokens_per_second: float | None = None


class Timeouts(_Wire, frozen=True):
    """Clocks per attempt, in seconds. None: the router's default (`weir_router.call.clocks`)."""

    connect: float | None = None
    ttft: float | None = None
    idle: float | None = None
    total: float | None = None


class BackendLimits(_Wire, frozen=True):
    """Sizes in tokens. `concurrency` counts requests in flight over all routers together."""

    context_tokens: int | None = None
    effective_context_tokens: int | None = None  # up to here the model is known to be good; routed by this one
    output_tokens: int | None = None
    concurrency: int | None = None


class BreakerKnobs(_Wire, frozen=True):
    """When a backend is left alone, and how it returns. None: the router's default (`weir_router.health.breaker`)."""

    consecutive_failures: int | None = None
    failure_percent: int | None = None  # of the outcomes within ten seconds
    minimum_requests: int | None = None  # before the percentage is believed
    open_for: float | None = None  # seconds; doubled with each failed probe
    max_open_for: float | None = None
    max_retry_after: float | None = None  # seconds of an upstream's Retry-After that are kept at most
    probes: int | None = None  # clean completed streams that close it
    slow_start: float | None = None  # seconds


class Parameters(_Wire, frozen=True):
    """How request parameters are made to fit the model."""

    drop: tuple[str, ...] = ()  # top-level fields that the model refuses
    rename: dict[str, str] = {}  # e.g. max_tokens -> max_completion_tokens


class Backend(_Wire, frozen=True):
    """One model at one place, with one credential.

    Where a Service is behind it there is one of these per endpoint, all of the same name: each has a breaker, a speed
    and a `limits.concurrency` of its own.
    """

    name: str
    provider: Dialect
    base_url: str  # without a trailing slash; OpenAI's ends in /v1, Anthropic's does not
    model: str  # the name the upstream knows
    credential: str | None = None  # key into Secrets.credentials; None: the upstream needs none
    price: Price | None = None  # None: unknown; usable, but last in cost order
    limits: BackendLimits = BackendLimits()
    capabilities: frozenset[Capability] | None = None  # None: unknown, taken to offer everything
    objectives: Objectives = Objectives()  # the tier's, with the backend's own on top
    timeouts: Timeouts = Timeouts()
    breaker: BreakerKnobs = BreakerKnobs()  # the tier's
    parameters: Parameters = Parameters()
    labels: dict[str, str] = {}
    state: BackendState = BackendState.ACTIVE
    weight: int = 1  # for Selection.WEIGHTED
    transport: Transport = Transport.STREAMED
    endpoint: str = ""  # "10.0.0.7:8000", of a Service; empty: what `base_url` names

    @property
    def id(self) -> str:
        """What tells it from the others of its tier: `name`, or `name@endpoint`."""
        return f"{self.name}@{self.endpoint}" if self.endpoint else self.name


class Tier(_Wire, frozen=True):
    """A compiled ModelTier. Its key in `CompiledConfig.tiers` is "namespace/name"."""

    namespace: str
    name: str
    selection: Selection = Selection.CHEAPEST
    backends: tuple[Backend, ...] = ()


class Limit(_Wire, frozen=True):
    """A rate or concurrency limit; what shares `key` shares the count."""

    key: str
    requests_per_minute: int | None = None
    in_flight: int | None = None


class TierRef(_Wire, frozen=True):
    """A tier that a policy may use, with the limits of the grant that lets it."""

    tier: str  # "namespace/name"
    limits: tuple[Limit, ...] = ()


class CallerRule(_Wire, frozen=True):
    """Which callers; every field that is set must match, an unset one matches all."""

    namespaces: frozenset[str] | None = None  # None: every namespace
    service_accounts: frozenset[str] | None = None
    api_keys: frozenset[str] | None = None  # names of key Secrets


class HeaderMatch(_Wire, frozen=True):
    """A request header; exactly one of `exact` and `prefix`, or neither for presence."""

    name: str  # lower case
    exact: str | None = None
    prefix: str | None = None


class When(_Wire, frozen=True):
    """Conditions of a route, all of which must hold; an empty one holds always."""

    complexity: frozenset[Complexity] = frozenset()
    min_prompt_tokens: int | None = None
    max_prompt_tokens: int | None = None
    capabilities: frozenset[Capability] = frozenset()  # the request needs at least these
    headers: tuple[HeaderMatch, ...] = ()
    callers: tuple[CallerRule, ...] = ()  # any of them
    user_tiers: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()


class Route(_Wire, frozen=True):
    """First match wins. `require` holds for every candidate, first choices and fallbacks alike (residency)."""

    name: str
    tiers: tuple[TierRef, ...]
    when: When = When()
    require: dict[str, str] = {}  # labels that a backend must carry


class RetryBudget(_Wire, frozen=True):
    """Tries beyond the first that a policy's requests together may make where they multiply load."""

    percent: int | None = None  # of its requests
    per_second: int | None = None
    burst: int | None = None  # that can be saved up


class Failover(_Wire, frozen=True):
    """Bounds of one request's story."""

    attempts: int = 3  # with the first
    deadline: float = 90.0  # seconds to the first content, not the stream
    retry_budget: RetryBudget | None = None  # None: the one that all such policies share


class Queue(_Wire, frozen=True):
    """How requests wait when everything is at its concurrency."""

    priority: Priority = Priority.NORMAL
    wait: float | None = None  # seconds at most; 0: not at all; None: the router's default (`weir_router.admit.queue`)


class Override(_Wire, frozen=True):
    """Break-glass: everything goes to one tier until a moment."""

    tier: TierRef
    until: float  # seconds since the epoch


class Policy(_Wire, frozen=True, dict=True):  # a dict for what is computed once
    """A compiled RoutingPolicy. Not `ready`: its callers get 503 policy_not_ready with `not_ready`."""

    namespace: str
    name: str
    models: tuple[str, ...]
    callers: tuple[CallerRule, ...]
    routes: tuple[Route, ...] = ()
    not_ready: str | None = None  # None: ready; otherwise why, for the caller's error message
    created: float = 0.0  # seconds since the epoch; the older policy wins between equals
    mode: Mode = Mode.ENFORCE
    baseline: TierRef | None = None
    min_confidence: float = 0.0  # below it the class is raised one step
    failover: Failover = Failover()
    queue: Queue = Queue()
    override: Override | None = None
    limits: Limit | None = None  # per caller: the router appends the caller to the key
    max_request_bytes: int | None = None
    prompt_logging: PromptLogging = PromptLogging.METADATA

    @cached_property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


TOKEN_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
"""What a cluster may sign ServiceAccount tokens with. Asymmetric ones only: with HS256 or `none` whoever knows the
public key could make tokens."""


class SigningKey(_Wire, frozen=True):
    """A public key of the cluster, as in its JWKS (RFC 7517). There is no field that a private part could stand in."""

    id: str  # `kid`
    algorithm: str  # one of TOKEN_ALGORITHMS; a token that names another is refused
    n: str | None = None  # RSA: modulus and exponent, base64url
    e: str | None = None
    crv: str | None = None  # elliptic: curve, and a point on it, base64url
    x: str | None = None
    y: str | None = None


class TokenTrust(_Wire, frozen=True):
    """Which ServiceAccount tokens are callers' tokens, and how they are verified."""

    issuer: str  # `iss`, exactly
    audience: str  # one of `aud`, exactly; never that of the config server
    keys: tuple[SigningKey, ...] = ()
    review: bool = False  # ask the API server about each token, too, by the config server (`REVIEW_PATH`)


class CompiledConfig(_Wire, frozen=True, omit_defaults=False):  # apiVersion must always be said
    """Everything a router needs to know, but for secrets."""

    api_version: str = API_VERSION
    revision: int = 0  # only grows
    class_name: str = "weir"
    tiers: dict[str, Tier] = {}
    policies: tuple[Policy, ...] = ()
    generations: dict[str, int] = {}  # "ModelTier/ns/name" -> metadata.generation of what went in
    anonymous_namespace: str | None = None  # whose caller an unauthenticated one is; None: 401
    tokens: TokenTrust | None = None  # None: no ServiceAccount token is accepted
    routers: int = 1  # live routers, to share out limits "of all routers together"
    catalogue_date: str | None = None


class CallerKey(_Wire, frozen=True):
    """Whose API key it is; stored under the key's SHA-256."""

    namespace: str
    name: str
    user_tier: str | None = None


class Secrets(_Wire, frozen=True):
    """What must never be logged, nor stand in a ConfigMap or a status."""

    credentials: dict[str, str] = {}  # hash of the value -> value
    caller_keys: dict[str, CallerKey] = {}  # hex SHA-256 of the API key -> whose it is

    def __repr__(self) -> str:
        """Counts only, so that a stray log line leaks nothing."""
        return f"Secrets({len(self.credentials)} credentials, {len(self.caller_keys)} caller keys)"


class Delivery(_Wire, frozen=True):
    """What the config server answers to a poll (`POLL_PATH`): all that its caller may see. Its ETag is a hash of
    everything but the revision, so a router hears only of changes that concern it.
    """

    config: CompiledConfig
    secrets: Secrets = Secrets()
    authorities: str | None = None  # PEM: what the config server's own certificate is, and soon will be, signed by


POLL_PATH = "/v1/poll"
"""Where routers POST a `RouterReport` to the config server, with `If-None-Match` and `Prefer: wait=<seconds>`."""

REVIEW_PATH = "/v1/review"
"""Where routers POST a `ReviewRequest` to the config server, for a `ReviewAnswer` of the API server."""


class ReviewRequest(msgspec.Struct, frozen=True):
    """A caller's token, which must not show."""

    token: str

    def __repr__(self) -> str:
        """Without the token."""
        return "ReviewRequest(...)"


class ReviewAnswer(_Wire, frozen=True):
    """What the API server says about a token."""

    refused: str | None = None  # why; None: it is good


class BackendReport(_Wire, frozen=True):
    """What one router sees of one backend."""

    state: str  # of its breaker
    reason: str | None = None  # why it is not closed
    requests: int = 0  # attempts that have ended since the router started
    failures: int = 0  # of these, those that speak against the backend
    in_flight: int = 0  # attempts under way
    tokens_per_second: float = 0.0  # of output, of all its answers together, lately


class Waiting(_Wire, frozen=True):
    """Requests that wait for one thing."""

    depth: int = 0
    oldest: float = 0.0  # seconds that the one that came first has waited


class RouterLoad(_Wire, frozen=True):
    """How busy a router is."""

    in_flight: int = 0  # requests being served
    limit: int = 0  # as many as may be
    room: Waiting = Waiting()  # for room in this router
    tiers: dict[str, Waiting] = {}  # for a backend of the tier "namespace/name"; only tiers that anybody waits for
    tokens_per_second: float = 0.0  # of output, of all answers together, lately


class RouterReport(_Wire, frozen=True, kw_only=True, omit_defaults=False):
    """What a router tells the operator with each poll."""

    api_version: str = API_VERSION
    router: str
    revision: int | None = None  # the applied one
    rejected: str | None = None  # why a newer one was refused
    backends: dict[str, BackendReport] = {}
    load: RouterLoad | None = None  # None: a router of an older version


def prepare(*types: type) -> None:
    """Lets msgspec work out now how these are decoded. It otherwise does so at the first use, and two threads whose
    first use is at the same moment crash the process (msgspec 0.22). For whatever is decoded in threads.
    """
    for it in types:
        msgspec.json.Decoder(it)


prepare(Delivery, RouterReport)
