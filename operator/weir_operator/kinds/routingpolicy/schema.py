"""RoutingPolicy: callers, the models that they may ask for by name, and the tiers that answer, in order.

Read by the compiler and `crdgen`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from weir_operator.schemas.common import (
    DEFAULT_CLASS,
    DURATION,
    DURATION_FORM,
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
from weir_operator.schemas.rules import SET, Model, Rule
from weir_router.contract import Capability, Complexity, Day, Mode, Operation, Priority, PromptLogging
from weir_router.contract.hours import DAY_MINUTES, zone_of

DEFAULT_ATTEMPTS = 3  # with the first: two other models see nearly every outage; more only adds waiting
MAX_ATTEMPTS = 10
DEFAULT_DEADLINE = "90s"  # well under the SDKs' own 600 s; above any healthy time to first token
DEFAULT_KEEP_ALIVE = "15s"  # a quarter of the minute after which balancers cut; most models have begun by then
DEFAULT_TIER_DELAY = "0s"  # an answer now is worth more than a cheaper one later, unless a team says otherwise
DEFAULT_MIN_CONFIDENCE = "0.8"  # a class raised in vain costs cents, one too low costs the answer
MAX_ROUTES = 32
MAX_TIERS = 16  # of one route
MAX_MODELS = 64
ANY_NAME = "*"  # in `models`: every name
MAX_TIMES = 16  # windows of one route
MAX_ZONE = 64  # the longest name in use has 30 characters
MAX_REQUEST_BYTES = 268_435_456  # 256 MiB: providers take 50 and some; the routers' `--memory` bounds it further

CONFIDENCE = r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$"

ZONE = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$"
TIME_OF_DAY = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"

Confidence = Annotated[str, Field(max_length=8, pattern=CONFIDENCE)]
HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, Field(min_length=1, max_length=253)]
# Zero is meant here, so it is no `Duration`; and at most a minute: a queue in which one waits longer does not move.
QueueWait = Annotated[
    str,
    Field(max_length=24, pattern=DURATION, json_schema_extra=DURATION_FORM),
    Rule("duration(self) <= duration('1m')", "must be at most a minute", lambda text: seconds(text) <= 60),
]
KeepAlive = QueueWait  # the same bounds: nginx and most balancers cut a silent connection after a minute
TierDelay = QueueWait  # the same bounds: a caller who waits longer than a minute is better served by a dearer model
Attempts = Annotated[int, Field(strict=True, ge=1, le=MAX_ATTEMPTS, json_schema_extra=INT32)]
RequestBytes = Annotated[int, Field(strict=True, ge=1024, le=MAX_REQUEST_BYTES, json_schema_extra=INT32)]


TimeZone = Annotated[
    str,
    Field(min_length=1, max_length=MAX_ZONE, pattern=ZONE),
    Rule(None, "is no time zone of the IANA database, such as Europe/Berlin or UTC", lambda text: bool(zone_of(text))),
]
TimeOfDay = Annotated[str, Field(max_length=5, pattern=TIME_OF_DAY)]


def minutes(time_of_day: str) -> int:
    """`22:30` as a minute of the day; `24:00` is the end of it."""
    hours, _, rest = time_of_day.partition(":")
    return int(hours) * 60 + int(rest)


class ModelName(Model):
    """A name that callers put into `model`, or the beginning of such names."""

    name: Token | None = None
    """Name of a model, any text that callers agree on, e.g. `auto` or the name of a real model. `*` is every name.
    Default: none, where there is a `prefix`."""
    prefix: Token | None = None
    """Beginning of names, e.g. `claude-`. An exact name wins over a prefix, the longer prefix over the shorter; `*` is
    the shortest. Default: none, where there is a `name`."""

    RULES: ClassVar = (
        Rule(
            "has(self.name) != has(self.prefix)",
            "give name or prefix, one of the two",
            lambda it: (it.name is None) != (it.prefix is None),
        ),
        Rule(
            "!has(self.name) || self.name == '*' || !self.name.contains('*')",
            "a name has no * unless it is * alone; use prefix",
            lambda it: it.name is None or it.name == ANY_NAME or ANY_NAME not in it.name,
        ),
    )


class PromptTokens(Model):
    """Estimated size of a prompt, both ends included."""

    min: Tokens | None = None
    """Least number of tokens, this one included. Default: no bound."""
    max: Tokens | None = None
    """Largest number of tokens, this one included. Default: no bound."""

    RULES: ClassVar = (
        Rule(
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            "min cannot exceed max",
            lambda it: it.min is None or it.max is None or it.min <= it.max,
        ),
    )


class HeaderMatchSpec(Model):
    """A request header. Without `exact` and `prefix` it only has to be present."""

    name: HeaderName
    """Name of the header, for example `x-team`; case does not matter."""
    exact: HeaderValue | None = None
    """Whole value of the header. Default: any."""
    prefix: HeaderValue | None = None
    """Beginning of the header's value. Default: any."""

    RULES: ClassVar = (
        Rule(
            "!has(self.exact) || !has(self.prefix)",
            "give exact or prefix, not both",
            lambda it: it.exact is None or it.prefix is None,
        ),
    )


