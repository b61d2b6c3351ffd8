"""A compiled RoutingPolicy: callers, models, routes with their conditions and tiers, and the bounds of a request."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property

from weir_router.contract.base import Wire
from weir_router.contract.caller import CallerRule
from weir_router.contract.tier import Capability

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Bytes of a request's body that a policy accepts if it says nothing: Anthropic's own limit."""


class Complexity(StrEnum):
    """How demanding a prompt is by its structure. Ordered: see `raised`."""

    SIMPLE = "Simple"
    MODERATE = "Moderate"
    COMPLEX = "Complex"

    @property
    def raised(self) -> Complexity:
        """The next class up; `COMPLEX` stays."""
        return Complexity.MODERATE if self is Complexity.SIMPLE else Complexity.COMPLEX


class Operation(StrEnum):
    """The type of work that a request asks for."""

    CHAT = "Chat"  # a chat completion or a message, in both formats
    RESPONSES = "Responses"  # a request to the Responses API; its backend may take another format
    EMBEDDINGS = "Embeddings"
    COMPLETIONS = "Completions"
    MODERATIONS = "Moderations"
    IMAGES = "Images"
    AUDIO = "Audio"
    RERANK = "Rerank"


CONVERSATIONS = frozenset({Operation.CHAT, Operation.RESPONSES})
"""The operations of a route that names none. Every backend serves them, since requests are translated to its format."""


class Mode(StrEnum):
    """`OBSERVE` classifies, decides and records, but sends to the baseline."""

    ENFORCE = "Enforce"
    OBSERVE = "Observe"


class Priority(StrEnum):
    """The order in which waiting requests go, `HIGH` first."""

    HIGH = "High"
    NORMAL = "Normal"
    LOW = "Low"


class PromptLogging(StrEnum):
    """The part of a prompt that the request log may hold: nothing, its figures (tokens, class), or its text."""

    NONE = "None"
    METADATA = "Metadata"
    FULL = "Full"


class Limit(Wire, frozen=True):
    """A rate or concurrency limit. Limits with the same `key` share one count."""

    key: str
    requests_per_minute: int | None = None
    in_flight: int | None = None


class TierRef(Wire, frozen=True):
    """A tier that a policy may use, with the limits and the priority of the tier's grant."""

    tier: str  # "namespace/name"
    limits: tuple[Limit, ...] = ()
    priority: Priority = Priority.NORMAL  # HIGH: requests of high priority go ahead of other namespaces' here


class HeaderMatch(Wire, frozen=True):
    """A request header; exactly one of `exact` and `prefix`, or neither for presence."""

    name: str  # lower case
    exact: str | None = None
    prefix: str | None = None


class Day(StrEnum):
    """A day of the week."""

    MONDAY = "Monday"
    TUESDAY = "Tuesday"
    WEDNESDAY = "Wednesday"
    THURSDAY = "Thursday"
    FRIDAY = "Friday"
    SATURDAY = "Saturday"
    SUNDAY = "Sunday"


DAYS = tuple(Day)
"""The days by their number, Monday first, as Python counts them."""


class TimeWindow(Wire, frozen=True):
    """A window of local time, e.g. from 22:00 (1320) to 06:00 (360). See `weir_router.contract.hours`."""

    zone: str  # IANA name
    days: frozenset[Day] = frozenset()  # on which it begins; empty: all
    start: int = 0  # minute of the day
    end: int = 1440  # minute of the day before which it ends; up to `start`: of the next day


class When(Wire, frozen=True, dict=True):  # a dict for what `conditions` works out once
    """Conditions of a route, all of which must hold; an empty one holds always.

    `weir_router.contract.conditions` has one entry for each field, with its meaning.
    """

    complexity: frozenset[Complexity] = frozenset()
    min_prompt_tokens: int | None = None
    max_prompt_tokens: int | None = None
    capabilities: frozenset[Capability] = frozenset()  # the request needs at least these
    headers: tuple[HeaderMatch, ...] = ()
    callers: tuple[CallerRule, ...] = ()  # any of them
    user_tiers: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()
    times: tuple[TimeWindow, ...] = ()  # any of them
    max_latency_budget: float | None = None  # seconds; the request's own budget is at most this
    operations: frozenset[str] = frozenset()  # any of them; empty: `CONVERSATIONS`. Unknown ones, of a newer operator,
    # never hold


