"""The CRDs on a real API server: validation, defaults, printed columns and the status subresource."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import ApiServer

from weir_operator.kinds.crdgen import UNSEEN
from weir_operator.kinds.modeltier.schema import ModelTierSpec
from weir_operator.kinds.routingpolicy.schema import RoutingPolicySpec
from weir_operator.schemas.rules import Model

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))

DESIGN = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: budget}
spec:
  className: weir
  grants:
  - namespaces: {from: All}
    limits: {requestsPerMinute: 3000, inFlight: 100}
  selection: Cheapest
  objectives: {ttft: 800ms, tokensPerSecond: 30}
  backends:
  - name: openai-mini
    provider: OpenAI
    model: gpt-4o-mini
    credentials: {type: APIKey, secretRef: {name: openai, key: api-key}}
    price: {input: "0.15", cachedInput: "0.075", output: "0.60"}
    limits: {contextTokens: 128000, effectiveContextTokens: 32000, outputTokens: 16384, concurrency: 200}
    capabilities: [Tools, JSONSchema, Vision]
    objectives: {ttft: 600ms}
    parameters: {drop: [logit_bias]}
    labels: {region: eu-west-1}
    state: Active
---
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: assistants}
spec:
  className: weir
  mode: Enforce
  baseline: {name: premium, namespace: llm}
  models: [{name: auto}, {name: gpt-4o}]
  callers: [{namespaces: {from: Same}}]
  classifier: {minConfidence: "0.8"}
  routes:
  - name: quick
    when: {complexity: [Simple], promptTokens: {max: 2000}}
    tiers: [{name: ultra-budget, namespace: llm}, {name: budget, namespace: llm}]
  - name: everything-else
    tiers: [{name: mid-range, namespace: llm}, {name: premium, namespace: llm}]
  failover: {attempts: 3, deadline: 90s}
  override: {tier: {name: premium, namespace: llm}, until: "2026-12-01T00:00:00Z"}
"""
"""The example of the design, with all its fields."""

SHORT_TIER = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: short}
spec:
  backends: [{name: one, provider: OpenAI, model: gpt-4o-mini, credentials: {secretRef: {name: openai, key: api-key}}}]
"""

SHORT_POLICY = """
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: short}
spec:
  models: [{name: auto}]
  routes: [{name: all, tiers: [{name: short}]}]
"""

FULL = [(ROOT / "examples" / "full" / name).read_text() for name in ("tiers.yaml", "policy.yaml")]
MODELS: dict[str, type[Model]] = {"ModelTier": ModelTierSpec, "RoutingPolicy": RoutingPolicySpec}

READY = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "BackendsReady",
            "message": "All of it works",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-11-22T08:00:00Z",
        }
    ],
}


def apply(cluster: ApiServer, namespace: str, manifests: str) -> None:
    """Applies `manifests`; a refusal fails the test with the server's message."""
    applied = cluster.kubectl("apply", "-n", namespace, "-f", "-", input=manifests)
    assert applied.returncode == 0, applied.stderr


def read(cluster: ApiServer, namespace: str, what: str) -> dict[str, Any]:
    """The object `what` (`mt/name`) as the server stores it."""
    found = cluster.kubectl("get", "-n", namespace, what, "-o", "json")
    assert found.returncode == 0, found.stderr
    content: dict[str, Any] = json.loads(found.stdout)
    return content


def say(cluster: ApiServer, *args: str) -> str:
    """The output of kubectl; a failure fails the test."""
    result = cluster.kubectl(*args)
    assert result.returncode == 0, result.stderr
    return result.stdout


def patch_status(cluster: ApiServer, namespace: str, what: str, status: dict[str, Any]) -> None:
    """Writes `status` as the operator does: through the subresource."""
    body = json.dumps({"status": status})
    say(cluster, "patch", "-n", namespace, what, "--subresource=status", "--type=merge", "-p", body)


