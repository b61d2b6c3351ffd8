"""RoutingPolicy: who may ask for what by which name, and which tiers answer it in which order.

Read by the compiler and `crdgen`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from weir_operator.schemas.common import (
    DEFAULT_CLASS,
    DURATION,
    INT32,
    LABEL_KEYS,
    MAX_LABELS,
    MAX_NAMES,
    MAX_RULES,
    CallerRuleSpec,
    ClassName,
    Conditions,
    Duration,
    Generation,
    LabelMap,
    Name,
    RateLimits,
    Text,
    TierReference,
    Timestamp,
    Token,
    Tokens,
    seconds,
)
from weir_operator.schemas.rules import MAP, SET, Model, Rule
from weir_router.contract import Capability, Complexity, Mode, Priority, PromptLogging

DEFAULT_ATTEMPTS = 3  # with the first: two other models see nearly every outage; more only adds waiting
MAX_ATTEMPTS = 10
DEFAULT_DEADLINE = "90s"  # well under the SDKs' own 600 s; above any healthy time to first token
DEFAULT_MIN_CONFIDENCE = "0.8"  # a class raised in vain costs cents, one too low costs the answer
MAX_ROUTES = 32
MAX_TIERS = 16  # of one route
MAX_MODELS = 64
MAX_REQUEST_BYTES = 268_435_456  # 256 MiB: more than any provider takes

CONFIDENCE = r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$"

Confidence = Annotated[str, Field(max_length=8, pattern=CONFIDENCE)]
HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, Field(min_length=1, max_length=253)]
# Zero is meant here, so it is no `Duration`; and at most a minute: a queue in which one waits longer does not move.
QueueWait = Annotated[
    str,
    Field(max_length=24, pattern=DURATION),
    Rule("duration(self) <= duration('1m')", "must be at most a minute", lambda text: seconds(text) <= 60),
]
Attempts = Annotated[int, Field(strict=True, ge=1, le=MAX_ATTEMPTS, json_schema_extra=INT32)]
RequestBytes = Annotated[int, Field(strict=True, ge=1024, le=MAX_REQUEST_BYTES, json_schema_extra=INT32)]


class ModelName(Model):
    """A name that callers put into `model`."""

    name: Token
    """The name; any text that callers agree on, e.g. `auto` or the name of a real model."""


class PromptTokens(Model):
    """Estimated size of a prompt, both ends included."""

    min: Tokens | None = None
    """At least so many."""
    max: Tokens | None = None
    """At most so many."""

    RULES: ClassVar = (
        Rule(
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            "min cannot exceed max",
            lambda it: it.min is None or it.max is None or it.min <= it.max,
        ),
    )


class HeaderMatchSpec(Model):
    """A request header. With neither `exact` nor `prefix` it only has to be there."""

    name: HeaderName
    """The header's name; case means nothing."""
    exact: HeaderValue | None = None
    """Its whole value."""
    prefix: HeaderValue | None = None
    """How its value begins."""

    RULES: ClassVar = (
        Rule(
            "!has(self.exact) || !has(self.prefix)",
            "give exact or prefix, not both",
            lambda it: it.exact is None or it.prefix is None,
        ),
    )


class Requirement(Model):
    """What a backend must carry to be a candidate."""

    labels: Annotated[LabelMap, Field(min_length=1, max_length=MAX_LABELS), LABEL_KEYS]
    """Labels of the backend, all of them."""


class WhenSpec(Model):
    """Conditions on a request, all of which must hold; and with `require` one on its candidates."""

    complexity: Annotated[tuple[Complexity, ...], Field(min_length=1, max_length=len(Complexity)), SET] | None = None
    """Classes of prompts, any of them."""
    prompt_tokens: PromptTokens | None = None
    """Estimated size of the prompt."""
    capabilities: Annotated[tuple[Capability, ...], Field(min_length=1, max_length=len(Capability)), SET] | None = None
    """What the request needs, at least."""
    headers: Annotated[tuple[HeaderMatchSpec, ...], Field(min_length=1, max_length=MAX_RULES)] | None = None
    """Request headers, all of them."""
    callers: Annotated[tuple[CallerRuleSpec, ...], Field(min_length=1, max_length=MAX_RULES)] | None = None
    """Callers, any of them."""
    user_tiers: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_NAMES), SET] | None = None
    """The caller's user tier, any of them; it comes from an annotation of the key's Secret or the ServiceAccount."""
    features: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_NAMES), SET] | None = None
    """What the client claims in `x-weir-feature`, any of them. It labels; it never authorises."""
    require: Requirement | None = None
    """No condition on the request, but on its candidates: it restricts first choices and fallbacks alike (residency).
    A route with it never gives way to a later one because its tiers are gone."""