class Requirement(Model):
    """Requirement on candidates."""

    labels: Annotated[LabelMap, Field(min_length=1, max_length=MAX_LABELS), LABEL_KEYS]
    """Labels of the backend, all of them, e.g. `region: eu-west-1`."""


class TimeWindowSpec(Model):
    """A window of local time, as the clocks of its time zone show it."""

    time_zone: TimeZone
    """IANA name of the time zone, e.g. `Europe/Berlin`."""
    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=len(Day)), SET] | None = None
    """Days on which the window begins. Default: all."""
    from_: TimeOfDay = Field(default="00:00", alias="from")
    """Time of the day at which it begins, e.g. `22:00`."""
    to: TimeOfDay = "24:00"
    """Time of the day at which it ends, e.g. `06:00`; one that is earlier than `from` is of the next day."""

    RULES: ClassVar = (
        Rule(
            "self.from != self.to && self.from != '24:00'",
            "from and to must differ, and from is at most 23:59",
            lambda it: it.from_ != it.to and minutes(it.from_) < DAY_MINUTES,
        ),
    )


class LatencyBudgetSpec(Model):
    """The request's own latency budget, which it states in the header `x-weir-ttft`."""

    max: Duration
    """Largest budget of a request. Requests without a budget do not match."""


class WhenSpec(Model):
    """Conditions on a request, all of which must hold; and with `require` one on its candidates."""

    operations: Annotated[tuple[Operation, ...], Field(min_length=1, max_length=len(Operation)), SET] | None = None
    """Operations that the request may ask for, any of them, for example `[Embeddings]`. `Chat`: a chat completion or a
    message. All but `Chat` and `Responses` need backends that list them in `endpoints`. Default: `[Chat,
    Responses]`."""
    complexity: Annotated[tuple[Complexity, ...], Field(min_length=1, max_length=len(Complexity)), SET] | None = None
    """Classes of prompts, any of them. Default: all."""
    prompt_tokens: PromptTokens | None = None
    """Estimated size of the prompt. Default: any."""
    capabilities: Annotated[tuple[Capability, ...], Field(min_length=1, max_length=len(Capability)), SET] | None = None
    """Capabilities that the request needs, all of them. Default: none."""
    headers: Annotated[tuple[HeaderMatchSpec, ...], Field(min_length=1, max_length=MAX_RULES)] | None = None
    """Headers of the request, all of them. Default: none."""
    callers: Annotated[tuple[CallerRuleSpec, ...], Field(min_length=1, max_length=MAX_RULES)] | None = None
    """Callers of the request, any of them. Default: all of the policy."""
    user_tiers: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_NAMES), SET] | None = None
    """User tiers of the caller, any of them, for example `[gold]`. A user tier comes from an annotation of the key's
    Secret. Those of other namespaces count only if the installation trusts them. Default: all."""
    features: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_NAMES), SET] | None = None
    """Values of the client's `x-weir-feature`, any of them, for example `[search]`. The header labels; it never
    authorises. Default: all."""
    times: Annotated[tuple[TimeWindowSpec, ...], Field(min_length=1, max_length=MAX_TIMES)] | None = None
    """Windows of time, any of them. Default: always."""
    latency_budget: LatencyBudgetSpec | None = None
    """Latency budget of the request. Default: any, or none."""
    require: Requirement | None = None
    """Requirement on the candidates, not on the request: it restricts first choices and fallbacks alike (residency).
    A route with it never gives way to a later one because its tiers are gone."""