@pytest.mark.parametrize("crd", ["modeltiers.weir.dev", "routingpolicies.weir.dev"])
def test_the_server_raises_no_objection_to_a_crd(cluster: ApiServer, crd: str) -> None:
    conditions = {it["type"]: it for it in read(cluster, "default", f"crd/{crd}")["status"]["conditions"]}
    assert conditions["Established"]["status"] == "True"
    assert conditions["NamesAccepted"]["status"] == "True"
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("position", [0, 1], ids=["ModelTier", "RoutingPolicy"])
def test_everything_in_the_designs_example_is_kept_as_written(
    cluster: ApiServer, namespace: str, position: int
) -> None:
    written = list(yaml.safe_load_all(DESIGN))[position]
    apply(cluster, namespace, json.dumps(written))
    kept = read(cluster, namespace, f"{written['kind']}/{written['metadata']['name']}")["spec"]
    # What the example leaves to its default.
    if written["kind"] == "ModelTier":
        assert kept["backends"][0].pop("transport") == "Streamed"
    else:
        assert kept.pop("promptLogging") == "Metadata"
    assert kept == written["spec"]


def test_a_short_tier_is_filled_in_as_documented(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, namespace, SHORT_TIER)
    spec = read(cluster, namespace, "mt/short")["spec"]
    backend = spec.pop("backends")[0]
    assert spec == {
        "className": "weir",
        "grants": [{"namespaces": {"from": "Same"}}],
        "selection": "Cheapest",
    }
    assert (backend["state"], backend["transport"]) == ("Active", "Streamed")
    assert backend["credentials"]["type"] == "APIKey"


def test_a_short_policy_is_filled_in_as_documented(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, namespace, SHORT_POLICY)
    spec = read(cluster, namespace, "rp/short")["spec"]
    del spec["models"], spec["routes"]
    assert spec == {
        "className": "weir",
        "mode": "Enforce",
        "callers": [{"namespaces": {"from": "Same"}}],
        "classifier": {"minConfidence": "0.8"},
        "failover": {"attempts": 3, "deadline": "90s"},
        "promptLogging": "Metadata",
    }


@pytest.mark.parametrize(
    "manifests", [DESIGN, SHORT_TIER, SHORT_POLICY, *FULL], ids=lambda it: it.split("name: ")[1][:12]
)
def test_a_directory_is_filled_in_as_the_server_does_it(cluster: ApiServer, namespace: str, manifests: str) -> None:
    """`weir up` and `kubectl apply` must fill in the same defaults."""
    for written in yaml.safe_load_all(manifests):
        written["metadata"]["namespace"] = namespace
        answer = cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(written))
        assert answer.returncode == 0, answer.stderr
        ours = MODELS[written["kind"]].model_validate(written["spec"])
        assert json.loads(answer.stdout)["spec"] == ours.model_dump(by_alias=True, exclude_none=True, mode="json")


def test_an_empty_list_of_grants_stays_empty(cluster: ApiServer, namespace: str) -> None:
    """An empty list grants to no namespace; the default would grant to the tier's own namespace."""
    tier = yaml.safe_load(SHORT_TIER)
    tier["spec"]["grants"] = []
    apply(cluster, namespace, json.dumps(tier))
    assert read(cluster, namespace, "mt/short")["spec"]["grants"] == []


