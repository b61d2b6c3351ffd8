"""Specs that the schemas refuse without a cluster: the same ones, in the same words, as the rules of the CRDs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from weir_operator.kinds.crdgen import structural
from weir_operator.kinds.modeltier.schema import ModelTierSpec
from weir_operator.kinds.routingpolicy.schema import RoutingPolicySpec
from weir_operator.schemas.common import seconds, timestamp

BACKEND = {"name": "a", "provider": "OpenAI", "model": "m"}
TIER = {"backends": [BACKEND]}
ROUTE = {"name": "r", "tiers": [{"name": "t"}]}
POLICY = {"models": [{"name": "auto"}], "routes": [ROUTE]}


def tier(**changes: Any) -> dict[str, Any]:
    return {"backends": [BACKEND | changes]}


def when(**conditions: Any) -> dict[str, Any]:
    return POLICY | {"routes": [ROUTE | {"when": conditions}]}


REFUSED = [
    (ModelTierSpec, tier(weight=3), "weight means something only with selection: Weighted"),
    (
        ModelTierSpec,
        tier(limits={"contextTokens": 5, "effectiveContextTokens": 6}),
        "effectiveContextTokens cannot exceed contextTokens",
    ),
    (
        ModelTierSpec,
        tier(baseURL="http://x/v1", backendRef={"name": "s", "port": 80}),
        "baseURL and backendRef exclude each other",
    ),
    (
        ModelTierSpec,
        tier(provider="Anthropic", dialects=["Messages", "Chat"]),
        "a server of provider Anthropic takes the dialect Messages only; others that do are of provider OpenAI",
    ),
    (
        ModelTierSpec,
        tier(provider="Anthropic", endpoints=["Embeddings"]),
        "a server of provider Anthropic takes conversations only; others have endpoints with provider OpenAI",
    ),
    (ModelTierSpec, tier(baseURL="http://x:99999/v1"), "a port is a number from 1 to 65535"),
    (
        ModelTierSpec,
        tier(baseURL="http://x/v1/../admin"),
        "a path has no . or .. between slashes, no escaped slash, and % only before two hexadecimal digits",
    ),
    (ModelTierSpec, tier(credentials={}), "secretRef is required for type APIKey"),
    (ModelTierSpec, tier(labels={"": "x"}), "a label's key has 1 to 317 characters"),
    (ModelTierSpec, tier(parameters={"rename": {"": "x"}}), "a parameter's name has 1 to 253 characters"),
    (
        ModelTierSpec,
        tier(parameters={"defaults": {"stream": "true"}}),
        "a parameter's name has 1 to 253 characters and is none of those that the router writes: model, messages, "
        "stream, stream_options",
    ),
    (
        ModelTierSpec,
        tier(headers=[{"name": "x-a", "value": "1"}, {"name": "X-A", "value": "2"}]),
        "names of headers must differ in more than case",
    ),
    (
        ModelTierSpec,
        tier(headers=[{"name": "Authorization", "value": "Bearer x"}]),
        "the router sets this header itself; keys come from credentials, whose header may be named there",
    ),
    (
        ModelTierSpec,
        tier(credentials={"secretRef": {"name": "s", "key": "k"}, "header": "Host"}),
        "the router sets this header itself",
    ),
    (ModelTierSpec, tier(query=[{"name": "api_key", "value": "x"}]), "a key in a URL ends up in logs: use credentials"),
    (ModelTierSpec, tier(timeouts={"ttft": "0s"}), "must be longer than zero"),
    (
        ModelTierSpec,
        TIER | {"grants": [{"namespaces": {"from": "Names"}}]},
        "names are needed with from: Names, and only there",
    ),
    (
        ModelTierSpec,
        TIER | {"grants": [{"namespaces": {"names": ["a"]}}]},
        "names are needed with from: Names, and only there",
    ),
    (
        ModelTierSpec,
        TIER | {"grants": [{"namespaces": {"from": "Selector"}}]},
        "selector is needed with from: Selector, and only there",
    ),
    (
        ModelTierSpec,
        TIER
        | {
            "grants": [
                {"namespaces": {"from": "Selector", "selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}
            ]
        },
        "values are needed for In and NotIn, and only there",
    ),
    (RoutingPolicySpec, when(promptTokens={"min": 3, "max": 2}), "min cannot exceed max"),
    (
        RoutingPolicySpec,
        when(times=[{"timeZone": "UTC", "from": "09:00", "to": "09:00"}]),
        "from and to must differ, and from is at most 23:59",
    ),
    (RoutingPolicySpec, when(latencyBudget={"max": "0s"}), "must be longer than zero"),
    (RoutingPolicySpec, when(headers=[{"name": "a", "exact": "b", "prefix": "c"}]), "give exact or prefix, not both"),
    (
        RoutingPolicySpec,
        POLICY | {"callers": [{"serviceAccounts": [{"name": "a"}], "apiKeys": [{"name": "b"}]}]},
        "a caller proves itself in one way: put serviceAccounts and apiKeys into two items",
    ),
    (ModelTierSpec, TIER | {"breaker": {"openFor": "9s", "maxOpenFor": "8s"}}, "openFor cannot exceed maxOpenFor"),
    (RoutingPolicySpec, POLICY | {"queue": {"wait": "2m"}}, "must be at most a minute"),
    (RoutingPolicySpec, POLICY | {"routes": [ROUTE, ROUTE]}, "names of routes must differ"),
    (RoutingPolicySpec, POLICY | {"models": [{"prefix": "a-"}, {"prefix": "a-"}]}, "names and prefixes must differ"),
    (RoutingPolicySpec, POLICY | {"models": [{"name": "a", "prefix": "a"}]}, "give name or prefix, one of the two"),
    (RoutingPolicySpec, POLICY | {"models": [{"name": "a*"}]}, "a name has no * unless it is * alone; use prefix"),
]


@pytest.mark.parametrize(("model", "spec", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_what_a_rule_says_is_refused(model, spec, message):
    with pytest.raises(ValidationError) as raised:
        model.model_validate(spec)
    # pydantic calls a list too short, too, once an item of it is wrong.
    assert [error["msg"] for error in raised.value.errors() if error["type"] != "too_short"] == [message]


def _messages(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {message for item in schema for message in _messages(item)}
    if not isinstance(schema, dict):
        return set()
    own = {rule["message"] for rule in schema.get("x-kubernetes-validations", ())}
    return own | {message for value in schema.values() for message in _messages(value)}


def test_every_rule_of_the_crds_is_refused_here_too():
    """Rules that compare with the stored object are left out: a directory stores none."""
    in_crds = _messages(structural(ModelTierSpec)) | _messages(structural(RoutingPolicySpec))
    assert in_crds - {"className is immutable"} == {message for *_, message in REFUSED}


@pytest.mark.parametrize(
    ("model", "spec"),
    [
        (ModelTierSpec, tier(baseURL="ftp://host")),
        (ModelTierSpec, tier(baseURL="https://key@host/v1")),
        (ModelTierSpec, tier(baseURL="https://host/v1?key=x")),
        (ModelTierSpec, tier(price={"input": "1,5"})),
        (ModelTierSpec, tier(price={"input": 1.5})),
        (ModelTierSpec, tier(base_url="https://host")),
        (ModelTierSpec, tier(limits={"contextTokens": "5"})),
        (ModelTierSpec, tier(limits={"contextTokens": True})),
        (ModelTierSpec, tier(timeouts={"ttft": "5"})),
        (ModelTierSpec, tier(capabilities=["tools"])),
        (ModelTierSpec, tier(capabilities=["Tools", "Tools"])),
        (ModelTierSpec, {"backends": []}),
        (ModelTierSpec, {"backends": [BACKEND, BACKEND]}),
        (RoutingPolicySpec, POLICY | {"failover": {"attempts": 11}}),
        (RoutingPolicySpec, POLICY | {"classifier": {"minConfidence": "1.5"}}),
        (RoutingPolicySpec, POLICY | {"callers": []}),
        (RoutingPolicySpec, POLICY | {"override": {"tier": {"name": "t"}}}),
        (RoutingPolicySpec, POLICY | {"override": {"tier": {"name": "t"}, "until": "2026-13-01T00:00:00Z"}}),
        (RoutingPolicySpec, POLICY | {"override": {"tier": {"name": "t"}, "until": "tomorrow"}}),
        # In UTC these are of the year 10000, which no Python knows.
        (RoutingPolicySpec, POLICY | {"override": {"tier": {"name": "t"}, "until": "9999-12-31T23:59:59-14:00"}}),
        (RoutingPolicySpec, POLICY | {"override": {"tier": {"name": "t"}, "until": "9999-12-31T23:59:59.999999999Z"}}),
        (RoutingPolicySpec, when(require={"labels": {}})),
    ],
)
def test_what_the_shape_does_not_allow_is_refused(model, spec):
    with pytest.raises(ValidationError):
        model.model_validate(spec)


def test_the_base_of_these_cases_is_accepted():
    ModelTierSpec.model_validate(TIER)
    RoutingPolicySpec.model_validate(POLICY)


def test_a_field_with_nothing_after_it_is_absent():
    """The API server prunes nulls before it applies defaults, and so do the schemas."""
    spec = RoutingPolicySpec.model_validate(POLICY | {"mode": None, "override": None, "failover": None})
    assert (spec.mode, spec.override, spec.failover.attempts) == ("Enforce", None, 3)


def test_specs_do_not_change():
    spec = ModelTierSpec.model_validate(copy.deepcopy(TIER))
    with pytest.raises(ValidationError, match="frozen"):
        spec.backends = ()  # type: ignore[misc]


@pytest.mark.parametrize(("text", "expected"), [("800ms", 0.8), ("90s", 90.0), ("1m30s", 90.0), ("2h", 7200.0)])
def test_durations_are_seconds(text, expected):
    assert seconds(text) == pytest.approx(expected)


def test_times_have_a_zone():
    assert timestamp("1970-01-01T01:00:00+01:00") == timestamp("1970-01-01T00:00:00Z") == 0.0


def test_a_misspelt_field_is_refused_though_nothing_stands_behind_it():
    with pytest.raises(ValidationError, match="lables"):
        ModelTierSpec.model_validate(tier(lables=None))


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "Europe", "CETT"])
def test_a_time_zone_must_be_known_which_no_api_server_can_check(zone):
    with pytest.raises(ValidationError) as caught:
        RoutingPolicySpec.model_validate(when(times=[{"timeZone": zone}]))
    messages = [error["msg"] for error in caught.value.errors()]
    assert "is no time zone of the IANA database, such as Europe/Berlin or UTC" in messages