class RouteSpec(Model):
    """Tiers for one sort of requests."""

    name: Name
    """Name of the route, unique in the policy; it appears in metrics and in `x-weir-route`."""
    when: WhenSpec | None = None
    """Conditions on requests. Default: none, so all match."""
    tiers: Annotated[tuple[TierReference, ...], Field(min_length=1, max_length=MAX_TIERS)]
    """Tiers, first choice first: this order is the escalation order."""


class Classifier(Model):
    """Settings of the classifier."""

    min_confidence: Confidence = DEFAULT_MIN_CONFIDENCE
    """Probability as text such as `"0.8"`, below which the class is raised one step before routes are matched; `0`
    never raises."""


class RetryBudgetSpec(Model):
    """Budget of attempts that may multiply load, over all requests of a router together: a second one at the same
    backend, or one at a backend that is not healthy. Going to a healthy one is always free."""

    percent: Annotated[int, Field(strict=True, ge=0, le=100, json_schema_extra=INT32)] | None = None
    """Percent of the requests. Default: `20`."""
    per_second: Annotated[int, Field(strict=True, ge=0, le=1000, json_schema_extra=INT32)] | None = None
    """Number of further tries per second, for times with few requests. Default: `1`."""
    burst: Annotated[int, Field(strict=True, ge=1, le=10_000, json_schema_extra=INT32)] | None = None
    """Number of tries that can be saved up. Default: `20`."""


class QueueSpec(Model):
    """Waiting of a request for which there is no room: the router serves its maximum, or every backend that could serve
    it is at its `concurrency`."""

    priority: Priority = Priority.NORMAL
    """Order within the caller's namespace when room is free: `High`, `Normal`, `Low`. In a full queue, a lower priority
    gives way. Before other namespaces it counts where a tier's grant says `priority: High`."""
    wait: QueueWait | None = None
    """Longest wait before a request is refused with a Retry-After; `0s`: none. Default: `5s`."""


class FailoverSpec(Model):
    """Bounds on the attempts of one request."""

    attempts: Attempts = DEFAULT_ATTEMPTS
    """Number of attempts, the first included."""
    deadline: Duration = DEFAULT_DEADLINE
    """Time to the first content over all attempts; it does not bound the stream."""
    retry_budget: RetryBudgetSpec | None = None
    """Budget of this policy's own. Default: the router's, shared by all policies that state none."""
    tier_delay: TierDelay | None = None
    """Longest wait of a request for a cheaper tier before a dearer one is tried: for a backend that has just failed in
    a way that passes, or whose Retry-After is no longer. At least one attempt is left for the dearer. Default: `0s`."""
    keep_alive: KeepAlive | None = None
    """Time without a first byte after which a streaming caller gets 200 and comments, so that no balancer cuts the
    connection. Failover goes on, and a final failure is then an error event, which SDKs do not retry. `0s`: never.
    Default: `15s`."""


class OverrideSpec(Model):
    """Break-glass: every conversation goes to one tier until a moment. Other operations, such as embeddings, stay with
    their routes."""

    tier: TierReference
    """Tier that answers. `require` of routes and what a request needs still hold."""
    until: Timestamp
    """Time at which it ends by itself, as RFC 3339: a forgotten override is worse than the outage."""


