"""Values of the chart that cannot work are refused with words, by each version of Helm.

Helm names every mistake of one value in one error, so the mistakes of `BAD` and `ALONE` are tried many at once.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
import yaml
from binaries import find_tool

from support.helm import CHART, ROOT, Helm

SIZE = "does not match pattern"
OTHER = "value must be one of"

BAD: dict[str, list[tuple[Any, str]]] = {
    "label": [("bad name", SIZE), ("Upper", SIZE), ("", SIZE), ("a" * 64, "maxLength: got 64, want 63")],
    "name": [("Not_A_Name", SIZE), ("a/b", SIZE), ("a" * 254, "maxLength: got 254, want 253")],
    "key": [("a/b", SIZE), ("", SIZE)],
    "port": [(0, "minimum: got 0, want 1"), (65536, "maximum: got 65,536, want 65,535"), ("http", "got string")],
    "replicas": [(0, "minimum: got 0, want 1"), (1001, "maximum: got 1,001, want 1,000"), (-1, "minimum: got -1")],
    "labels": [({"a": "two words"}, SIZE), ({"a": 1}, "got number, want string")],
    "annotations": [({"a": 1}, "got number, want string"), ({"a": None}, "got null, want string")],
    "resources": [
        ({"limits": {"memory": "512Megs"}}, f"'512Megs' {SIZE}"),
        ({"limits": {"memory": "512m"}}, f"'512m' {SIZE}"),
        ({"limits": {"memory": "512"}}, f"'512' {SIZE}"),
        ({"limits": {"memory": 512}}, "minimum: got 512, want 1"),
        ({"limits": {"memory": "-1Gi"}}, f"'-1Gi' {SIZE}"),
        ({"requests": {"cpu": "100Mi"}}, f"'100Mi' {SIZE}"),
        ({"requests": {"cpu": "half"}}, f"'half' {SIZE}"),
        ({"requests": {"cpu": -1}}, "minimum: got -1, want 0"),
        ({"requests": {"example.com/gpu": "one"}}, f"'one' {SIZE}"),
        ({"request": {"cpu": "1"}}, "additional properties 'request' not allowed"),
    ],
    "budget": [
        (0, "minimum: got 0, want 1"),
        ("0%", SIZE),
        ("101%", SIZE),
        ("1", SIZE),
        (-1, "minimum: got -1"),
    ],
    "networks": [(["10.0.0.1"], SIZE), (["10.0.0.256/8"], SIZE), (["10.0.0.0/33"], SIZE), (["kube"], SIZE)],
    "peers": [(["10.0.0.1"], SIZE), (["Up"], SIZE), ([{"namespace": "a"}], "additional properties"), ([{}], "minProp")],
    "egress": [([{"port": 1}], "additional properties 'port' not allowed"), (["10.0.0.0/8"], "got string")],
    "env": [([{"value": "a"}], "missing property 'name'"), ([{"name": "A", "value": 1}], "got number, want string")],
    "envFrom": [([{"secretRef": {}}], "missing property 'name'"), ([{}], "minProperties"), (["a"], "got string")],
    "volumes": [([{"name": "a"}], "minProperties"), ([{"name": "A_b", "emptyDir": {}}], SIZE)],
    "mounts": [([{"name": "a", "mountPath": "a"}], SIZE), ([{"name": "a"}], "missing property 'mountPath'")],
    "nodes": [({"a": True}, "got boolean, want string")],
    "tolerations": [([{"effect": "Never"}], OTHER), ([{"keys": "a"}], "additional properties 'keys' not allowed")],
    "affinity": [({"nodes": {}}, "additional properties 'nodes' not allowed")],
    "spread": [([{"maxSkew": 1}], "missing properties 'topologyKey', 'whenUnsatisfiable'")],
    "metrics": [([{"type": "CPU"}], OTHER), ([{}], "missing property 'type'")],
    "triggers": [
        ([{"type": "cron"}], "missing property 'metadata'"),
        ([{"type": "a", "metadata": {"b": 1}}], "got num"),
    ],
    "behavior": [
        ({"scaledown": {}}, "additional properties 'scaledown' not allowed"),
        ({"scaleDown": {"stabilizationWindowSeconds": 3601}}, "maximum: got 3,601, want 3,600"),
        ({"scaleUp": {"policies": [{"type": "Pod", "value": 1, "periodSeconds": 1}]}}, OTHER),
        ({"scaleUp": {"selectPolicy": "None"}}, OTHER),
    ],
}
"""Mistakes in a value of each form, and the words of the refusal."""

ALONE: dict[str, list[tuple[Any, str]]] = {
    "fullnameOverride": [("Not_A_Name", SIZE), ("a" * 51, SIZE)],
    "namespaces": [(["a b"], SIZE), (["a", "a"], "items at 0 and 1 are equal")],
    "image.repository": [("weir:0.1.0", SIZE), ("https://a/weir", SIZE), ("", SIZE), ("a b", SIZE), ("a/", SIZE)],
    "image.tag": [("a/b", SIZE), ("a b", SIZE), (1, "got number, want string")],
    "image.digest": [("latest", SIZE), ("sha256:12", SIZE)],
    "image.pullPolicy": [("Sometimes", OTHER)],
    "imagePullSecrets": [([{"name": ""}], SIZE), (["a"], "got string, want object"), ([{"nam": "a"}], "'name'")],
    "proxy.http": [("proxy:3128", SIZE)],
    "proxy.https": [("https:/proxy", SIZE)],
    "gateway.replicas": [(-1, "minimum: got -1, want 0"), (1001, "maximum"), (1.5, "got number, want integer")],
    "gateway.preStopSeconds": [(0, "minimum: got 0, want 1"), (3601, "maximum")],
    "gateway.drainSeconds": [(-1, "minimum: got -1, want 0"), (86401, "maximum")],
    "gateway.service.type": [("Ingress", OTHER)],
    "gateway.service.trafficDistribution": [("SameZone", OTHER)],
    "gateway.autoscaling.type": [("VPA", OTHER)],
    "gateway.autoscaling.targetCPUUtilization": [(0, "minimum: got 0, want 1"), (1001, "maximum"), ("70%", "string")],
    "gateway.autoscaling.keda.targetDemand": [(0, "minimum: got 0, want 1"), (4001, "maximum: got 4,001, want 4,000")],
    "gateway.autoscaling.keda.pollingInterval": [(0, "minimum: got 0, want 1"), (3601, "maximum")],
    "operator.replicas": [(0, "minimum: got 0, want 1"), (101, "maximum")],
    "operator.extraArgs": [([1], "got number, want string"), ([""], "minLength: got 0, want 1")],
    "tenancy.consent": [("Refuse", OTHER)],
    "tenancy.offeringNamespaces": [(["a*"], SIZE)],
    "tenancy.userTierNamespaces": [(["A"], SIZE)],
    "cors.allowedOrigins": [(["https://app.example.com/path"], SIZE)],
    "sidecar.port": [(80, "minimum: got 80, want 1,024"), (65536, "maximum")],
    "sidecar.adminPort": [(1023, "minimum"), (65536, "maximum")],
    "monitoring.podMonitor.interval": [("30", SIZE), ("0s", SIZE)],
    "monitoring.prometheusRule.alertLabels": [({"a": 1}, "got number, want string")],
    "monitoring.prometheusRule.runbooks": [("", "minLength: got 0, want 1")],
    "monitoring.prometheusRule.slowSeconds": [(0, "minimum: got 0, want 1")],
}
"""The same of values with a schema of their own."""

UNKNOWN = [
    "gateway.replica",
    "operator.podDisruptionBudget.minAvailable",
    "nameOverride",
    "trust.secret",
    "sidecar.image",
]

TOGETHER: list[tuple[dict[str, Any], str]] = [
    ({"sidecar.port": 18090}, "sidecar.port and sidecar.adminPort are both 18090"),
    ({"trust.configMap": "a", "trust.existingSecret": "b"}, "trust.configMap and trust.existingSecret are both set"),
    ({"proxy.https": "http://a:1", "proxy.existingSecret": "b"}, "proxy.https would be ignored"),
    ({"gateway.tls.plain": True}, "gateway.tls.secretName names no certificate for TLS: set it, or plain to false"),
    ({"gateway.tls.caSecretName": "a"}, "gateway.tls.secretName names no certificate: set it"),
    (
        {"gateway.tls.plain": True, "gateway.tls.secretName": "a", "gateway.tls.port": 80},
        "gateway.tls.port and gateway.service.port are both 80",
    ),
    (
        {"gateway.autoscaling.type": "HPA", "gateway.autoscaling.minReplicas": 11},
        "minReplicas is 11 and maxReplicas 10: set maxReplicas to 11 or more",
    ),
    (
        {"gateway.autoscaling.type": "KEDA", "gateway.autoscaling.maxReplicas": 1},
        "minReplicas is 2 and maxReplicas 1: set maxReplicas to 2 or more",
    ),
    (
        {"gateway.autoscaling.type": "HPA", "gateway.autoscaling.targetCPUUtilization": None},
        "type HPA has nothing to scale on: set targetCPUUtilization or metrics",
    ),
    (
        {
            "gateway.autoscaling.type": "KEDA",
            "gateway.autoscaling.targetCPUUtilization": None,
            "gateway.autoscaling.keda.targetDemand": None,
        },
        "set one of keda.targetDemand, targetCPUUtilization, triggers",
    ),
    (
        {"gateway.autoscaling.type": "HPA", "gateway.autoscaling.triggers": [{"type": "cron", "metadata": {}}]},
        "gateway.autoscaling.triggers are for KEDA and type is HPA",
    ),
    (
        {"gateway.autoscaling.type": "KEDA", "gateway.autoscaling.metrics": [{"type": "Pods"}]},
        "gateway.autoscaling.metrics are for an HPA and type is KEDA",
    ),
    (
        {"gateway.autoscaling.type": "HPA", "gateway.resources.requests.cpu": None},
        "targetCPUUtilization is a share of gateway.resources.requests.cpu, which is not set",
    ),
    ({"gateway.resources.requests.memory": "1Gi"}, "gateway.resources.requests.memory is 1Gi, above its limit 512Mi"),
    ({"operator.resources.limits.cpu": "20m"}, "operator.resources.requests.cpu is 50m, above its limit 20m"),
    ({"sidecar.resources.requests.cpu": 2}, "sidecar.resources.requests.cpu is 2, above its limit 1"),
    ({"commonLabels": {"app.kubernetes.io/name": "a"}}, "commonLabels has app.kubernetes.io/name"),
    ({"commonLabels": {"helm.sh/chart": "a"}}, "commonLabels has helm.sh/chart"),
    ({"commonLabels": {"weir.dev/inject": "true"}}, "commonLabels has weir.dev/inject"),
    ({"gateway.podLabels": {"app.kubernetes.io/component": "a"}}, "gateway.podLabels has app.kubernetes.io/component"),
    ({"operator.podLabels": {"pod-template-hash": "a"}}, "operator.podLabels has pod-template-hash"),
    ({"monitoring.podMonitor.labels": {"app.kubernetes.io/name": "a"}}, "monitoring.podMonitor.labels has"),
    ({"commonLabels": {"a b": "c"}}, 'commonLabels has "a b", which is no key'),
    ({"gateway.podAnnotations": {"/a": "c"}}, 'gateway.podAnnotations has "/a", which is no key'),
    ({"commonAnnotations": {"helm.sh/hook": "pre-install"}}, "commonAnnotations has helm.sh/hook"),
    ({"commonAnnotations": {"weir.dev/replicas": "9"}}, "commonAnnotations has weir.dev/replicas"),
    ({"operator.extraEnv": [{"name": "POD_NAME", "value": "a"}]}, "operator.extraEnv has POD_NAME"),
    (
        {"proxy.https": "http://a:1", "gateway.extraEnv": [{"name": "HTTPS_PROXY", "value": "b"}]},
        "gateway.extraEnv has HTTPS_PROXY, which is set already: leave it out, or use trust and proxy",
    ),
    ({"gateway.extraEnv": [{"name": "A"}, {"name": "A"}]}, "gateway.extraEnv has A, which is set already"),
    ({"gateway.extraVolumes": [{"name": "config", "emptyDir": {}}]}, "gateway.extraVolumes has config"),
    ({"gateway.extraVolumeMounts": [{"name": "a", "mountPath": "/a"}]}, "has a, which is no volume"),
    (
        {
            "gateway.extraVolumes": [{"name": "a", "emptyDir": {}}],
            "gateway.extraVolumeMounts": [{"name": "a", "mountPath": "/etc/weir/config"}],
        },
        "gateway.extraVolumeMounts has /etc/weir/config, where the router's own files are",
    ),
]
"""Values that are well by themselves, and the sentence that refuses them together."""


def chart_tool() -> Any:
    """hack/chart, which is a program and no module."""
    loader = SourceFileLoader("chart_tool", str(ROOT / "hack" / "chart"))
    spec = importlib.util.spec_from_loader("chart_tool", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look for it there
    loader.exec_module(module)
    return module


VALUES = list(chart_tool().values((CHART / "values.yaml").read_text()))


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`; dots in keys of a value's own mapping stay."""
    made: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, name = path.split(".")
        section = made
        for it in sections:
            section = section.setdefault(it, {})
        section[name] = value
    return made


