"""`weir doctor` beside an installation on a real API server: silent while all is well, and then with planted faults.

Operator and router are real processes with the chart's rights. No controller runs here, so the test writes what those
would: the Deployments' statuses, pods, endpoints.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import ApiServer
from binaries import ensure_tool, find

from cli.shell import until, weir
from support.helm import Helm, only
from support.installation import Installation, Operator
from support.kube import run
from support.people import administrator, editor

ROOT = Path(__file__).parents[2]
SYSTEM, TEAM, PLATFORM = "weir-system", "team-a", "llm"
CLOSED = (
    "--set=networkPolicy.monitoring={monitoring}",
    "--set=networkPolicy.apiServer={192.0.2.1/32}",
    "--set=gateway.tls.secretName=tls",
)
"""Values without which doctor warns, rightly."""

pytestmark = pytest.mark.timeout(400)  # three programs start, and seven commands run, on a machine that may be busy

DEPLOYED = ("Deployment", "Service", "NetworkPolicy", "MutatingWebhookConfiguration")

TIER = """
apiVersion: weir.dev/v1alpha1
kind: ModelTier
metadata: {name: %(name)s, namespace: llm}
spec:
  grants: [{namespaces: {from: All}}]
  backends:
  - name: one
    provider: OpenAI
    model: gpt-4o-mini
    %(backend)s
"""
KEYED = "credentials: {type: APIKey, secretRef: {name: %s, key: k}}"
POLICY = """
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: %(name)s, namespace: team-a}
spec:
  className: %(of)s
  models: [{name: %(name)s}]
  routes: [{name: all, tiers: [{name: budget, namespace: llm}]}]
"""
UNREACHED = """
apiVersion: v1
kind: Service
metadata: {name: vllm, namespace: llm, labels: {weir.dev/backend: "true"}}
spec: {ports: [{port: 8000}], selector: {app: vllm}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: vllm-1, namespace: llm, labels: {kubernetes.io/service-name: vllm}}
addressType: IPv4
ports: [{port: 8000}]
endpoints: []
"""


@dataclass
class Ward:
    """An installation with its operator, and a doctor for it."""

    server: ApiServer
    operator: Operator

    def apply(self, *texts: str) -> None:
        run(self.server, "apply", "-f", "-", input="---\n".join(texts))

    def patch(self, *what: str, patch: Any, kind: str = "merge") -> None:
        run(self.server, "patch", *what, f"--type={kind}", "-p", json.dumps(patch))

    def examined(self, env: dict[str, str]) -> tuple[int, list[dict[str, str]], str]:
        """Exit code, findings, and what stands on stderr."""
        done = weir("doctor", "-o", "json", env=env)
        return done.returncode, json.loads(done.stdout or "[]"), done.stderr

    def wrong(self, env: dict[str, str]) -> set[tuple[str, str]]:
        """Check and message of all findings that are not good."""
        _, findings, _ = self.examined(env)
        return {(it["check"], it["message"]) for it in findings if it["verdict"] in ("bad", "warning")}

    def settled(self, resource: str, condition: str) -> None:
        run(self.server, "wait", *resource.split(), f"--for=condition={condition}", "--timeout=60s")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    assets = find()
    assert assets is not None
    folder = tmp_path_factory.mktemp("ward")
    with ApiServer(assets) as server:
        run(server, "apply", "--server-side", "-f", str(ROOT / "crds"))
        run(server, "wait", "--for=condition=Established", "--timeout=20s", "-f", str(ROOT / "crds"))
        for name in (SYSTEM, TEAM, PLATFORM):
            run(server, "create", "namespace", name)
        run(server, "label", "namespace", TEAM, "weir.dev/inject=true")
        installation = Installation(server, SYSTEM, folder)
        rendered = Helm(ensure_tool("helm")).render(*CLOSED, namespace=SYSTEM)
        run(server, "apply", "-f", "-", input=yaml.safe_dump_all([it for it in rendered if it["kind"] in DEPLOYED]))
        sidecar = next(
            it
            for it in only(rendered, "Deployment", "weir-operator")["spec"]["template"]["spec"]["containers"][0]["args"]
            if it.startswith("--sidecar=")
        )
        with installation.operator(sidecar) as operator, installation.router("gw-0", admin=outside()) as router:
            ward = Ward(server, operator)
            deploy(ward, int(router.admin.rpartition(":")[2]))
            until(lambda: router.ready()["ready"], lambda: router.command.said + operator.command.said)
            yield ward


def outside() -> str:
    """An address of this machine that the API server connects to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])


