"""The parts that kinds share: scalars, references, namespaces and labels, limits, conditions, and what a kind is.

Used by the kinds' modules, the compiler (`seconds`, `Namespaces`) and `crdgen` (`Kind`). Nothing here knows a cluster.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from weir_operator.schemas.rules import MAP, SET, Model, Rule

GROUP = "weir.dev"
VERSION = "v1alpha1"
DEFAULT_CLASS = "weir"  # the class of an installation without another name

# Bounds. The API server prices CEL rules by them and refuses what could be unbounded.
MAX_NAME = 63  # DNS label
MAX_OBJECT_NAME = 253  # DNS subdomain
MAX_TEXT = 253  # model names, header values, label values outside of Kubernetes' own use
MAX_NAMES = 64  # entries of a list of names
MAX_RULES = 16  # grants of a tier, callers of a policy
MAX_LABELS = 16
MAX_KEY = 317  # a label's key: prefix 253, slash, name 63
MAX_RATE = 10_000_000  # requests per minute, in flight; above it a limit limits nothing
MAX_TOKENS = 100_000_000  # ten times the largest context known; a typo above it is caught
MAX_MESSAGE = 32_768  # Kubernetes' bound on a condition

INT32: dict[str, Any] = {"format": "int32"}
INT64: dict[str, Any] = {"format": "int64"}

DURATION = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"  # Gateway API's duration (GEP-2257)
MONEY = r"^[0-9]{1,6}(\.[0-9]{1,9})?$"
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
# The server's `date-time` knows the calendar, but takes any offset, and a year that no Python knows.
TIMESTAMP = (
    r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
TOKEN = r"^[!-~]+$"

FORMS = {
    DURATION: "a duration such as 800ms, 90s or 1m30s",
    MONEY: 'an amount in US dollars such as "0.15"',
    TIMESTAMP: "a time such as 2026-12-01T00:00:00Z",
    DNS_LABEL: "a name of lower-case letters, digits and '-'",
    DNS_SUBDOMAIN: "a name of lower-case letters, digits, '-' and '.'",
    TOKEN: "printable ASCII without spaces",
}
"""Words for the patterns that kinds share."""

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(duration: str) -> float:
    """`1m30s` or `800ms` in seconds; expects what the pattern `DURATION` lets through."""
    return sum(float(amount) * _SECONDS[unit] for amount, unit in re.findall(r"([0-9]+)(ms|h|m|s)", duration))


def timestamp(text: str) -> float:
    """An RFC 3339 time in seconds since the epoch; raises `ValueError` for one that no calendar has."""
    return datetime.fromisoformat(text).timestamp()


def _is_time(text: str) -> bool:
    """Whether there is such a time, also in UTC: `9999-12-31T23:00:00-14:00` is of a year that no Python knows."""
    try:
        datetime.fromtimestamp(timestamp(text), UTC)
    except (ValueError, OverflowError):
        return False
    return True


FORM = "x-form"
"""Key of a type's schema whose text the CRDs append to the description of each field of that type."""

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME,
        pattern=DNS_LABEL,
        json_schema_extra={FORM: "Lower-case letters, digits and `-`, such as `team-a`."},
    ),
]
"""A DNS label: names of list items, namespaces, classes."""

ObjectName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_OBJECT_NAME,
        pattern=DNS_SUBDOMAIN,
        json_schema_extra={FORM: "Lower-case letters, digits, `-` and `.`, such as `budget-eu`."},
    ),
]
"""A DNS subdomain: names of Kubernetes objects."""

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]

Token = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=TOKEN)]
"""Printable ASCII without spaces: model names, keys of a Secret, parameter names."""

DURATION_FORM: dict[str, Any] = {FORM: "A duration such as `800ms`, `90s` or `1m30s`."}

Duration = Annotated[
    str,
    Field(max_length=24, pattern=DURATION, json_schema_extra=DURATION_FORM),
    Rule("duration(self) > duration('0s')", "must be longer than zero", lambda text: seconds(text) > 0),
]
"""`800ms`, `90s`, `1m30s`."""

