"""Differences of a webhook configuration: those that keep pods from sidecars are named, additions are not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from weir_operator.sidecar.expected import INJECT, NO, SYSTEM, YES, Scope
from weir_operator.sidecar.webhook import RULE, differences

SCOPE = Scope("llm", ("team-a",))
NAMES = "kubernetes.io/metadata.name"


def webhook(by: str) -> dict[str, Any]:
    asking = {"key": INJECT, "operator": "In", "values": [*YES]}
    namespaces = [
        {"key": NAMES, "operator": "NotIn", "values": ["llm", *SYSTEM]},
        {"key": NAMES, "operator": "In", "values": ["team-a"]},
        asking if by == "namespace" else {**asking, "operator": "NotIn"},
    ]
    refusing = {"key": INJECT, "operator": "NotIn", "values": [*NO]}
    return {
        "name": f"{by}.sidecar.weir.dev",
        "clientConfig": {"service": {"name": "weir-operator", "namespace": "llm", "path": "/v1/inject", "port": 8443}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": [refusing if by == "namespace" else asking]},
        "failurePolicy": "Ignore",
    }


def found(change: Callable[[dict[str, Any]], object]) -> tuple[str, ...]:
    webhooks = [copy.deepcopy(webhook(by)) for by in ("namespace", "pod")]
    change(webhooks[0])
    return differences({"webhooks": webhooks}, SCOPE, "weir-operator")


@pytest.mark.parametrize(
    "change",
    [
        lambda it: None,
        lambda it: it.update(timeoutSeconds=3, reinvocationPolicy="Never"),
        lambda it: it["namespaceSelector"]["matchExpressions"].append(
            {"key": "control-plane", "operator": "DoesNotExist"}
        ),
        lambda it: it["namespaceSelector"]["matchExpressions"].reverse(),
        lambda it: it["namespaceSelector"]["matchExpressions"][0]["values"].reverse(),
        lambda it: it["rules"].insert(0, {"resources": ["services"], "operations": ["CREATE"]}),
        lambda it: it.update(rules=[{key: ["*"] for key in RULE}]),
        lambda it: it["rules"][0].update(scope="*"),
        lambda it: it["objectSelector"]["matchExpressions"].append({"key": "a", "operator": "NotIn", "values": ["b"]}),
        lambda it: it.update(admissionReviewVersions=["v1beta1", "v1"]),
    ],
)
def test_additions_and_another_order_are_no_difference(change: Any):
    assert found(change) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it.update(name="other"), "is gone"),
        (lambda it: it.update(clientConfig={"url": "https://x"}), "calls a URL instead of Service llm/weir-operator"),
        (lambda it: it.update(clientConfig={}), "calls a URL instead of"),
        (lambda it: it["clientConfig"]["service"].update(namespace="x"), "calls Service x/weir-operator instead of"),
        (lambda it: it["clientConfig"]["service"].update(path="/"), "calls path / instead of /v1/inject"),
        (lambda it: it.update(rules=None), "has no rule for the creation of pods"),
        (lambda it: it["rules"][0].update(operations=["UPDATE"]), "has no rule for the creation of pods"),
        (lambda it: it["rules"][0].update(apiGroups=["apps"]), "has no rule for the creation of pods"),
        (lambda it: it["rules"][0].update(apiVersions=["v2"]), "has no rule for the creation of pods"),
        (lambda it: it["rules"][0].update(scope="Cluster"), "has no rule for the creation of pods"),
        (lambda it: it["clientConfig"]["service"].update(port=443), "calls port 443 instead of 8443"),
        (lambda it: it["clientConfig"]["service"].pop("port"), "calls port 443 instead of 8443"),
        (lambda it: it.update(admissionReviewVersions=["v1beta1"]), "asks in version v1beta1 instead of v1"),
        (
            lambda it: it["namespaceSelector"].update(matchLabels={"a": "b"}),
            "asks for label a in its namespaceSelector",
        ),
        (
            lambda it: it["objectSelector"]["matchExpressions"].append({"key": "a", "operator": "Exists"}),
            "asks for label a in its objectSelector",
        ),
        (lambda it: it.update(failurePolicy="Fail"), "has failurePolicy Fail"),
        (lambda it: it.update(namespaceSelector=None), "has another namespaceSelector"),
        (lambda it: it["namespaceSelector"]["matchExpressions"].pop(1), "has another namespaceSelector"),
        (lambda it: it["objectSelector"].update(matchExpressions=[]), "has another objectSelector"),
        (
            lambda it: it["objectSelector"].update(matchLabels={INJECT: "true"}),
            "has a further condition on weir.dev/inject",
        ),
        (lambda it: it.update(matchConditions=[{"name": "never", "expression": "false"}]), "has matchConditions"),
    ],
)
def test_a_difference_that_keeps_pods_from_sidecars_or_from_starting_is_named(change: Any, said: str):
    (difference,) = found(change)
    assert difference.startswith("namespace.sidecar.weir.dev ")
    assert said in difference


def test_a_configuration_without_webhooks_names_both():
    assert len(differences({}, SCOPE, "weir-operator")) == 2
