"""`weir doctor` on a real API server with an incomplete installation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from apiserver import ApiServer
from kubernetes.client import ApiClient

from cli.shell import weir
from support.kube import apply, client_of, run
from weir_cli.cluster.api import Cluster
from weir_cli.cluster.installations import Installation
from weir_cli.doctor.finding import Unseen
from weir_cli.doctor.look import look
from weir_cli.doctor.seen import Credential, Seen, Unready, Workload

TIER = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: premium, namespace: %s}
spec: {backends: [{name: a, provider: OpenAI, model: m, credentials: {type: APIKey, secretRef: {name: %s, key: k}}}]}
"""
POLICY = """
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: lonely, namespace: %s}
spec:
  models: [{name: m}]
  callers: [{namespaces: {from: Names, names: [not-there]}}]
  routes: [{name: all, tiers: [{name: premium, namespace: %s}]}]
"""


@pytest.fixture
def api(apiserver: ApiServer) -> Iterator[ApiClient]:
    with client_of(apiserver) as api:
        yield api


def ours(seen: Seen, namespace: str) -> list[Credential]:
    """The credentials of the test's namespace."""
    assert not isinstance(seen.credentials, Unseen)
    return [it for it in seen.credentials if it.secret.startswith(f"{namespace}/")]


def test_what_is_not_there_is_seen_as_not_there(cluster: ApiServer, api: ApiClient, namespace: str):
    seen = look(Cluster(api, namespace), Installation("weir", namespace))
    assert seen.version >= (1, 30)  # type: ignore[operator]
    assert abs(seen.skew) < 5  # type: ignore[arg-type]
    assert {"modeltiers.weir.dev", "routingpolicies.weir.dev"} <= seen.crds  # type: ignore[operator]
    assert (seen.workloads, seen.bundle, seen.webhook, seen.published) == ({}, None, None, None)
    assert isinstance(seen.routers, Unseen)
    assert not isinstance(seen.rights, Unseen), seen.rights
    assert seen.rights["create tokenreviews"] is False  # type: ignore[index]
    assert seen.rights["get /openid/v1/jwks"] is True  # type: ignore[index]


def test_what_is_there_is_seen(cluster: ApiServer, api: ApiClient, namespace: str):
    labels = {"app.kubernetes.io/name": "weir", "app.kubernetes.io/instance": "weir"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "weir-operator", "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "o", "image": "o", "args": ["--namespaces=a,b"]}]},
            },
        },
    }
    run(cluster, "create", "-f", "-", input=json.dumps(deployment))
    run(cluster, "-n", namespace, "create", "configmap", "weir-ca", "--from-literal=ca.crt=PEM")
    run(cluster, "-n", namespace, "create", "configmap", "weir-index", '--from-literal=index.json={"revision": 7}')
    role = ("--clusterrole=system:auth-delegator", f"--serviceaccount={namespace}:weir-operator")
    run(cluster, "create", "clusterrolebinding", f"{namespace}-reviews", *role)
    seen = look(Cluster(api, namespace), Installation("weir", namespace))
    assert (seen.workloads, seen.bundle, seen.published) == ({"weir-operator": Workload(0, 2)}, "PEM", 7)
    assert seen.rights["create tokenreviews"] is True  # type: ignore[index]
    gathers = {name for name in seen.rights if "modeltiers in" in name}  # type: ignore[union-attr]
    assert gathers == {f"{verb} modeltiers in {where}" for verb in ("list", "watch") for where in "ab"}


