"""Refusals of the API server, rule by rule with their messages; `weir validate` refuses the same manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import ApiServer
from pydantic import ValidationError

from weir_operator.kinds.modeltier.schema import ModelTierSpec
from weir_operator.kinds.routingpolicy.schema import RoutingPolicySpec
from weir_operator.schemas.rules import Model

ROOT = Path(__file__).parents[2]
MODELS: dict[str, type[Model]] = {"ModelTier": ModelTierSpec, "RoutingPolicy": RoutingPolicySpec}

IMMUTABLE = "className is immutable"
LONGER_THAN_ZERO = "must be longer than zero"
LABEL_KEY = "a label's key has 1 to 317 characters"
PATH_OF_URL = "a path has no . or .. between slashes, no escaped slash, and % only before two hexadecimal digits"
ONE_PROOF = "a caller proves itself in one way: put serviceAccounts and apiKeys into two items"

FREE_HEADER = "the router sets this header itself; keys come from credentials, whose header may be named there"
NOT_THE_ROUTERS = (
    "a parameter's name has 1 to 253 characters and is none of those that the router writes: "
    "model, messages, stream, stream_options"
)

DURATIONS = [
    "ModelTier.spec.objectives.ttft",
    "ModelTier.spec.backends[].objectives.ttft",
    *(f"ModelTier.spec.timeouts.{clock}" for clock in ("connect", "ttft", "idle", "total")),
    *(f"ModelTier.spec.backends[].timeouts.{clock}" for clock in ("connect", "ttft", "idle", "total")),
    *(f"ModelTier.spec.breaker.{clock}" for clock in ("openFor", "maxOpenFor", "maxRetryAfter", "slowStart")),
    "RoutingPolicy.spec.failover.deadline",
]
NAMESPACES = [
    "ModelTier.spec.grants[].namespaces",
    "RoutingPolicy.spec.callers[].namespaces",
    "RoutingPolicy.spec.routes[].when.callers[].namespaces",
]
CALLERS = ["RoutingPolicy.spec.callers[]", "RoutingPolicy.spec.routes[].when.callers[]"]
LABELS = [
    "ModelTier.spec.backends[].labels",
    "RoutingPolicy.spec.routes[].when.require.labels",
    *(f"{place}.selector.matchLabels" for place in NAMESPACES),
]

BROKEN: list[tuple[str, Any, str]] = [
    *((place, "0s", LONGER_THAN_ZERO) for place in DURATIONS),
    *((place, {"k" * 318: "v"}, LABEL_KEY) for place in LABELS),
    *((place, {"from": "Names"}, "names are needed with from: Names, and only there") for place in NAMESPACES),
    *((place, {"from": "Selector"}, "selector is needed with from: Selector, and only there") for place in NAMESPACES),
    *(
        (
            f"{place}.selector.matchExpressions[]",
            {"key": "team", "operator": operator},
            "values are needed for In and NotIn, and only there",
        )
        for place, operator in zip(NAMESPACES, ("In", "NotIn", "In"), strict=True)
    ),
    *((place, {"serviceAccounts": [{"name": "a"}], "apiKeys": [{"name": "b"}]}, ONE_PROOF) for place in CALLERS),
    (
        "ModelTier.spec",
        {"backends": [{"name": "a", "provider": "OpenAI", "model": "m", "weight": 2}]},
        "weight means something only with selection: Weighted",
    ),
    (
        "ModelTier.spec.backends[]",
        {
            "name": "a",
            "provider": "OpenAI",
            "model": "m",
            "baseURL": "http://x/v1",
            "backendRef": {"name": "s", "port": 1},
        },
        "baseURL and backendRef exclude each other",
    ),
    (
        "ModelTier.spec.backends[]",
        {"name": "a", "provider": "Anthropic", "model": "m", "dialects": ["Messages", "Chat"]},
        "a server of provider Anthropic takes the dialect Messages only; others that do are of provider OpenAI",
    ),
    (
        "ModelTier.spec.backends[]",
        {"name": "a", "provider": "Anthropic", "model": "m", "endpoints": ["Embeddings"]},
        "a server of provider Anthropic takes conversations only; others have endpoints with provider OpenAI",
    ),
    ("ModelTier.spec.backends[].baseURL", "http://host.example:99999/v1", "a port is a number from 1 to 65535"),
    ("ModelTier.spec.backends[].baseURL", "http://host.example/v1/../admin", PATH_OF_URL),
    ("ModelTier.spec.backends[].backendRef.path", "/v1/%2e%2e/admin", PATH_OF_URL),
    ("ModelTier.spec.backends[].credentials", {"type": "APIKey"}, "secretRef is required for type APIKey"),
    (
        "ModelTier.spec.backends[].limits",
        {"contextTokens": 8000, "effectiveContextTokens": 8001},
        "effectiveContextTokens cannot exceed contextTokens",
    ),
    ("ModelTier.spec.backends[].parameters.rename", {"p" * 254: "q"}, "a parameter's name has 1 to 253 characters"),
    ("ModelTier.spec.backends[].parameters.defaults", {"model": "m"}, NOT_THE_ROUTERS),
    ("ModelTier.spec.backends[].headers[].name", "X-Weir-Hops", FREE_HEADER),
    ("ModelTier.spec.backends[].credentials.header", "Host", "the router sets this header itself"),
    ("ModelTier.spec.backends[].query[].name", "api_key", "a key in a URL ends up in logs: use credentials"),
    (
        "ModelTier.spec.backends[].headers",
        [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}],
        "names of headers must differ in more than case",
    ),
    ("ModelTier.spec.breaker", {"openFor": "30s", "maxOpenFor": "20s"}, "openFor cannot exceed maxOpenFor"),
    ("RoutingPolicy.spec.queue.wait", "61s", "must be at most a minute"),
    ("RoutingPolicy.spec.failover.tierDelay", "61s", "must be at most a minute"),
    ("RoutingPolicy.spec.failover.keepAlive", "61s", "must be at most a minute"),
    ("RoutingPolicy.spec.routes", [{"name": "twice", "tiers": [{"name": "t"}]}] * 2, "names of routes must differ"),
    ("RoutingPolicy.spec.models", [{"prefix": "a-"}, {"prefix": "a-"}], "names and prefixes must differ"),
    ("RoutingPolicy.spec.models[]", {"name": "auto", "prefix": "a"}, "give name or prefix, one of the two"),
    ("RoutingPolicy.spec.models[]", {"name": "claude-*"}, "a name has no * unless it is * alone; use prefix"),
    ("RoutingPolicy.spec.routes[].when.promptTokens", {"min": 11, "max": 10}, "min cannot exceed max"),
    (
        "RoutingPolicy.spec.routes[].when.times[]",
        {"timeZone": "UTC", "from": "24:00"},
        "from and to must differ, and from is at most 23:59",
    ),
    ("RoutingPolicy.spec.routes[].when.latencyBudget.max", "0s", "must be longer than zero"),
    (
        "RoutingPolicy.spec.routes[].when.headers[]",
        {"name": "x-a", "exact": "b", "prefix": "c"},
        "give exact or prefix, not both",
    ),
]
"""Rows of (place of the rule, a value there that breaks only this rule, the message), for every rule of every CRD."""

OUT_OF_BOUNDS: list[tuple[str, Any, str]] = [
    ("ModelTier.spec.backends", [], "should have at least 1 items"),
    ("ModelTier.spec.backends", [{"name": f"b{i}", "provider": "OpenAI", "model": "m"} for i in range(33)], "Too many"),
    ("ModelTier.spec.backends[].name", "n" * 64, "Too long"),
    ("ModelTier.spec.backends[].name", "Not_A_Label", "should match"),
    ("ModelTier.spec.backends[].model", "two words", "should match"),
    ("ModelTier.spec.backends[].baseURL", "ftp://files.example", "should match"),
    ("ModelTier.spec.backends[].baseURL", "https://user:pass@host.example/v1", "should match"),
    ("ModelTier.spec.backends[].price.input", "-0.15", "should match"),
    ("ModelTier.spec.backends[].price.input", 0.15, "must be of type string"),
    ("ModelTier.spec.backends[].limits.contextTokens", 0, "greater than or equal to 1"),
    ("ModelTier.spec.objectives.ttft", "800 ms", "should match"),
    ("ModelTier.spec.grants[].limits.requestsPerMinute", 0, "greater than or equal to 1"),
    ("ModelTier.spec.grants[].priority", "Low", "Unsupported value"),
    ("ModelTier.spec.breaker.consecutiveFailures", 0, "greater than or equal to 1"),
    ("ModelTier.spec.breaker.failurePercent", 101, "less than or equal to 100"),
    ("ModelTier.spec.breaker.probes", 21, "less than or equal to 20"),
    ("RoutingPolicy.spec.failover.retryBudget.percent", 101, "less than or equal to 100"),
    ("RoutingPolicy.spec.failover.retryBudget.burst", 0, "greater than or equal to 1"),
    ("RoutingPolicy.spec.queue.wait", "soon", "should match"),
    ("RoutingPolicy.spec.queue.priority", "Urgent", "Unsupported value"),
    ("RoutingPolicy.spec.routes", [], "should have at least 1 items"),
    ("RoutingPolicy.spec.models", [], "should have at least 1 items"),
    ("RoutingPolicy.spec.routes[].tiers", [], "should have at least 1 items"),
    ("RoutingPolicy.spec.routes[].when.require.labels", {}, "should have at least 1 properties"),
    ("RoutingPolicy.spec.classifier.minConfidence", "1.5", "should match"),
    ("RoutingPolicy.spec.failover.attempts", 0, "greater than or equal to 1"),
    ("RoutingPolicy.spec.failover.attempts", 11, "less than or equal to 10"),
    ("RoutingPolicy.spec.override", {"tier": {"name": "t"}, "until": "tomorrow"}, "RFC3339|date-time|should match"),
    (
        "RoutingPolicy.spec.override",
        {"tier": {"name": "t"}, "until": "2026-12-01T00:00:00+25:00"},
        "should match",
    ),
    ("ModelTier.spec.backends[].provider", "Gemini", "Unsupported value"),
    ("ModelTier.spec.backends[].state", "Sleeping", "Unsupported value"),
    ("ModelTier.spec.backends[].capabilities", ["Telepathy"], "Unsupported value"),
    ("ModelTier.spec.selection", "Random", "Unsupported value"),
    ("RoutingPolicy.spec.mode", "Shadow", "Unsupported value"),
    ("RoutingPolicy.spec.routes[].when.complexity", ["Hard"], "Unsupported value"),
    ("ModelTier.spec.backends", [{"name": "a", "provider": "OpenAI", "model": "m"}] * 2, "Duplicate value"),
    ("ModelTier.spec.backends[].capabilities", ["Tools", "Tools"], "Duplicate value"),
]


REQUIRED: dict[str, dict[str, Any]] = {
    "backendRef": {"name": "s", "port": 1},
    "credentials": {"secretRef": {"name": "s", "key": "k"}},
    "headers": {"value": "v"},
    "query": {"value": "v"},
}
"""Required fields of an object or of a list's items, without which the server does not come to the rules of others."""


