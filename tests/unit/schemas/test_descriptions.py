"""Each field of both kinds says in `kubectl explain` what it is, in which unit, with which default, and an example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from weir_operator.kinds import KINDS
from weir_operator.kinds.crdgen import crd, structural
from weir_operator.kinds.modeltier.schema import ModelTierSpec
from weir_operator.kinds.routingpolicy.schema import (
    DEFAULT_KEEP_ALIVE,
    DEFAULT_TIER_DELAY,
    RoutingPolicySpec,
)
from weir_operator.schemas.common import seconds
from weir_operator.schemas.rules import Model
from weir_router.admit import queue, retry_budget
from weir_router.call import clocks
from weir_router.contract import MAX_BODY_BYTES
from weir_router.health import settings

Field = dict[str, Any]


def leaves(schema: Field, path: str) -> Iterator[tuple[str, Field, bool]]:
    """Each field without fields of its own, and whether it is required."""
    for name, field in schema.get("properties", {}).items():
        here, items = f"{path}.{name}", field.get("items", {})
        if "properties" in field:
            yield from leaves(field, here)
        elif "properties" in items:
            yield from leaves(items, f"{here}[]")
        else:
            yield here, field, name in schema.get("required", ())


def of(part: str) -> list[Any]:
    found = []
    for kind in KINDS:
        schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
        found += [pytest.param(*it, id=f"{kind.kind}.{it[0]}") for it in leaves(schema, part)]
    assert len(found) > 10
    return found


SENTENCE = re.compile(r"[A-Z`].{15,}\.$")
VAGUE = re.compile(r"(Its|Their|It|The) ")
UNIT = re.compile(
    r"\b([Nn]umber of|[Pp]ort number|tokens per second|in percent|[Pp]ercent of|bytes|count of|[Ww]eight)\b"
)
EXAMPLE = re.compile(r"(such as|for example|e\.g\.) `")


@pytest.mark.parametrize(("path", "field", "required"), [*of("spec"), *of("status")])
def test_it_says_in_a_complete_sentence_what_it_is(path: str, field: Field, required: bool) -> None:
    text = field["description"]
    assert SENTENCE.match(text), text
    assert len(text.split(". ")[0].split()) >= 3, text
    assert not VAGUE.match(text), text


@pytest.mark.parametrize(("path", "field", "required"), [*of("spec"), *of("status")])
def test_a_number_says_its_unit_or_what_it_counts(path: str, field: Field, required: bool) -> None:
    if field["type"] in ("integer", "number"):
        assert UNIT.search(field["description"]), field["description"]


@pytest.mark.parametrize(("path", "field", "required"), of("spec"))
def test_an_optional_field_says_its_default(path: str, field: Field, required: bool) -> None:
    text = field["description"]
    if not required:
        assert re.search(r"\bDefault: ", text), text
    if "default" in field:
        assert f"Default: `{field['default']}`" in text, text


@pytest.mark.parametrize(("path", "field", "required"), [*of("spec"), *of("status")])
def test_a_text_with_a_format_shows_an_example(path: str, field: Field, required: bool) -> None:
    node = field.get("items", field)
    free = node.get("type") == "string" and "enum" not in node
    values = field.get("additionalProperties")
    if ((free and "pattern" in node) or values or node.get("format") == "date-time") and "state" not in path:
        assert EXAMPLE.search(field["description"]), field["description"]


def described(model: type[Model], *names: str) -> str:
    field: Field = structural(model)
    for name in names:
        field = field.get("items", field)["properties"][name]
    text: str = field["description"]
    return text


def default_of(text: str) -> str:
    found = re.search(r"Default: `([^`]+)`", text)
    assert found, text
    return found[1]


KNOBS = [
    (ModelTierSpec, "breaker.consecutiveFailures", settings.CONSECUTIVE),
    (ModelTierSpec, "breaker.failurePercent", 100 * settings.RATIO),
    (ModelTierSpec, "breaker.minimumRequests", settings.RATIO_MINIMUM),
    (ModelTierSpec, "breaker.openFor", settings.OPEN_FIRST),
    (ModelTierSpec, "breaker.maxOpenFor", settings.OPEN_LAST),
    (ModelTierSpec, "breaker.maxRetryAfter", settings.RETRY_AFTER_CAP),
    (ModelTierSpec, "breaker.probes", settings.PROBES_TO_CLOSE),
    (ModelTierSpec, "breaker.slowStart", settings.SLOW_START),
    (ModelTierSpec, "timeouts.connect", clocks.CONNECT_TIMEOUT),
    (ModelTierSpec, "timeouts.idle", clocks.IDLE_TIMEOUT),
    (ModelTierSpec, "timeouts.total", clocks.TOTAL_TIMEOUT),
    (ModelTierSpec, "backends.weight", 1),
    (RoutingPolicySpec, "failover.retryBudget.percent", 100 * retry_budget.PER_REQUEST),
    (RoutingPolicySpec, "failover.retryBudget.perSecond", retry_budget.PER_SECOND),
    (RoutingPolicySpec, "failover.retryBudget.burst", retry_budget.CAP),
    (RoutingPolicySpec, "failover.keepAlive", seconds(DEFAULT_KEEP_ALIVE)),
    (RoutingPolicySpec, "failover.tierDelay", seconds(DEFAULT_TIER_DELAY)),
    (RoutingPolicySpec, "queue.wait", queue.WAIT),
    (RoutingPolicySpec, "limits.requestBytes", MAX_BODY_BYTES),
]


@pytest.mark.parametrize(("model", "path", "value"), KNOBS, ids=lambda it: it if isinstance(it, str) else "")
def test_the_stated_default_is_the_code_s(model: type[Model], path: str, value: float) -> None:
    stated = default_of(described(model, *path.split(".")))
    assert (float(stated) if stated.isdecimal() else seconds(stated)) == value


def test_a_field_with_words_of_its_own_keeps_those_of_its_type() -> None:
    assert "US dollars per million tokens" in described(ModelTierSpec, "backends", "price")
    assert described(ModelTierSpec, "backends", "price").startswith("Price of the backend")
    assert "counted by each router for itself" in described(ModelTierSpec, "grants", "limits")