class CallerLimits(RateLimits):
    """Limits of each caller."""

    request_bytes: RequestBytes | None = None
    """Size of one request's body in bytes; a larger one is answered 413. A router's `--memory` bounds it, too: a body
    takes three times its size there. Default: `33554432`, which is 32 MiB."""


def _route_names_differ(routes: tuple[RouteSpec, ...]) -> bool:
    return len({route.name for route in routes}) == len(routes)


class RoutingPolicySpec(Model):
    """Spec of a RoutingPolicy, written by a team."""

    FORMS: ClassVar = {
        CONFIDENCE: 'a probability such as "0.8"',
        ZONE: "the name of a time zone such as Europe/Berlin",
        TIME_OF_DAY: 'a time of the day such as "22:00", in quotes',
    }

    class_name: ClassName = DEFAULT_CLASS
    """Class of the installation that serves this object; immutable."""
    mode: Mode = Mode.ENFORCE
    """Use of the decision. `Enforce`: requests go where routes lead. `Observe`: classifies, decides and records, but
    sends conversations to the baseline."""
    baseline: TierReference | None = None
    """Tier that savings are measured against, and that answers in `mode: Observe`. Default: none."""
    models: Annotated[
        tuple[ModelName, ...],
        Field(min_length=1, max_length=MAX_MODELS),
        Rule(
            "self.all(one, self.exists_one(other, other == one))",
            "names and prefixes must differ",
            lambda models: len({(it.name, it.prefix) for it in models}) == len(models),
        ),
    ]
    """Names that callers ask for, and prefixes of names."""
    callers: Annotated[tuple[CallerRuleSpec, ...], Field(min_length=1, max_length=MAX_RULES)] = (CallerRuleSpec(),)
    """Callers of this policy, any of them. Those of other namespaces need their consent, or the installation's. A
    namespace's own policy wins for its callers. Default: those of this namespace."""
    classifier: Classifier = Classifier()
    """Settings of the classifier."""
    routes: Annotated[
        tuple[RouteSpec, ...],
        Field(min_length=1, max_length=MAX_ROUTES),
        Rule(
            "self.all(route, self.exists_one(other, other.name == route.name))",
            "names of routes must differ",
            _route_names_differ,
        ),
    ]
    """Routes in order; the first that matches decides."""
    failover: FailoverSpec = FailoverSpec()
    """Bounds on the attempts of one request."""
    queue: QueueSpec | None = None
    """Waiting of requests for which there is no room."""
    override: OverrideSpec | None = None
    """Break-glass, which is normally absent."""
    limits: CallerLimits | None = None
    """Limits for each caller by itself. Limits of grants apply as well. Default: none."""
    prompt_logging: PromptLogging = PromptLogging.METADATA
    """Content of a prompt in the request log: `None`, its figures (`Metadata`), or its text (`Full`)."""


class RoutingPolicyStatus(Model):
    """Status of a RoutingPolicy, written by Weir."""

    observed_generation: Generation | None = None
    """Generation of the spec that this status is about, which is a count of its changes."""
    conditions: Conditions | None = None
    """Conditions of the policy: `Accepted`, `ResolvedRefs`, `Conflicted`, `Programmed`, `Ready`."""
    routes_ready: Annotated[str, Field(max_length=16)] | None = None
    """Routes that can be used, of all: `2/2`."""
    tiers_ready: Annotated[str, Field(max_length=16)] | None = None
    """References to tiers that resolve, of all: `4/4`."""
    elsewhere: Annotated[str, Field(max_length=64)] | None = None
    """Requests of the last ten minutes that another tier than the route's first answered, because that one could not:
    `34 % cheaper, 2 % dearer`. Absent: none."""
    override: Annotated[str, Field(max_length=64)] | None = None
    """End of the override that holds now: `until 2026-12-01T15:04Z`. Absent: routes decide."""
