"""The Helm chart: rendered by real versions of Helm, accepted by a real API server, with the promised safeguards."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import ApiServer
from binaries import ensure_tool, find_tool

from support.helm import CHART, ROOT, Helm, Object, only, pods
from support.kube import PATIENCE, run
from support.schemas import LOCATION, write_schemas
from weir_operator.distribute.autoscaling import PREFIX
from weir_operator.kinds import KINDS

VALUES = {path.stem: path for path in sorted((ROOT / "tests" / "kube" / "chart").glob("*.yaml"))}
SETS = {"defaults": [], **{name: ["--values", str(path)] for name, path in VALUES.items()}}
RELEASES = ("weir", "a", "team-llm-gateway-in-the-second-region-of-productio")


@pytest.fixture(scope="session", params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest) -> Helm:
    """Each version of Helm that the chart supports."""
    path = find_tool(request.param)
    if path is None:
        pytest.fail(
            f"No {request.param} yet: run hack/kube/ensure {request.param} once (make test does).", pytrace=False
        )
    return Helm(path)


@pytest.fixture(scope="session")
def helm4() -> Helm:
    """Helm 4, for tests that do not depend on the version."""
    return Helm(ensure_tool("helm"))


@pytest.mark.parametrize(("values", "release"), list(itertools.product(SETS, RELEASES)))
def test_the_api_server_takes_every_object_without_a_warning(
    helm: Helm, foreign: ApiServer, namespace: str, values: str, release: str
) -> None:
    """Validation is strict: an unknown field is an error, and a deprecated API a warning."""
    objects = helm.render(*SETS[values], release=release, namespace=namespace)
    done = foreign.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", input=yaml.safe_dump_all(objects)
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert len(done.stdout.splitlines()) == len(objects)


def test_every_alert_says_what_has_happened_what_to_do_and_how_bad_it_is(helm4: Helm) -> None:
    rendered = helm4.render("--set", "monitoring.prometheusRule.enabled=true")
    (group,) = only(rendered, "PrometheusRule")["spec"]["groups"]
    for rule in group["rules"]:
        assert rule["labels"] == {"severity": rule["labels"]["severity"]}, rule
        assert rule["labels"]["severity"] in ("warning", "critical"), rule
        assert rule["for"].endswith(("m", "h")), rule
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, rule
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
        assert 'namespace="llm", pod=~"weir-' in rule["expr"] or 'container="weir-sidecar"' in rule["expr"], rule


def test_alert_labels_are_of_every_alert_and_win(helm4: Helm) -> None:
    (group,) = only(helm4.render(*SETS["everything"]), "PrometheusRule")["spec"]["groups"]
    assert {tuple(sorted(it["labels"].items())) for it in group["rules"]} == {
        (("severity", "page"), ("team", "platform"))
    }


def test_alerts_without_sidecars_ask_for_none(helm4: Helm) -> None:
    given = (
        "--set",
        "monitoring.prometheusRule.enabled=true,monitoring.prometheusRule.runbooks=https://wiki.example/weir/",
    )
    (group,) = only(helm4.render(*given, "--set", "sidecar.enabled=false"), "PrometheusRule")["spec"]["groups"]
    assert not [it for it in group["rules"] if "sidecar" in it["expr"]]
    assert group["rules"][0]["annotations"]["runbook_url"] == "https://wiki.example/weir/WeirErrors.md"


@pytest.mark.parametrize(
    ("values", "missed"),
    [
        ("gateway.replicas=0", False),
        ("gateway.replicas=0,gateway.autoscaling.type=HPA", True),
        ("crds.keep=true", True),
    ],
)
def test_a_gateway_that_is_to_have_no_router_is_not_missed(helm4: Helm, values: str, missed: bool) -> None:
    rendered = helm4.render("--set", f"monitoring.prometheusRule.enabled=true,{values}")
    (group,) = only(rendered, "PrometheusRule")["spec"]["groups"]
    assert ("WeirNoGateway" in {it["alert"] for it in group["rules"]}) == missed


def test_sidecars_are_scraped_where_their_metrics_are_open(helm4: Helm) -> None:
    given = ("--set", "monitoring.podMonitor.enabled=true")
    assert only(helm4.render(*given), "PodMonitor")["metadata"]["name"] == "weir"
    spec = only(helm4.render(*given, "--set", "sidecar.metrics=true"), "PodMonitor", "weir-sidecars")["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    assert (endpoint["port"], spec["namespaceSelector"], spec["selector"]) == ("weir-metrics", {"any": True}, {})


def until(what: Callable[[], bool], seconds: float) -> None:
    """Waits until `what` holds; the API server sends no event when its OpenAPI has a new CRD."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="session")