class RouteSpec(Model):
    """Where requests of one sort go."""

    name: Name
    """Name of the route, unique in the policy; metrics and `x-weir-route` say it."""
    when: WhenSpec | None = None
    """Which requests; default: all."""
    tiers: Annotated[tuple[TierReference, ...], Field(min_length=1, max_length=MAX_TIERS)]
    """Tiers, first choice first: this order is the escalation order."""


class Classifier(Model):
    """How prompts are classified."""

    min_confidence: Confidence = DEFAULT_MIN_CONFIDENCE
    """Below this probability the class is raised one step before routes are matched; `0` never raises."""


class RetryBudgetSpec(Model):
    """Tries beyond the first, over all requests together, that may multiply load: a second one at the same backend, or
    one at a backend that is not healthy. Going to a healthy one is always free. In each router by itself."""

    percent: Annotated[int, Field(strict=True, ge=0, le=100, json_schema_extra=INT32)] | None = None
    """Of the requests; default 20."""
    per_second: Annotated[int, Field(strict=True, ge=0, le=1000, json_schema_extra=INT32)] | None = None
    """Beside it, for times with few requests; default 1."""
    burst: Annotated[int, Field(strict=True, ge=1, le=10_000, json_schema_extra=INT32)] | None = None
    """Tries that can be saved up; default 20."""


class QueueSpec(Model):
    """What happens to a request for which there is no room: the router serves as many as it may, or every backend that
    could serve it is at its `concurrency`."""

    priority: Priority = Priority.NORMAL
    """Who goes first when room is free: `High`, `Normal`, `Low`. When the queue is full, a lower one gives way."""
    wait: QueueWait | None = None
    """How long it may wait before it is refused with a Retry-After; `0s`: not at all. Default `5s`."""


class FailoverSpec(Model):
    """Bounds of one request's story."""

    attempts: Attempts = DEFAULT_ATTEMPTS
    """Tries, with the first."""
    deadline: Duration = DEFAULT_DEADLINE
    """Time to the first content over all tries; it does not bound the stream."""
    retry_budget: RetryBudgetSpec | None = None
    """A budget of this policy's own; default: the router's, shared by all policies that state none."""


class OverrideSpec(Model):
    """Break-glass: everything goes to one tier until a moment."""

    tier: TierReference
    """The tier. `require` of routes and what a request needs still hold."""
    until: Timestamp
    """When it ends by itself, as RFC 3339: an override that nobody remembers is worse than the outage."""


class CallerLimits(RateLimits):
    """What each caller may use."""

    request_bytes: RequestBytes | None = None
    """Size of one request's body; a larger one is answered 413."""


def _route_names_differ(routes: tuple[RouteSpec, ...]) -> bool:
    return len({route.name for route in routes}) == len(routes)


class RoutingPolicySpec(Model):
    """What the team says."""

    FORMS: ClassVar = {CONFIDENCE: 'a probability such as "0.8"'}

    class_name: ClassName = DEFAULT_CLASS
    """Which installation serves this object; immutable."""
    mode: Mode = Mode.ENFORCE
    """`Observe` classifies, decides and records, but sends to the baseline."""
    baseline: TierReference | None = None
    """What savings are measured against, and what answers in `mode: Observe`."""
    models: Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=MAX_MODELS), MAP]
    """What callers ask for by name."""
    callers: Annotated[tuple[CallerRuleSpec, ...], Field(min_length=1, max_length=MAX_RULES)] = (CallerRuleSpec(),)
    """Who may use this policy, any of them; default: this namespace. A namespace's own policy wins for its callers."""
    classifier: Classifier = Classifier()
    """How prompts are classified."""
    routes: Annotated[
        tuple[RouteSpec, ...],
        Field(min_length=1, max_length=MAX_ROUTES),
        Rule(
            "self.all(route, self.exists_one(other, other.name == route.name))",
            "names of routes must differ",
            _route_names_differ,
        ),
    ]
    """In order; the first that matches decides."""
    failover: FailoverSpec = FailoverSpec()
    """Bounds of one request's story."""
    queue: QueueSpec | None = None
    """How requests wait where there is no room for them."""
    override: OverrideSpec | None = None
    """Break-glass; normally absent."""
    limits: CallerLimits | None = None
    """For each caller by itself. Limits of grants hold as well."""
    prompt_logging: PromptLogging = PromptLogging.METADATA
    """What of a prompt the request log may hold: nothing, its figures, or (`Full`) its text."""


class RoutingPolicyStatus(Model):
    """What Weir saw."""

    observed_generation: Generation | None = None
    """The generation that this status is about."""
    conditions: Conditions | None = None
    """`Accepted`, `ResolvedRefs`, `Conflicted`, `Programmed`, `Ready`."""
    routes_ready: Annotated[str, Field(max_length=16)] | None = None
    """Routes that can be used, of all: `2/2`."""
    tiers_ready: Annotated[str, Field(max_length=16)] | None = None
    """References to tiers that resolve, of all: `4/4`."""