def deploy(ward: Ward, admin: int) -> None:
    """The work of controllers and kubelet, and objects that are served."""
    for name in ("weir-operator", "weir-gateway"):
        deployment = ("deployment", name, "-n", SYSTEM)
        wanted = json.loads(run(ward.server, "get", *deployment, "-o", "json"))["spec"]["replicas"]
        status = {"replicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted, "updatedReplicas": wanted}
        ward.patch(*deployment, "--subresource=status", patch={"status": status})
    for name in ("weir", "weir-operator"):
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": SYSTEM, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}],
        }
        ward.apply(json.dumps(slice_))
    labels = {f"app.kubernetes.io/{key}": it for key, it in (("name", "weir"), ("instance", "weir"))}
    labels["app.kubernetes.io/component"] = "gateway"
    pod(ward, SYSTEM, "gw-0", labels=labels, ports=[{"name": "metrics", "containerPort": admin}])
    status = {"phase": "Running", "podIP": outside(), "podIPs": [{"ip": outside()}]}
    ward.patch("pod", "gw-0", "-n", SYSTEM, "--subresource=status", patch={"status": status})
    secret(ward, "openai", labelled=True)
    ward.apply(TIER % {"name": "budget", "backend": KEYED % "openai"}, POLICY % {"name": "auto", "of": "weir"})
    ward.settled(f"mt/budget -n {PLATFORM}", "Ready")
    ward.settled(f"rp/auto -n {TEAM}", "Ready")


def secret(ward: Ward, name: str, *, labelled: bool) -> None:
    run(ward.server, "create", "secret", "generic", name, "--from-literal=k=sk-never-to-be-seen", "-n", PLATFORM)
    if labelled:
        run(ward.server, "label", "secret", name, "weir.dev/credential=true", "-n", PLATFORM)


def pod(ward: Ward, namespace: str, name: str, *, labels: dict[str, str], owner: Any = None, **container: Any) -> None:
    run(ward.server, "create", "serviceaccount", name, "-n", namespace)
    metadata = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner] if owner else []}
    containers = [{"name": "c", "image": "c", **container}]
    spec = {"serviceAccountName": name, "containers": containers}
    ward.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))