def valid(kind: str) -> dict[str, Any]:
    """The shortest manifest of `kind` that is accepted."""
    specs: dict[str, dict[str, Any]] = {
        "ModelTier": {"backends": [{"name": "a", "provider": "OpenAI", "model": "m"}]},
        "RoutingPolicy": {"models": [{"name": "auto"}], "routes": [{"name": "all", "tiers": [{"name": "t"}]}]},
    }
    return {"apiVersion": "weir.dev/v1alpha1", "kind": kind, "metadata": {"name": "it"}, "spec": specs[kind]}


def with_value(place: str, value: Any) -> dict[str, Any]:
    """A valid manifest, except for `value` at `place`, in the first item of each list."""
    kind, *steps = place.replace("[]", ".0").split(".")
    manifest: Any = valid(kind)
    node = manifest
    before = ""
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if step == "selector":
            node["from"] = "Selector"  # a selector without it would break a second rule
        if step == "0":
            node[:] = node or [dict(REQUIRED.get(before, {}))]
        child = value if following is None else [] if following == "0" else dict(REQUIRED.get(step, {}))
        if step == "0":
            node[0] = value if following is None else node[0]
            node = node[0]
        else:
            node[step] = value if following is None else node.get(step, child)
            node = node[step]
        before = step
    return dict(manifest)