Money = Annotated[
    str,
    Field(
        max_length=16,
        pattern=MONEY,
        json_schema_extra={FORM: 'US dollars per million tokens, as text such as `"0.15"`.'},
    ),
]
"""US dollars per million tokens as a decimal string; floats do not survive every YAML tool."""

Timestamp = Annotated[
    str,
    Field(
        max_length=40,
        pattern=TIMESTAMP,
        json_schema_extra={"format": "date-time", FORM: "A time such as `2026-12-01T08:00:00Z`."},
    ),
    Rule(None, "is no time that a calendar has", _is_time),
]

LABEL_KEYS = Rule(
    f"self.all(key, size(key) > 0 && size(key) <= {MAX_KEY})",
    f"a label's key has 1 to {MAX_KEY} characters",
    lambda labels: all(0 < len(key) <= MAX_KEY for key in labels),
)
"""A rule on keys. It stands behind the bounds of a map, because bounds after a rule do not reach the schema."""

LabelMap = dict[str, Annotated[str, Field(max_length=MAX_NAME)]]
Labels = Annotated[LabelMap, Field(max_length=MAX_LABELS), LABEL_KEYS]

Rate = Annotated[int, Field(strict=True, ge=1, le=MAX_RATE, json_schema_extra=INT32)]

Tokens = Annotated[int, Field(strict=True, ge=1, le=MAX_TOKENS, json_schema_extra=INT32)]

Speed = Annotated[int, Field(strict=True, ge=1, le=100_000, json_schema_extra=INT32)]  # tokens per second
ClassName = Annotated[Name, Rule("self == oldSelf", "className is immutable", None)]


class Named(Model):
    """Something that is known by its name."""

    name: ObjectName
    """Name of the ServiceAccount or Secret."""


class TierReference(Model):
    """Reference to a ModelTier."""

    name: ObjectName
    """Name of the ModelTier."""
    namespace: Name | None = None
    """Namespace of the ModelTier. Elsewhere than in the policy's own, the tier must grant it. Default: the policy's
    own."""


class From(StrEnum):
    """How namespaces are chosen."""

    SAME = "Same"
    ALL = "All"
    SELECTOR = "Selector"
    NAMES = "Names"


class Operator(StrEnum):
    """Operators of Kubernetes' label selectors."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


LabelKey = Annotated[str, Field(min_length=1, max_length=MAX_KEY)]
LabelValue = Annotated[str, Field(max_length=MAX_NAME)]


class Expression(Model):
    """One requirement on a namespace's labels."""

    key: LabelKey
    """Key of the label, for example `team` or `example.com/team`."""
    operator: Operator
    """Comparison of the label with `values`: `In` and `NotIn` look at its value, `Exists` and `DoesNotExist` at its
    key."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=MAX_NAMES), SET] | None = None
    """Values of the label, for `In` and `NotIn` only, for example `[payments, search]`. Default: none."""

    RULES: ClassVar = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "values are needed for In and NotIn, and only there",
            lambda it: (it.operator in (Operator.IN, Operator.NOT_IN)) == bool(it.values),
        ),
    )

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether `labels` meet this requirement."""
        value, values = labels.get(self.key), self.values or ()
        match self.operator:
            case Operator.IN:
                return value in values
            case Operator.NOT_IN:
                return value not in values  # also where there is no such label, as in Kubernetes
            case Operator.EXISTS:
                return value is not None
            case _:  # DoesNotExist
                return value is None