def test_a_secret_is_looked_at_without_what_is_in_it(cluster: ApiServer, api: ApiClient, namespace: str):
    apply(cluster, TIER % (namespace, "openai"))
    key = f"{namespace}/openai"
    assert ours(look(Cluster(api, namespace), Installation("weir", namespace)), namespace) == [
        Credential(f"{namespace}/premium", key, False, False)
    ]
    run(cluster, "-n", namespace, "create", "secret", "generic", "openai", "--from-literal=k=sk-never-to-be-seen")
    assert ours(look(Cluster(api, namespace), Installation("weir", namespace)), namespace) == [
        Credential(f"{namespace}/premium", key, True, False)
    ]
    run(cluster, "-n", namespace, "label", "secret", "openai", "weir.dev/credential=true")
    seen = look(Cluster(api, namespace), Installation("weir", namespace))
    assert ours(seen, namespace) == [Credential(f"{namespace}/premium", key, True, True)]
    assert "sk-never" not in repr(seen)


def test_objects_that_nobody_has_looked_at_and_that_nobody_can_use_are_found(
    cluster: ApiServer, api: ApiClient, namespace: str
):
    # Operators that other tests have left may serve other classes only.
    run(cluster, "delete", "deployments", "--all-namespaces", "--selector", "app.kubernetes.io/name=weir")
    apply(cluster, TIER % (namespace, "openai"))
    apply(cluster, POLICY % (namespace, namespace))
    seen = look(Cluster(api, namespace), Installation("weir", namespace))
    assert f"ModelTier {namespace}/premium" in seen.unjudged  # type: ignore[operator]
    assert f"{namespace}/lonely" in seen.unused  # type: ignore[operator]
    ready = {"type": "Ready", "status": "False", "reason": "NoUsableBackends", "message": "none. See each"}
    status = {"status": {"conditions": [{**ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
    run(cluster, "-n", namespace, "patch", "mt", "premium", *patch)
    seen = look(Cluster(api, namespace), Installation("weir", namespace))
    assert Unready(f"ModelTier {namespace}/premium", "NoUsableBackends", "none") in seen.unready  # type: ignore[operator]


def test_crds_of_this_version_lack_nothing_and_services_without_pods_are_empty(
    cluster: ApiServer, api: ApiClient, namespace: str
):
    endpoint = {"addresses": ["192.0.2.1"], "conditions": {"ready": False}}
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "weir-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": "weir"}},
        "addressType": "IPv4",
        "endpoints": [endpoint, {**endpoint, "addresses": ["192.0.2.2"], "conditions": {"ready": True}}],
    }
    run(cluster, "create", "-f", "-", input=json.dumps(slice_))
    seen = look(Cluster(api, namespace), Installation("weir", namespace))
    assert (seen.lacking, seen.services) == ((), {"weir": 1, "weir-operator": None})


def test_the_command_says_what_is_wrong_and_ends_so(cluster: ApiServer, namespace: str):
    env = {"KUBECONFIG": str(cluster.kubeconfig)}
    done = weir("doctor", "--system-namespace", namespace, env=env)
    assert done.returncode == 1
    assert "✓ CRDs: both kinds are served" in done.stdout
    assert f"✗ pods: no Deployment weir-operator, weir-gateway in namespace {namespace}" in done.stdout
    found = json.loads(weir("doctor", "--system-namespace", namespace, "-o", "json", env=env).stdout)
    (config,) = (it for it in found if it["check"] == "config")
    assert (config["verdict"], config["message"]) == ("bad", "nothing is published")


def test_whoever_may_see_nothing_is_told_that_and_no_more(cluster: ApiServer, namespace: str, tmp_path: Path):
    run(cluster, "-n", namespace, "create", "serviceaccount", "visitor")
    kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": run(cluster, "-n", namespace, "create", "token", "visitor").strip()}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    done = weir("doctor", "--system-namespace", namespace, env={"KUBECONFIG": str(tmp_path / "kubeconfig")})
    assert done.returncode == 2, done.stdout
    assert "your rights allow none of these checks" in done.stderr
    assert f"? pods: you may not list deployments.apps in namespace {namespace}" in done.stdout


def test_without_a_cluster_it_says_so(tmp_path: Path):
    done = weir("doctor", env={"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)})
    assert (done.returncode, "there is no cluster" in done.stderr) == (2, True)
