"""A compiled ModelTier: backends in the order that the tier's selection gives, with prices, limits and clocks."""

from __future__ import annotations

from enum import StrEnum

from weir_router.contract.base import Wire


class Dialect(StrEnum):
    """A wire dialect: of a caller's request, and of a backend (`provider` in the CRD)."""

    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"


class WireFormat(StrEnum):
    """The shape of requests and answers that a backend may take (`dialects` in the CRD)."""

    CHAT = "Chat"
    RESPONSES = "Responses"
    MESSAGES = "Messages"


class Endpoint(StrEnum):
    """The operations that a backend may take beyond conversations (`endpoints` in the CRD)."""

    EMBEDDINGS = "Embeddings"
    COMPLETIONS = "Completions"
    MODERATIONS = "Moderations"
    IMAGES = "Images"
    AUDIO = "Audio"
    RERANK = "Rerank"


class Capability(StrEnum):
    """An ability that a request may need and a backend may offer."""

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
    """The platform team's switch for a backend. `DRAINING` finishes running requests and takes no new ones."""

    ACTIVE = "Active"
    DRAINING = "Draining"
    DISABLED = "Disabled"


class Transport(StrEnum):
    """`STREAMED` asks upstreams for a stream even for a plain caller; `AS_ASKED` relays the caller's choice."""

    STREAMED = "Streamed"
    AS_ASKED = "AsAsked"


class PriceStep(Wire, frozen=True):
    """The price of all tokens of a request whose prompt is longer than `above`; None as in `Price`."""

    above: int  # tokens of the prompt, cached ones included
    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    cache_write_long: float | None = None


class Price(Wire, frozen=True):
    """US dollars per million tokens, and the source of the figures."""

    input: float
    output: float
    cached_input: float | None = None  # reading the provider's prompt cache; None: as input
    cache_write: float | None = None  # writing it; None: as input
    source: str = "spec"  # "spec" or "catalogue YYYY-MM-DD"
    cache_write_long: float | None = None  # writing it for longer; None: twice input, if cache_write is stated
    steps: tuple[PriceStep, ...] = ()  # for long prompts, the shortest first


class Objectives(Wire, frozen=True):
    """The speed that a backend is expected to keep. None: not stated."""

    ttft: float | None = None  # seconds to the first content
    tokens_per_second: float | None = None


class Timeouts(Wire, frozen=True):
    """Clocks per attempt, in seconds. None: the router's default (`weir_router.call.clocks`)."""

    connect: float | None = None
    ttft: float | None = None
    idle: float | None = None
    total: float | None = None


class BackendLimits(Wire, frozen=True):
    """Sizes in tokens. `concurrency` counts requests in flight over all routers together."""

    context_tokens: int | None = None
    effective_context_tokens: int | None = None  # up to here the model is known to be good; routed by this one
    output_tokens: int | None = None
    concurrency: int | None = None


class BreakerKnobs(Wire, frozen=True):
    """When a backend is left alone, and how it returns. None: the router's default (`weir_router.health.breaker`)."""

    consecutive_failures: int | None = None
    failure_percent: int | None = None  # of the outcomes within ten seconds
    minimum_requests: int | None = None  # before the percentage is believed
    open_for: float | None = None  # seconds; doubled with each failed probe
    max_open_for: float | None = None  # seconds
    max_retry_after: float | None = None  # seconds; a longer Retry-After of an upstream is shortened to it
    probes: int | None = None  # clean completed streams that close it
    slow_start: float | None = None  # seconds


class Parameters(Wire, frozen=True):
    """How request parameters are made to fit the model."""

    drop: tuple[str, ...] = ()  # top-level fields that the model refuses
    rename: dict[str, str] = {}  # e.g. max_tokens -> max_completion_tokens
    defaults: dict[str, str] = {}  # fields that a request lacks, with their values as JSON


class Extra(Wire, frozen=True):
    """Parts of every request to a backend, beside those of its provider."""

    headers: dict[str, str] = {}  # by names in lower case; never a secret
    query: str = ""  # of the URL, escaped, e.g. "api-version=2024-10-21"
    key_header: str | None = None  # in lower case, for the credential; None: the provider's


class Thinking(StrEnum):
    """How an Anthropic model is asked to think: for a budget of tokens, or as its effort says."""

    BUDGET = "Budget"
    ADAPTIVE = "Adaptive"


class Recall(StrEnum):
    """The form of its earlier thought that a model demands, beside the tool calls that it led to."""

    TEXT = "Text"  # `reasoning_content`: DeepSeek, Kimi
    SIGNATURE = "Signature"  # `extra_content.google.thought_signature`: Gemini


class Traits(Wire, frozen=True):
    """Properties of a model beside its parameters, by the catalogue. An unknown model has the defaults."""

    thinking: Thinking | None = None  # None: unknown, or none at all; asked for a budget
    efforts: tuple[str, ...] = ()  # that it knows, the least first; empty: unknown
    no_prefill: bool = False  # it refuses an assistant's turn at the end, which others continue
    one_sampling: bool = False  # it takes temperature or top_p, but not both
    tools_without_reasoning: bool = False  # in chat completions it takes tools only with `reasoning_effort: none`
    recall: Recall | None = None


class Backend(Wire, frozen=True):
    """One model at one place, with one credential.

    A Service gives one backend for each endpoint, all of the same name: each has its own breaker, speed and
    `limits.concurrency`.
    """

    name: str
    provider: Dialect
    base_url: str  # without a trailing slash; OpenAI's ends in /v1, Anthropic's does not
    model: str  # the name that the upstream knows
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
    traits: Traits = Traits()
    extra: Extra | None = None
    endpoint: str = ""  # "10.0.0.7:8000", of a Service; empty: the host of `base_url`
    formats: tuple[str, ...] = ()  # wire formats that it takes, the best first, e.g. ("Responses", "Chat"); empty: its
    # provider's first one. Unknown ones, of a newer operator, are left out
    endpoints: tuple[str, ...] = ()  # operations that it takes beyond conversations, e.g. ("Embeddings",)
    base_model: str | None = None  # the model behind a deployment with a name of its own; None: `model`
    account: str = ""  # what holds the state that requests leave: 96 bits, by its address and its credential's name;
    # empty: it takes no Responses, or the operator is older

    @property
    def id(self) -> str:
        """The backend's identity within its tier: `name`, or `name@endpoint`."""
        return f"{self.name}@{self.endpoint}" if self.endpoint else self.name

    @property
    def identity(self) -> str:
        """The name of the model itself. Vectors of one model can be compared, at all of its deployments."""
        return self.base_model or self.model

    def key(self, tier: str) -> str:
        """`namespace/tier/backend`, for the "namespace/name" of its tier: names it among all backends of a config."""
        return f"{tier}/{self.name}@{self.endpoint}" if self.endpoint else f"{tier}/{self.name}"


class Tier(Wire, frozen=True):
    """A compiled ModelTier. Its key in `CompiledConfig.tiers` is "namespace/name"."""

    namespace: str
    name: str
    selection: Selection = Selection.CHEAPEST
    backends: tuple[Backend, ...] = ()