def schemas(helm4: Helm, foreign: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The location for kubeconform of the schemas of all kinds that this API server serves."""
    folder = tmp_path_factory.mktemp("schemas")

    def served() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run(foreign, "get", "--raw", "/openapi/v2"))
        return found

    until(
        lambda: (
            {"ScaledObject", "TriggerAuthentication"} <= {name.rpartition(".")[2] for name in served()["definitions"]}
        ),
        PATIENCE,
    )  # the last one
    kinds = {it["kind"] for values in SETS.values() for it in helm4.render(*values)}
    write_schemas(served(), kinds, folder)
    return f"{folder}/{LOCATION}"


def kubeconform(schemas: str, objects: list[Object]) -> tuple[int, str]:
    command = [str(ensure_tool("kubeconform")), "-strict", "-summary", "-schema-location", schemas, "-"]
    done = subprocess.run(
        command, input=yaml.safe_dump_all(objects), capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("plain", [False, True])
def test_callers_speak_tls_where_a_secret_is_named(helm4: Helm, plain: bool) -> None:
    objects = helm4.render("--set", f"gateway.tls.secretName=weir-tls,gateway.tls.plain={str(plain).lower()}")
    ports = {it["name"]: (it["port"], it["targetPort"]) for it in only(objects, "Service", "weir")["spec"]["ports"]}
    assert ports == {"https": (443, "tls"), **({"http": (80, "http")} if plain else {})}
    spec = only(objects, "Deployment", "weir-gateway")["spec"]["template"]["spec"]
    (router,) = spec["containers"]
    names = {it["name"] for it in router["ports"]}
    assert names == {"tls", "metrics", *(["http"] if plain else [])}
    assert ("--listen-plain=0.0.0.0:8080" in router["args"]) is plain
    assert {"--listen=0.0.0.0:8443", "--tls-cert=/etc/weir/tls/tls.crt"} <= set(router["args"])
    assert {"name": "tls", "secret": {"secretName": "weir-tls", "defaultMode": 0o440}} in spec["volumes"]
    first = only(objects, "NetworkPolicy", "weir-gateway")["spec"]["ingress"][0]["ports"]
    assert {it["port"] for it in first} == names - {"metrics"}
    text = yaml.safe_dump_all(objects)
    assert ("https://weir.llm.svc:443" in text) is not plain
    assert ("http://weir.llm:80" in text) is plain


def test_the_operator_refuses_backends_in_networks_that_the_values_name(helm4: Helm) -> None:
    def arguments(*values: str) -> list[str]:
        spec = only(helm4.render(*values), "Deployment", "weir-operator")["spec"]["template"]["spec"]
        return list(spec["containers"][0]["args"])

    assert "--refuse-networks=10.20.0.0/16,fd00:1::/64" in arguments(
        "--set", "backends.refusedNetworks={10.20.0.0/16,fd00:1::/64}"
    )
    assert not any("refuse-networks" in it for it in arguments())


@pytest.mark.parametrize("plain", [False, True])
def test_sidecars_trust_a_private_authority_of_the_gateway_where_its_secret_is_named(helm4: Helm, plain: bool) -> None:
    tls = f"gateway.tls.secretName=weir-tls,gateway.tls.caSecretName=weir-ca,gateway.tls.plain={str(plain).lower()}"
    spec = only(helm4.render("--set", tls), "Deployment", "weir-operator")["spec"]["template"]["spec"]
    (operator,) = spec["containers"]
    assert "--gateway-ca-file=/etc/weir/gateway-ca/ca.crt" in operator["args"]
    assert any('"gateway":"https://weir.llm.svc:443"' in it for it in operator["args"])
    assert {"name": "gateway-ca", "mountPath": "/etc/weir/gateway-ca", "readOnly": True} in operator["volumeMounts"]
    (volume,) = (it["secret"] for it in spec["volumes"] if it["name"] == "gateway-ca")
    assert volume == {
        "secretName": "weir-ca",
        "defaultMode": 0o440,
        "optional": True,
        "items": [{"key": "ca.crt", "path": "ca.crt"}],  # never the key beside it
    }
    assert "gateway-ca" not in yaml.safe_dump_all(helm4.render())


def test_routers_and_their_scraper_get_the_admin_token_where_its_secret_is_named(helm4: Helm) -> None:
    given = ("--set", "gateway.adminToken.secretName=admin,gateway.adminToken.key=word")
    objects = helm4.render(*given, "--set", "monitoring.podMonitor.enabled=true", "--api-versions", MONITORS)
    spec = only(objects, "Deployment", "weir-gateway")["spec"]["template"]["spec"]
    (router,) = spec["containers"]
    assert "--admin-token-file=/etc/weir/admin/token" in router["args"]
    assert {"name": "admin-token", "mountPath": "/etc/weir/admin", "readOnly": True} in router["volumeMounts"]
    (volume,) = (it["secret"] for it in spec["volumes"] if it["name"] == "admin-token")
    items = [{"key": "word", "path": "token"}]
    assert volume == {"secretName": "admin", "defaultMode": 0o440, "optional": True, "items": items}
    (port,) = only(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert port["authorization"] == {"credentials": {"name": "admin", "key": "word"}}
    assert "admin-token" not in yaml.safe_dump_all(helm4.render())


MONITORS = "monitoring.coreos.com/v1"


@pytest.mark.parametrize("values", SETS)
def test_kubeconform_finds_nothing(helm4: Helm, schemas: str, values: str) -> None:
    objects = [it for it in helm4.render(*SETS[values]) if it["kind"] != "CustomResourceDefinition"]
    code, said = kubeconform(schemas, objects)
    assert code == 0, said
    assert f"Valid: {len(objects)}, Invalid: 0, Errors: 0, Skipped: 0" in said


def test_kubeconform_would_find_an_unknown_field(helm4: Helm, schemas: str) -> None:
    deployment = only(helm4.render(), "Deployment", "weir-gateway")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    code, said = kubeconform(schemas, [deployment])
    assert code == 1
    assert "readynessProbe" in said


@pytest.mark.parametrize("values", SETS)
def test_both_helms_render_the_same(values: str) -> None:
    first, second = (Helm(ensure_tool(name)).render(*SETS[values]) for name in ("helm", "helm3"))
    assert key_sorted(first) == key_sorted(second)


def key_sorted(objects: list[Object]) -> list[Object]:
    return sorted(objects, key=lambda it: (it["kind"], it["metadata"].get("namespace", ""), it["metadata"]["name"]))


@pytest.mark.parametrize("values", SETS)
def test_pods_run_with_as_few_rights_as_there_can_be(helm4: Helm, values: str) -> None:
    for pod in pods(helm4.render(*SETS[values])):
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"livenessProbe", "readinessProbe", "resources"} <= container.keys()


def test_the_namespace_may_enforce_the_restricted_standard(helm4: Helm, apiserver: ApiServer, namespace: str) -> None:
    """The API server's own admission judges the pods."""
    run(apiserver, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    run(apiserver, "create", "serviceaccount", "test", "--namespace", namespace)
    for number, pod in enumerate(pods(helm4.render(namespace=namespace))):
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{number}"}, "spec": pod}
        pod["serviceAccountName"] = "test"
        run(apiserver, "apply", "--namespace", namespace, "--dry-run=server", "-f", "-", input=json.dumps(body))


def test_the_gateway_has_no_right_and_no_token_for_the_api_server(helm4: Helm) -> None:
    objects = helm4.render()
    bound = {subject["name"] for it in objects if it["kind"].endswith("Binding") for subject in it["subjects"]}
    assert bound == {"weir-operator"}
    assert (
        only(objects, "Deployment", "weir-gateway")["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    )
    assert only(objects, "ServiceAccount", "weir-router")["automountServiceAccountToken"] is False


def rules(objects: list[Object], *kinds: str) -> set[tuple[str, str]]:
    """The rights of bound roles of these kinds, as (resource, verb)."""
    bound = {it["roleRef"]["name"] for it in objects if it["kind"].endswith("Binding")}
    return {
        (resource, verb)
        for it in objects
        if it["kind"] in kinds and it["metadata"]["name"] in bound
        for rule in it["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_with_namespaces_only_token_reviews_and_its_own_webhook_are_asked_of_the_whole_cluster(helm4: Helm) -> None:
    objects = helm4.render(*SETS["namespaced"])
    webhook = {("mutatingwebhookconfigurations", verb) for verb in ("get", "list", "watch", "patch")}
    reviews = {("tokenreviews", "create")}
    assert rules(objects, "ClusterRole") == reviews | webhook
    without = helm4.render(*SETS["namespaced"], "--set", "sidecar.enabled=false")
    assert rules(without, "ClusterRole") == reviews
    assert not [it for it in without if it["kind"] == "MutatingWebhookConfiguration"]
    places = {it["metadata"]["namespace"] for it in objects if it["kind"] == "Role"}
    assert places == {"llm", "default", "kube-public"}
    (operator,) = (it for it in pods(objects) if it["serviceAccountName"] == "weir-operator")
    assert "--namespaces=default,kube-public" in operator["containers"][0]["args"]


@pytest.mark.parametrize("values", ["defaults", "namespaced"])
def test_services_are_read_where_objects_are_and_only_if_wanted(helm4: Helm, values: str) -> None:
    read = {(resource, verb) for resource in ("services", "endpointslices") for verb in ("list", "watch")}
    kind = "ClusterRole" if values == "defaults" else "Role"
    assert read <= rules(helm4.render(*SETS[values]), kind)
    without = rules(helm4.render(*SETS[values], "--set", "rbac.readServices=false"), "ClusterRole", "Role")
    assert not {resource for resource, _ in without} & {"services", "endpointslices"}


@pytest.mark.parametrize("values", SETS)
def test_the_operator_may_write_secrets_and_config_nowhere_but_beside_itself(helm4: Helm, values: str) -> None:
    objects = helm4.render(*SETS[values])
    for it in objects:
        if it["kind"] in ("Role", "ClusterRole") and it["metadata"].get("namespace") != "llm":
            written = [rule for rule in it["rules"] if {"secrets", "configmaps"} & set(rule["resources"])]
            assert all(set(rule["verbs"]) <= {"get", "list", "watch"} for rule in written)
    assert not [verb for _, verb in rules(objects, "Role", "ClusterRole") if "*" in verb]


EDITED = {"modeltiers": False, "routingpolicies": True}
"""Whether tenants with the role `edit` may write objects of the kind. The others belong to the platform."""


def test_editors_write_policies_and_only_read_tiers(helm4: Helm) -> None:
    roles = [it for it in helm4.render() if it["kind"] == "ClusterRole"]

    def verbs(aggregate: str, resource: str) -> set[str]:
        label = f"rbac.authorization.k8s.io/aggregate-to-{aggregate}"
        chosen = [it for it in roles if it["metadata"]["labels"].get(label) == "true"]
        return {
            verb for it in chosen for rule in it["rules"] if resource in rule["resources"] for verb in rule["verbs"]
        }

    read = {"get", "list", "watch"}
    written = read | {"create", "update", "patch", "delete", "deletecollection"}
    assert set(EDITED) == {kind.plural for kind in KINDS}
    for plural, edited in EDITED.items():
        assert verbs("view", plural) == read
        assert verbs("edit", plural) == verbs("admin", plural) == (written if edited else read)


def test_the_gateway_mounts_what_the_operator_publishes(helm4: Helm) -> None:
    from weir_operator.publish.publisher import Names

    names = Names("weir")
    pod = only(helm4.render(), "Deployment", "weir-gateway")["spec"]["template"]["spec"]
    (volume,) = (it for it in pod["volumes"] if it["name"] == "config")
    sources = [next(iter(it.items())) for it in volume["projected"]["sources"]]
    kinds = {"configMap": "ConfigMap", "secret": "Secret"}
    assert {(kinds[kind], source["name"]) for kind, source in sources} == {
        (it.kind.value, it.name) for it in (*names.all, names.old_credentials)
    }
    assert all(source["optional"] for _, source in sources)


def test_callers_are_told_before_a_router_goes_and_open_answers_end(helm4: Helm) -> None:
    pod = only(helm4.render(), "Deployment", "weir-gateway")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    (grace,) = (int(it.partition("=")[2]) for it in container["args"] if it.startswith("--grace="))
    assert pod["terminationGracePeriodSeconds"] > pause + grace
    assert pause > container["readinessProbe"]["periodSeconds"]


def test_origins_that_may_call_reach_gateway_and_sidecars(helm4: Helm) -> None:
    objects = helm4.render("--set", "cors.allowedOrigins={https://app.example.com,app:}")
    gateway, operator = (
        only(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["args"]
        for name in ("weir-gateway", "weir-operator")
    )
    assert [it for it in gateway if "origin" in it] == ["--allow-origin=https://app.example.com", "--allow-origin=app:"]
    (sidecar,) = (it.removeprefix("--sidecar=") for it in operator if it.startswith("--sidecar="))
    assert json.loads(sidecar)["allowedOrigins"] == ["https://app.example.com", "app:"]
    with pytest.raises(AssertionError, match="allowedOrigins"):
        helm4.render("--set", "cors.allowedOrigins={https://app.example.com/path}")


@pytest.mark.parametrize("values", ["everything", "namespaced", "keda"])
def test_who_scales_the_gateway_decides_how_many_there_are(helm4: Helm, values: str) -> None:
    objects = helm4.render(*SETS[values])
    (gateway,) = (it for it in objects if it["kind"] == "Deployment" and it["metadata"]["name"].endswith("-gateway"))
    (scaler,) = (it for it in objects if it["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"))
    assert "replicas" not in gateway["spec"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == gateway["metadata"]["name"]


def test_keda_asks_the_operator_with_a_token_of_a_service_account_without_rights(helm4: Helm) -> None:
    objects = helm4.render(*SETS["keda"])
    demand, cpu = only(objects, "ScaledObject", "weir-gateway")["spec"]["triggers"]
    assert demand["metadata"] == {
        "url": f"https://weir-operator.llm.svc:8443{PREFIX}/gateway",
        "valueLocation": "demand",
        "targetValue": "1000",
        "authModes": "bearer",
        "unsafeSsl": "true",
    }
    assert cpu == {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}
    authentication = only(objects, "TriggerAuthentication", demand["authenticationRef"]["name"])
    assert authentication["spec"] == {
        "boundServiceAccountToken": [{"parameter": "token", "serviceAccountName": "weir-scaler"}]
    }
    (rule,) = only(objects, "Role", "weir-scaler")["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == (["weir-scaler"], ["create"])
    bound = {
        subject["name"]: it["roleRef"]["name"]
        for it in objects
        if it["kind"].endswith("Binding")
        for subject in it["subjects"]
    }
    assert bound["keda-operator"] == "weir-scaler"
    assert "weir-scaler" not in bound


def test_with_a_client_certificate_keda_verifies_the_operators(helm4: Helm) -> None:
    objects = helm4.render(*SETS["everything"])
    first = only(objects, "ScaledObject", "platform-weir-gateway")["spec"]["triggers"][0]
    assert first["metadata"]["authModes"] == "tls,bearer"
    assert "unsafeSsl" not in first["metadata"]
    spec = only(objects, "TriggerAuthentication", "platform-weir-scaler")["spec"]
    assert spec["configMapTargetRef"] == [{"parameter": "ca", "name": "platform-weir-ca", "key": "ca.crt"}]
    assert [(it["parameter"], it["name"]) for it in spec["secretTargetRef"]] == [
        ("cert", "scaler-tls"),
        ("key", "scaler-tls"),
    ]


@pytest.mark.parametrize("keep", [True, False])
def test_the_crds_are_those_of_the_project_and_stay_if_asked(helm4: Helm, keep: bool) -> None:
    rendered = [
        it for it in helm4.render("--set", f"crds.keep={json.dumps(keep)}") if it["kind"] == "CustomResourceDefinition"
    ]
    for it in rendered:
        kept = it["metadata"].get("annotations", {}).pop("helm.sh/resource-policy", None)
        assert kept == ("keep" if keep else None)
        if not it["metadata"].get("annotations"):
            it["metadata"].pop("annotations", None)
    source = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    assert key_sorted(rendered) == key_sorted(source)


def test_two_installations_share_a_cluster(helm4: Helm) -> None:
    def cluster_wide(release: str, namespace: str) -> set[tuple[str, str]]:
        objects = helm4.render("--set", "crds.install=false", release=release, namespace=namespace)
        return {(it["kind"], it["metadata"]["name"]) for it in objects if "namespace" not in it["metadata"]}

    assert not cluster_wide("weir", "one") & cluster_wide("weir", "two")
    assert not cluster_wide("weir", "one") & cluster_wide("other", "one")


def test_a_single_replica_gets_no_budget_that_would_block_every_drain(helm4: Helm) -> None:
    budgets = [it for it in helm4.render("--set", "gateway.replicas=1,operator.replicas=1") if "Budget" in it["kind"]]
    assert budgets == []


def test_a_release_name_that_is_too_long_says_what_to_do(helm4: Helm) -> None:
    done = helm4.template("a" * 53)
    assert "set fullnameOverride" in done.stderr


def test_without_a_cluster_the_values_count(helm4: Helm) -> None:
    """`lookup` keeps pods that are there; `helm template` and Argo CD have none, and get the same objects each time."""
    asking = {
        path.name for path in Path(CHART / "templates").rglob("*") if path.is_file() and LOOKUP in path.read_text()
    }
    assert asking == {"_scale.tpl", "_checks.tpl"}
    assert helm4.render() == helm4.render() == helm4.render("--is-upgrade")
    for part, replicas in (("gateway", 4), ("operator", 3)):
        deployment = only(helm4.render("--set", f"{part}.replicas={replicas}"), "Deployment", f"weir-{part}")
        assert deployment["spec"]["replicas"] == replicas


LOOKUP = "lookup "