def test_server_side_apply_merges_backends_by_name(cluster: ApiServer, namespace: str) -> None:
    for manager, name in (("team", "one"), ("platform", "two")):
        tier = SHORT_TIER.replace("name: one", f"name: {name}")
        applied = cluster.kubectl(
            "apply", "--server-side", f"--field-manager={manager}", "-n", namespace, "-f", "-", input=tier
        )
        assert applied.returncode == 0, applied.stderr
    assert [it["name"] for it in read(cluster, namespace, "mt/short")["spec"]["backends"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("path", "description"),
    [
        ("modeltier.spec.backends", "Kind of its server"),
        ("modeltier.spec.backends.limits", "up to which the model is known to be good"),
        ("modeltier.spec.backends.price", "Prices in US dollars per million tokens."),
        ("modeltier.spec.backends.price.input", 'US dollars per million tokens, as text such as `"0.15"`.'),
        ("modeltier.spec.breaker.consecutiveFailures", "Default: `5`."),
        ("modeltier.spec.selection", "Default: `Cheapest`."),
        ("rp.spec.routes.when", "Estimated size of the prompt"),
        ("rp.spec.override", "Break-glass"),
    ],
)
def test_kubectl_explain_shows_the_descriptions(cluster: ApiServer, path: str, description: str) -> None:
    # The API server publishes the schema of a new CRD a moment after the kind can be used, and nothing says when.
    deadline = time.monotonic() + 30
    while description not in (shown := " ".join(cluster.kubectl("explain", path).stdout.split())):
        assert time.monotonic() < deadline, shown


def test_kubectl_get_shows_the_columns_of_both_kinds(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, namespace, f"{SHORT_TIER}---{SHORT_POLICY}")
    patch_status(cluster, namespace, "mt/short", READY | {"backendsReady": "1/1"})
    lines = say(cluster, "get", "mt,rp", "-n", namespace).splitlines()
    assert lines[0].split() == ["NAME", "READY", "BACKENDS", "SELECTION", "REASON", "AGE"]
    assert lines[1].split()[:5] == ["modeltier.weir.dev/short", "True", "1/1", "Cheapest", "BackendsReady"]
    assert lines[3].split() == ["NAME", "READY", "MODE", "MODEL", "ROUTES", "ELSEWHERE", "REASON", "AGE"]


def test_kubectl_get_weir_lists_both_kinds(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, namespace, f"{SHORT_TIER}---{SHORT_POLICY}")
    names = say(cluster, "get", "weir", "-n", namespace, "-o", "name").split()
    assert names == ["modeltier.weir.dev/short", "routingpolicy.weir.dev/short"]


def test_what_nobody_has_looked_at_yet_has_no_generation_that_was_observed(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, namespace, f"{SHORT_TIER}---{SHORT_POLICY}")
    for what in ("mt/short", "rp/short"):
        status = read(cluster, namespace, what)["status"]
        assert status["observedGeneration"] == -1
        assert {it["type"]: (it["status"], it["reason"], it["message"]) for it in status["conditions"]} == {
            "Accepted": ("Unknown", "Pending", UNSEEN),
            "Ready": ("Unknown", "Pending", UNSEEN),
        }


def test_kubectl_get_says_that_no_operator_has_looked_at_an_object(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, namespace, SHORT_TIER.replace("spec:", "spec:\n  className: nobody"))
    shown = say(cluster, "get", "mt", "-n", namespace, "-o", "wide")
    assert shown.splitlines()[1].split()[:4] == ["short", "Unknown", "Cheapest", "Pending"]
    assert UNSEEN in shown


def test_a_status_patch_is_kept_and_does_not_move_the_generation(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, namespace, SHORT_TIER)
    patch_status(cluster, namespace, "mt/short", READY)
    tier = read(cluster, namespace, "mt/short")
    assert tier["status"] == READY
    assert tier["metadata"]["generation"] == 1


def test_a_change_of_the_spec_moves_the_generation_and_leaves_the_status(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, namespace, SHORT_TIER)
    patch_status(cluster, namespace, "mt/short", READY)
    patch = {"spec": {"selection": "LeastLatency"}, "status": {"observedGeneration": 7}}
    say(cluster, "patch", "-n", namespace, "mt/short", "--type=merge", "-p", json.dumps(patch))
    tier = read(cluster, namespace, "mt/short")
    assert tier["metadata"]["generation"] == 2
    assert tier["status"] == READY


def test_a_status_patch_cannot_change_the_spec(cluster: ApiServer, namespace: str) -> None:
    apply(cluster, namespace, SHORT_POLICY)
    body = json.dumps({"spec": {"mode": "Observe"}, "status": {"routesReady": "1/1"}})
    say(cluster, "patch", "-n", namespace, "rp/short", "--subresource=status", "--type=merge", "-p", body)
    policy = read(cluster, namespace, "rp/short")
    assert (policy["spec"]["mode"], policy["status"]["routesReady"]) == ("Enforce", "1/1")


def _objects(file: Path) -> list[dict[str, Any]]:
    content = [it for it in yaml.safe_load_all(file.read_text()) if isinstance(it, dict)]
    return [it for it in content if {"apiVersion", "kind"} <= it.keys()]  # another program's config is no manifest


def test_there_are_examples_to_check() -> None:
    assert any(_objects(file) for file in EXAMPLES)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_example_is_accepted(cluster: ApiServer, foreign: ApiServer, file: Path) -> None:
    objects = _objects(file)
    for name in sorted({it["metadata"].get("namespace", "default") for it in objects}):
        cluster.kubectl("create", "namespace", name)  # a dry run needs it; it may be there already
    for it in objects:
        checked = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(it))
        assert checked.returncode == 0, checked.stderr