class Selector(Model):
    """Namespaces by their labels; everything stated must hold, and an empty selector selects all."""

    match_labels: Labels | None = None
    """Labels that a namespace must carry, for example `team: payments`. Default: none."""
    match_expressions: Annotated[tuple[Expression, ...], Field(max_length=MAX_RULES)] | None = None
    """Further requirements on a namespace's labels. Default: none."""

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether a namespace with `labels` is selected."""
        stated = (self.match_labels or {}).items()
        return stated <= labels.items() and all(it.matches(labels) for it in self.match_expressions or ())


class Namespaces(Model):
    """A choice of namespaces."""

    from_: From = Field(default=From.SAME, alias="from")
    """Choice of the namespaces. `Same`: that of this object. `All`: every one. `Selector`: by labels. `Names`: as
    listed."""
    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_NAMES), SET] | None = None
    """Names of the namespaces, with `from: Names` only, for example `[team-a, team-b]`. Default: none."""
    selector: Selector | None = None
    """Labels of the namespaces, with `from: Selector` only. Default: none."""

    RULES: ClassVar = (
        Rule(
            "(self.from == 'Names') == has(self.names)",
            "names are needed with from: Names, and only there",
            lambda it: (it.from_ is From.NAMES) == (it.names is not None),
        ),
        Rule(
            "(self.from == 'Selector') == has(self.selector)",
            "selector is needed with from: Selector, and only there",
            lambda it: (it.from_ is From.SELECTOR) == (it.selector is not None),
        ),
    )


NamedList = Annotated[tuple[Named, ...], Field(min_length=1, max_length=MAX_NAMES), MAP]


class CallerRuleSpec(Model):
    """A rule that callers meet. Everything that is stated must hold."""

    namespaces: Namespaces = Namespaces()
    """Namespaces of the callers. Default: the policy's own."""
    service_accounts: NamedList | None = None
    """ServiceAccounts that the rule is limited to. Default: no such limit."""
    api_keys: NamedList | None = None
    """API keys that the rule is limited to, by the name of the key's Secret. Default: no such limit."""

    RULES: ClassVar = (
        Rule(
            "!has(self.serviceAccounts) || !has(self.apiKeys)",
            "a caller proves itself in one way: put serviceAccounts and apiKeys into two items",
            lambda it: it.service_accounts is None or it.api_keys is None,
        ),
    )


class RateLimits(Model):
    """Limits, counted by each router for itself."""

    requests_per_minute: Rate | None = None
    """Number of requests per minute; more are answered 429 with Retry-After. Default: no limit."""
    in_flight: Rate | None = None
    """Number of requests at the same time; more are answered 429 with Retry-After. Default: no limit."""


class ObjectivesSpec(Model):
    """Objectives of a backend. A backend that misses them is ranked behind those that keep theirs."""

    ttft: Duration | None = None
    """Time to the first content. Default: none; of a backend, the tier's."""
    tokens_per_second: Speed | None = None
    """Output speed after the first content, in tokens per second. Default: none; of a backend, the tier's."""


class ConditionStatus(StrEnum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


Generation = Annotated[int, Field(ge=-1, json_schema_extra=INT64)]


class Condition(Model):
    """A standard Kubernetes condition."""

    type: Annotated[str, Field(min_length=1, max_length=MAX_KEY)]
    """Aspect that is judged, for example `Ready`."""
    status: ConditionStatus
    """Judgement of the aspect."""
    observed_generation: Generation | None = None
    """Generation of the spec that was judged, which is a count of its changes."""
    last_transition_time: Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
    """Time at which the status last changed, for example `2026-12-01T08:00:00Z`."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Reason in one CamelCase word, for example `SecretNotFound`."""
    message: Annotated[str, Field(max_length=MAX_MESSAGE)]
    """Reason and remedy, for people."""


_BY_TYPE: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
Conditions = Annotated[tuple[Condition, ...], Field(max_length=8, json_schema_extra=_BY_TYPE)]


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`. Priority 1 shows with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    priority: int = 0

    @property
    def manifest(self) -> dict[str, Any]:
        """The column in the form of `additionalPrinterColumns`."""
        column = {"name": self.name, "type": self.type, "jsonPath": self.path, "description": self.description}
        return column | ({"priority": self.priority} if self.priority else {})


@dataclass(frozen=True)
class Kind:
    """One kind: its names, its schemas, its columns."""

    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[Model]
    status: type[Model]
    columns: tuple[Column, ...]

    @property
    def file_name(self) -> str:
        """`weir.dev_modeltiers.yaml`, as controller-gen names such files."""
        return f"{GROUP}_{self.plural}.yaml"