def refusal(cluster: ApiServer, namespace: str, manifest: dict[str, Any]) -> str:
    """The server's message about `manifest`, which it must refuse."""
    created = cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest))
    assert created.returncode != 0, f"accepted: {manifest}"
    return created.stderr


def rules_of(schema: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """(place, message) of every CEL rule in `schema`."""
    for rule in schema.get("x-kubernetes-validations", []):
        yield place, rule["message"]
    for name, field in schema.get("properties", {}).items():
        yield from rules_of(field, f"{place}.{name}")
    if "items" in schema:
        yield from rules_of(schema["items"], f"{place}[]")


@pytest.mark.parametrize("kind", ["ModelTier", "RoutingPolicy"])
def test_the_manifest_that_is_broken_below_is_accepted_whole(cluster: ApiServer, namespace: str, kind: str) -> None:
    created = cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(valid(kind)))
    assert created.returncode == 0, created.stderr


def test_every_rule_of_the_crds_is_broken_below() -> None:
    found: set[tuple[str, str]] = set()
    for file in (ROOT / "crds").glob("*.yaml"):
        crd = yaml.safe_load(file.read_text())["spec"]
        for version in crd["versions"]:
            found |= set(rules_of(version["schema"]["openAPIV3Schema"], crd["names"]["kind"]))
    transitions = {(f"{kind}.spec.className", IMMUTABLE) for kind in MODELS}
    assert found == {(place, message) for place, _, message in BROKEN} | transitions


