"""The rights and the network that the chart gives: those that the code uses, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from binaries import ensure_tool
from kubernetes import client

import weir_operator.kube
from support.helm import CHART, Helm, Object, only
from weir_operator.kinds import KINDS
from weir_operator.observe import gather
from weir_operator.publish.publication import Names
from weir_operator.sidecar.expected import YES

Right = tuple[str, str, str]
"""API group, resource, verb."""

CODE = Path(next(iter(weir_operator.kube.__path__)))

RESOURCES = {
    "token_review": ("authentication.k8s.io", "tokenreviews"),
    "mutating_webhook_configuration": ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    "namespaced_config_map": ("", "configmaps"),
    "namespaced_secret": ("", "secrets"),
    "namespaced_pod": ("", "pods"),
    "pod_for_all_namespaces": ("", "pods"),
    "namespaced_service_account": ("", "serviceaccounts"),
    "namespaced_lease": ("coordination.k8s.io", "leases"),
    "namespaced_custom_object": ("events.k8s.io", "events"),  # created; what is listed is a `Resource`
}
"""API group and resource of the client's methods."""

VERBS = {"read": "get", "list": "list", "create": "create", "replace": "update", "patch": "patch", "delete": "delete"}


@pytest.fixture(scope="session")
def helm4() -> Helm:
    return Helm(ensure_tool("helm"))


def called() -> Iterator[tuple[str, str]]:
    """Verb and resource of every method of the client that the operator's code names."""
    apis = [getattr(client, it) for it in dir(client) if it.endswith("Api")]
    for path in CODE.glob("*.py"):
        for verb, what in re.findall(r"\.(read|list|create|replace|patch|delete)_([a-z_]+)", path.read_text()):
            if any(hasattr(api, f"{verb}_{what}") for api in apis):
                yield verb, what


def used() -> set[Right]:
    """All rights that the operator's code needs."""
    rights: set[Right] = set()
    for verb, what in called():
        if what == "namespaced_custom_object_status":
            rights |= {(gather.GROUP, f"{kind.plural}/status", VERBS[verb]) for kind in KINDS}
        elif (verb, what) not in {
            ("list", "cluster_custom_object"),
            ("list", "namespaced_custom_object"),
            ("list", "namespace"),
            ("list", "mutating_webhook_configuration"),
        }:
            rights.add((*RESOURCES[what], VERBS[verb]))
    watched = [(it.group, it.plural) for it in (gather.SERVICES, gather.SLICES, gather.NAMESPACES)]
    watched.append(("admissionregistration.k8s.io", "mutatingwebhookconfigurations"))
    watched += [(gather.GROUP, kind.plural) for kind in KINDS] + [("", "secrets"), ("", "configmaps")]
    return rights | {(*it, verb) for it in watched for verb in ("list", "watch")}


def rules(objects: list[Object], account: str = "weir-operator") -> list[dict[str, Any]]:
    """The rules of all roles that are bound to the operator."""
    bound = {
        it["roleRef"]["name"]
        for it in objects
        if it["kind"].endswith("Binding") and any(subject["name"] == account for subject in it["subjects"])
    }
    return [rule for it in objects if it["metadata"]["name"] in bound for rule in it.get("rules", ())]