@pytest.fixture(scope="module", params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest) -> Helm:
    """Each version of Helm that the chart supports."""
    path = find_tool(request.param)
    if path is None:
        pytest.fail(f"No {request.param} yet: run hack/kube/ensure {request.param} once.", pytrace=False)
    return Helm(path)


def refusal(helm: Helm, flat: dict[str, Any], folder: Path) -> str:
    """Returns Helm's refusal of these values."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(nested(flat)))
    done = helm.template("weir", "--values", str(file))
    assert done.returncode != 0, flat
    return done.stderr


def bad_values() -> dict[str, list[tuple[Any, str]]]:
    """Every value with a schema of its own or of a form, and what it may not be."""
    return {
        ".".join(it.path): BAD[it.form] if it.form else ALONE.get(".".join(it.path), []) for it in VALUES if it.extra
    }


def test_every_value_with_a_rule_has_a_row() -> None:
    ruled = {".".join(it.path) for it in VALUES if it.extra and not it.form}
    assert ruled == set(ALONE)
    assert {it.form for it in VALUES if it.form} == set(BAD) == set(chart_tool().FORMS)


@pytest.mark.parametrize("number", range(max(map(len, bad_values().values()))))
def test_a_value_that_cannot_work_is_named(helm: Helm, tmp_path: Path, number: int) -> None:
    tried = {path: rows[number] for path, rows in bad_values().items() if number < len(rows)}
    told = refusal(helm, {path: value for path, (value, _) in tried.items()}, tmp_path)
    for path, (value, words) in tried.items():
        place = f"at '/{path.replace('.', '/')}"
        lines = [line for line in told.splitlines() if place in line]
        assert any(words in line for line in lines), f"{path}={json.dumps(value)}: {lines or told}"


def test_a_value_of_another_type_is_named(helm: Helm, tmp_path: Path) -> None:
    """Every value is tried: a mapping where text or a number belongs, and text where a mapping does."""
    wrong = {".".join(it.path): "text" if isinstance(it.default, dict | list | bool) else {"a": 1} for it in VALUES}
    told = refusal(helm, wrong, tmp_path)
    for path in wrong:
        assert f"at '/{path.replace('.', '/')}': got " in told, f"{path} takes anything"


def sections(found: dict[str, Any], above: str = "") -> list[str]:
    """The paths of all mappings of values.yaml that are no value themselves, and of all values that are not empty."""
    paths = []
    values = {".".join(it.path): it for it in VALUES}
    for name, it in found.items():
        path = f"{above}{name}"
        if path not in values:
            paths += [path, *sections(it, f"{path}.")]
        elif not isinstance(it, dict | list) and it != "" and "null" not in values[path].extra.get("type", ()):
            paths.append(path)
    return paths


def test_null_where_something_has_to_be_is_named(helm: Helm, tmp_path: Path) -> None:
    """Helm takes a key away whose value is null. Each depth is tried alone, since a section hides its values."""
    required = sections(yaml.safe_load((CHART / "values.yaml").read_text()))
    for depth in (1, 2, 3, 4):
        tried = [path for path in required if path.count(".") == depth - 1]
        told = refusal(helm, dict.fromkeys(tried), tmp_path)
        for path in tried:
            section, _, name = path.rpartition(".")
            (line,) = [
                it for it in told.splitlines() if f"at '{'/' * bool(section)}{section.replace('.', '/')}': miss" in it
            ]
            assert f"'{name}'" in line, line


def test_null_is_as_good_as_empty(helm: Helm, tmp_path: Path) -> None:
    empty = {
        ".".join(it.path): None
        for it in VALUES
        if it.default in ("", [], {}) or isinstance(it.default, dict) or "null" in it.extra.get("type", ())
    }
    file = tmp_path / "values.yaml"
    of = "gateway.autoscaling"
    metrics, triggers = [{"type": "Pods"}], [{"type": "cron", "metadata": {"timezone": "UTC"}}]
    for scaled in (
        {},
        {f"{of}.type": "HPA", f"{of}.metrics": metrics},
        {f"{of}.type": "KEDA", f"{of}.triggers": triggers},
    ):
        file.write_text(yaml.safe_dump(nested(empty | scaled)))
        done = helm.template("weir", "--values", str(file))
        assert done.returncode == 0, done.stderr


def test_an_unknown_key_is_named(helm: Helm, tmp_path: Path) -> None:
    told = refusal(helm, dict.fromkeys(UNKNOWN, 1), tmp_path)
    for path in UNKNOWN:
        assert f"additional properties '{path.rpartition('.')[2]}' not allowed" in told


@pytest.mark.parametrize(("values", "words"), TOGETHER, ids=[words[:40] for _, words in TOGETHER])
def test_values_that_cannot_work_together_are_refused_with_a_sentence(
    helm: Helm, tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    told = " ".join(refusal(helm, values, tmp_path).split())
    assert "these values cannot work:" in told
    assert words in told


def test_all_mistakes_are_named_at_once(helm: Helm, tmp_path: Path) -> None:
    told = refusal(
        helm, {"sidecar.port": 18090, "gateway.tls.plain": True, "operator.resources.limits.cpu": "20m"}, tmp_path
    )
    assert len([line for line in told.splitlines() if line.startswith("  ")]) == 3