class Route(Wire, frozen=True):
    """First match wins. `require` holds for every candidate, first choices and fallbacks alike (residency)."""

    name: str
    tiers: tuple[TierRef, ...]
    when: When = When()
    require: dict[str, str] = {}  # labels that a backend must carry


class RetryBudget(Wire, frozen=True):
    """Tries beyond the first that a policy's requests together may make where they multiply load."""

    percent: int | None = None  # of its requests
    per_second: int | None = None
    burst: int | None = None  # that can be saved up


class Failover(Wire, frozen=True):
    """Bounds of all attempts of one request."""

    attempts: int = 3  # with the first
    deadline: float = 90.0  # seconds to the first content, not the stream
    retry_budget: RetryBudget | None = None  # None: the one that all such policies share
    tier_delay: float = 0.0  # seconds to wait for a cheaper tier before a dearer one is tried
    keep_alive: float = 15.0  # seconds after which a stream begins with comments, before its content; 0.0: never


class Queue(Wire, frozen=True):
    """How requests wait when everything is at its concurrency."""

    priority: Priority = Priority.NORMAL
    wait: float | None = None  # seconds at most; 0: not at all; None: the router's default (`weir_router.admit.queue`)


class Override(Wire, frozen=True):
    """Break-glass: every conversation goes to one tier until a moment."""

    tier: TierRef
    until: float  # seconds since the epoch


class Policy(Wire, frozen=True, dict=True):  # a dict for the cached property
    """A compiled RoutingPolicy. Where it is not ready, its callers get 503 policy_not_ready with `not_ready`."""

    namespace: str
    name: str
    models: tuple[str, ...]
    callers: tuple[CallerRule, ...]
    routes: tuple[Route, ...] = ()
    not_ready: str | None = None  # None: ready; otherwise why, for the caller's error message
    created: float = 0.0  # seconds since the epoch; the older policy wins between equals
    rank: int = 0  # before age: below 0 where the installation offers the namespace, the lower the earlier
    mode: Mode = Mode.ENFORCE
    baseline: TierRef | None = None
    min_confidence: float = 0.0  # below it the class is raised one step
    failover: Failover = Failover()
    queue: Queue = Queue()
    override: Override | None = None
    limits: Limit | None = None  # per caller: the router appends the caller to the key
    max_request_bytes: int | None = None  # None: `MAX_BODY_BYTES`
    prompt_logging: PromptLogging = PromptLogging.METADATA
    prefixes: tuple[str, ...] = ()  # beginnings of further model names; empty text: every name

    @cached_property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @cached_property
    def largest_request(self) -> int:
        """Bytes of the largest body that it accepts."""
        return MAX_BODY_BYTES if self.max_request_bytes is None else self.max_request_bytes

    @property
    def patterns(self) -> tuple[str, ...]:
        """Names and prefixes for people: `("auto", "claude-*", "*")`."""
        return (*self.models, *[f"{prefix}*" for prefix in self.prefixes])

    @property
    def example(self) -> str:
        """A model name that the policy serves."""
        return self.models[0] if self.models else f"{self.prefixes[0]}any"

    @property
    def precedence(self) -> tuple[int, float, str, str]:
        """Sorts policies as routers do: offered ones first, then the older, then by namespace and name."""
        return self.rank, self.created, self.namespace, self.name

    @property
    def caller_namespaces(self) -> frozenset[str] | None:
        """The namespaces of its callers; None: all."""
        named = [rule.namespaces for rule in self.callers]
        return None if None in named else frozenset(name for names in named for name in names or ())

    def is_complete(self, namespace: str) -> bool:
        """Whether a router of `namespace` can serve the policy by itself: every tier is of this namespace."""
        references = list(self.references())
        return bool(references) and all(ref.tier.partition("/")[0] == namespace for ref in references)

    def references(self) -> Iterator[TierRef]:
        """Every tier that the policy may send to, with its limits; a tier may come more than once."""
        for route in self.routes:
            yield from route.tiers
        if self.baseline is not None:
            yield self.baseline
        if self.override is not None:
            yield self.override.tier