@pytest.mark.parametrize(("place", "value", "message"), BROKEN, ids=lambda it: it if isinstance(it, str) else "")
def test_a_broken_rule_is_refused_alone_and_with_its_message(
    cluster: ApiServer, namespace: str, place: str, value: Any, message: str
) -> None:
    words = refusal(cluster, namespace, with_value(place, value))
    field = place.partition(".")[2].replace("[]", "[0]")
    assert re.search(rf"{re.escape(field)}: Invalid value: .*{re.escape(message)}", words), words
    assert words.count("Invalid value") == 1, words


@pytest.mark.parametrize(("place", "value", "words"), OUT_OF_BOUNDS, ids=lambda it: it if isinstance(it, str) else "")
def test_what_is_out_of_bounds_is_refused(
    cluster: ApiServer, namespace: str, place: str, value: Any, words: str
) -> None:
    said = refusal(cluster, namespace, with_value(place, value))
    assert place.partition(".")[2].partition("[")[0] in said
    assert re.search(words, said), said


@pytest.mark.parametrize(
    ("place", "value", "_"), [*BROKEN, *OUT_OF_BOUNDS], ids=lambda it: it if isinstance(it, str) else ""
)
def test_what_the_server_refuses_a_directory_refuses_too(place: str, value: Any, _: str) -> None:
    manifest = with_value(place, value)
    with pytest.raises(ValidationError):
        MODELS[manifest["kind"]].model_validate(manifest["spec"])


@pytest.mark.parametrize("kind", ["ModelTier", "RoutingPolicy"])
def test_class_name_cannot_change(cluster: ApiServer, namespace: str, kind: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(valid(kind)))
    patched = cluster.kubectl(
        "patch", "-n", namespace, f"{kind}/it", "--type=merge", "-p", '{"spec": {"className": "other"}}'
    )
    assert patched.returncode != 0
    assert f'spec.className: Invalid value: "other": {IMMUTABLE}' in patched.stderr


@pytest.mark.parametrize("kind", ["ModelTier", "RoutingPolicy"])
def test_class_name_can_be_chosen_once(cluster: ApiServer, namespace: str, kind: str) -> None:
    created = cluster.kubectl(
        "create", "-n", namespace, "-f", "-", input=json.dumps(with_value(f"{kind}.spec.className", "gpu"))
    )
    assert created.returncode == 0, created.stderr


def test_a_field_that_nobody_knows_is_refused_by_name(cluster: ApiServer, namespace: str) -> None:
    words = refusal(cluster, namespace, with_value("ModelTier.spec.backends[].lables", {"region": "eu"}))
    assert 'unknown field "spec.backends[0].lables"' in words