@pytest.fixture(scope="module")
def tenant(ward: Ward, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A user with `edit` in the team's namespace."""
    return editor(ward.server, TEAM, tmp_path_factory.mktemp("tenant"))


def test_the_real_operator_judges_an_override_to_a_tier_that_the_tenant_may_not_read(
    ward: Ward, tenant: dict[str, str]
):
    good = weir("override", "auto", "--tier", "llm/budget", "--for", "1h", "-o", "json", env=tenant)
    assert (good.returncode, json.loads(good.stdout)["verdict"]["judged"]) == (0, True), good.stderr
    done = weir("override", "auto", "--tier", "llm/none", "--for", "1h", env=tenant)
    assert done.returncode == 1
    assert "cannot be checked: you may not read ModelTier llm/none" in done.stderr
    assert "the operator says: ResolvedRefs is False, TierNotFoundOrNotGranted: spec.override.tier" in done.stderr
    assert weir("override", "auto", "--end", env=tenant).returncode == 0
    ward.settled(f"rp/auto -n {TEAM}", "Ready")


def test_doctor_is_silent_on_a_healthy_cluster_and_names_each_of_the_planted_faults(ward: Ward, tenant: dict[str, str]):
    admin = administrator(ward.server)
    code, findings, _ = ward.examined(admin)
    assert (code, [it for it in findings if it["verdict"] != "good"]) == (0, [])
    code, findings, said = ward.examined(tenant)
    assert (code, {it["verdict"] for it in findings}) == (0, {"good", "unknown"}), findings
    assert "you may not list deployments.apps cluster-wide" in said
    good = {it["check"] for it in findings if it["verdict"] == "good"}
    assert good == {"Kubernetes", "clock", "CRDs", "credentials", "objects", "backends", "sidecars"}
    assert all("you may not" in it["message"] for it in findings if it["verdict"] == "unknown")

    while_the_operator_runs(ward)
    ward.operator.command.stop()
    without_it(ward)
    until(lambda: "timeouts" not in served_fields(ward))

    found = ward.wrong(admin)
    planted = {
        "webhook without caBundle": ("webhook", "it has no caBundle: no pod gets a sidecar"),
        "CA ConfigMap missing": ("certificate", "there is no ConfigMap weir-ca"),
        "Secret missing": ("credentials", "no Secret llm/absent (of llm/keyless)"),
        "Secret without its label": ("credentials", "without the label weir.dev/credential: llm/silent"),
        "Service without endpoints": ("backends", "backend llm/served/one (Unhealthy: NoEndpoints"),
        "tier without a healthy backend": (
            "backends",
            "backend llm/budget/one (Unhealthy: 1 of 1 routers: credential)",
        ),
        "policy that feels it": ("backends", "RoutingPolicy team-a/auto (NoHealthyTiers: of no route a tier"),
        "class that nobody serves": ("objects", "serves RoutingPolicy team-a/lost (className second)"),
        "pod without a sidecar": ("sidecars", "1 pod should have a sidecar and have none: team-a/web-1"),
        "gateway pods short": ("pods", "not ready: weir-gateway 1/2"),
        "CRD of an older version": ("CRDs", "they lack modeltiers.spec.timeouts"),
        "right taken away": ("rights", "the operator may not: create tokenreviews"),
    }
    for name, (check, text) in planted.items():
        assert any(it == check and text in message for it, message in found), f"{name}\n" + "\n".join(map(str, found))
    not_ready = [message for check, message in found if check == "objects" and "not ready" in message]
    assert len(not_ready) == 1
    assert {it for it in ("budget", "keyless", "unlabelled", "served") if f"ModelTier llm/{it} " in not_ready[0]}
    assert {check for check, _ in found} == {check for check, _ in planted.values()}
    assert len(found) == 11  # those of the backends are one, and one says which objects are not ready

    code, findings, _ = ward.examined(tenant)
    wrong = {it["check"]: it for it in findings if it["verdict"] == "bad"}
    assert (code, wrong.keys()) == (1, {"CRDs", "objects", "backends", "sidecars"})
    assert "no operator has looked at RoutingPolicy team-a/lost" in wrong["objects"]["message"]
    assert wrong["sidecars"]["action"] == "kubectl rollout restart deployment/web -n team-a"
    assert "sk-never" not in json.dumps(findings)

    run(ward.server, "delete", "mutatingwebhookconfiguration", "weir.weir-system.sidecar.weir.dev")
    run(ward.server, "delete", "crd", "modeltiers.weir.dev", "--wait=false")
    until(lambda: "modeltiers" not in run(ward.server, "get", "--raw", "/apis/weir.dev/v1alpha1"))
    found = ward.wrong(admin)
    assert ("CRDs", "not served: modeltiers.weir.dev") in found
    (gone,) = (message for check, message in found if check == "webhook")
    assert "no MutatingWebhookConfiguration weir.weir-system.sidecar.weir.dev" in gone


def served_fields(ward: Ward) -> Any:
    """The fields of a ModelTier's spec that the API server has published."""
    schemas = json.loads(run(ward.server, "get", "--raw", "/openapi/v3/apis/weir.dev/v1alpha1"))["components"][
        "schemas"
    ]
    return schemas["dev.weir.v1alpha1.ModelTier"]["properties"]["spec"]["properties"]


def while_the_operator_runs(ward: Ward) -> None:
    """Faults of objects: the operator writes their statuses."""
    secret(ward, "silent", labelled=False)
    ward.apply(
        TIER % {"name": "keyless", "backend": KEYED % "absent"},
        TIER % {"name": "unlabelled", "backend": KEYED % "silent"},
        UNREACHED,
        (TIER % {"name": "served", "backend": "backendRef: {name: vllm, port: 8000}"}),
        POLICY % {"name": "lost", "of": "second"},
    )
    for name in ("keyless", "unlabelled", "served"):
        ward.settled(f"mt/{name} -n {PLATFORM}", "Ready=False")


def without_it(ward: Ward) -> None:
    """Faults that the operator would heal, or that need the reports of more routers."""
    common = {"observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z", "type": "Ready"}
    ill = {**common, "status": "False", "reason": "NoHealthyBackends", "message": "no backend answers"}
    backend = {"name": "one", "state": "Unhealthy", "reason": "1 of 1 routers: credential"}
    status = {"status": {"conditions": [ill], "backends": [backend]}}
    ward.patch("mt/budget", "-n", PLATFORM, "--subresource=status", patch=status)
    felt = {**common, "status": "True", "reason": "NoHealthyTiers", "message": "of no route a tier is healthy"}
    ward.patch("rp/auto", "-n", TEAM, "--subresource=status", patch={"status": {"conditions": [felt]}})
    webhook = ("mutatingwebhookconfiguration", "weir.weir-system.sidecar.weir.dev")
    removed = [{"op": "remove", "path": f"/webhooks/{number}/clientConfig/caBundle"} for number in (0, 1)]
    ward.patch(*webhook, patch=removed, kind="json")
    run(ward.server, "delete", "configmap", "weir-ca", "-n", SYSTEM)
    ward.patch(
        "deployment/weir-gateway",
        "-n",
        SYSTEM,
        "--subresource=status",
        patch={"status": {"readyReplicas": 1, "availableReplicas": 1}},
    )
    role = ("clusterrole", "weir:weir-system:weir:operator")
    rules = json.loads(run(ward.server, "get", *role, "-o", "json"))["rules"]
    ward.patch(*role, patch={"rules": [it for it in rules if it.get("resources") != ["tokenreviews"]]})
    schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/timeouts"
    ward.patch("crd/modeltiers.weir.dev", patch=[{"op": "remove", "path": schema}], kind="json")
    labels = {"pod-template-hash": "abc"}
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "1", "controller": True}
    pod(ward, TEAM, "web-1", labels=labels, owner=owner)