def granted(objects: list[Object]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in rules(objects)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("namespaces", [[], ["--set", "namespaces={default}"]])
def test_the_operator_has_the_rights_that_its_code_uses_and_no_other(helm4: Helm, namespaces: list[str]) -> None:
    assert granted(helm4.render(*namespaces)) == used()


@pytest.mark.parametrize(
    ("values", "resources"),
    [
        (["sidecar.enabled=false"], {"mutatingwebhookconfigurations", "pods"}),
        (["rbac.readServices=false"], {"services", "endpointslices"}),
        (["rbac.readNamespaces=false", "namespaces={default}"], {"namespaces"}),
    ],
)
def test_a_right_of_a_feature_goes_with_it(helm4: Helm, values: list[str], resources: set[str]) -> None:
    objects = helm4.render(*(it for value in values for it in ("--set", value)))
    assert granted(objects) == {it for it in used() if it[1] not in resources}


def test_what_can_be_narrowed_to_names_is(helm4: Helm) -> None:
    """Only creating, listing and watching know no names; statuses and Events are of any object."""
    names = Names("weir")
    ours = {it.name for it in (*names.all, names.old_credentials)} | {"weir-ca", "weir-operator-tls"}
    named: dict[str, set[str]] = {}
    for rule in rules(helm4.render()):
        if {"get", "update", "patch", "delete"} & set(rule["verbs"]) and "status" not in str(rule["resources"]):
            assert rule.get("resourceNames"), rule
            listed = {"list", "watch"} - (
                {"list", "watch"} if "mutatingwebhookconfigurations" in rule["resources"] else set()
            )
            assert not ({"create"} | listed) & set(rule["verbs"]), rule
            named[rule["resources"][0]] = set(rule["resourceNames"])
    assert named.pop("configmaps") | named.pop("secrets") == ours
    assert named == {
        "mutatingwebhookconfigurations": {"weir.llm.sidecar.weir.dev"},
        "serviceaccounts": {"weir-operator"},
        "leases": {"weir-operator"},
    }


@pytest.mark.parametrize("name", ["operator/rbac.yaml", "_rbac.tpl"])
def test_every_rule_says_what_it_is_for(name: str) -> None:
    lines = (CHART / "templates" / name).read_text().splitlines()
    silent = [it for it in lines if "verbs:" in it and " # " not in it]
    reasons = [it for it in lines if "verbs:" in it and " # " in it]
    assert not silent
    assert reasons


def policy(objects: list[Object], component: str) -> dict[str, Any]:
    found: dict[str, Any] = only(objects, "NetworkPolicy", f"weir-{component}")["spec"]
    return found


def peers(spec: dict[str, Any], port: str) -> list[Any] | None:
    """The peers that may reach a port; None: every address. An empty list: none."""
    rules = [it for it in spec["ingress"] if it["ports"][0]["port"] == port]
    assert len(rules) <= 1
    return rules[0].get("from") if rules else []


def of(namespace: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


@pytest.mark.parametrize("component", ["operator", "gateway"])
def test_metrics_are_for_nobody_until_a_namespace_is_named(helm4: Helm, component: str) -> None:
    assert peers(policy(helm4.render(), component), "metrics") == []
    named = helm4.render("--set", "networkPolicy.monitoring={monitoring}")
    assert peers(policy(named, component), "metrics") == [of("monitoring")]
    other = {"podSelector": {"matchLabels": {"app": "prometheus"}}}
    named = helm4.render("--set-json", f'networkPolicy.monitoring=["a", {str(other).replace(chr(39), chr(34))}]')
    assert peers(policy(named, component), "metrics") == [of("a"), other]


def test_the_config_server_is_for_routers_once_the_api_server_s_address_is_known(helm4: Helm) -> None:
    assert peers(policy(helm4.render(), "operator"), "https") is None  # no label selects the API server
    routers = [
        {"podSelector": {"matchLabels": {**_labels(), "app.kubernetes.io/component": it}}}
        for it in ("gateway", "operator")
    ]
    without = helm4.render("--set", "sidecar.enabled=false")
    assert peers(policy(without, "operator"), "https") == routers
    inject = {"matchExpressions": [{"key": "weir.dev/inject", "operator": "In", "values": [*YES]}]}
    known = helm4.render("--set", "networkPolicy.apiServer={10.0.0.1/32}", "--set", "gateway.autoscaling.type=KEDA")
    assert peers(policy(known, "gateway"), "metrics") == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert peers(policy(known, "operator"), "https") == [
        *routers,
        {"namespaceSelector": inject},
        {"namespaceSelector": {}, "podSelector": inject},
        of("keda"),
        {"ipBlock": {"cidr": "10.0.0.1/32"}},
    ]


def _labels() -> dict[str, str]:
    return {"app.kubernetes.io/name": "weir", "app.kubernetes.io/instance": "weir"}


def test_the_gateway_reaches_models_and_no_metadata(helm4: Helm) -> None:
    spec = policy(helm4.render(), "gateway")
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    names, server, models = spec["egress"]
    assert {it["port"] for it in names["ports"]} == {53}
    assert "to" not in names
    assert server["ports"] == [{"port": 8443, "protocol": "TCP"}]
    assert "ports" not in models
    kept_out = {it for peer in models["to"] if "ipBlock" in peer for it in peer["ipBlock"]["except"]}
    assert {"169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32"} <= kept_out
    own = helm4.render("--set-json", 'networkPolicy.gatewayEgress=[{"ports": [{"port": 443}]}]')
    assert policy(own, "gateway")["egress"][2:] == [{"ports": [{"port": 443}]}]
