"""The gateway grows with its load and shrinks after it, and no upgrade takes a pod of it (docs/autoscaling.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import stage
from world import NAMESPACE, ROOT, Application, Weir, apply, helm, kubectl, until

STREAMS, PER_ROUTER, FEWEST, MOST = 80, 20, 2, 4
MANY = 5
"""Pods of the gateway that changes of its autoscaling must not take."""

LOAD_SECONDS = 45
"""Seconds of load, within which autoscaling goes on and off. The upgrades take half of them on an idle machine."""

AUDIENCES = [
    {"audience": "weir-autoscaling/weir", "namespace": NAMESPACE, "serviceAccountName": "weir-scaler"},
]


@pytest.fixture(scope="module")
def without_keda() -> str:
    """Why there is no KEDA; empty where there is one. It is installed on our own node; other clusters must have it."""
    if os.environ.get("KEDA") == "no":
        return "KEDA=no"
    if os.environ.get("WEIR_E2E_NODE"):
        subprocess.run([sys.executable, ROOT / "hack" / "kube" / "cluster.py", "keda"], check=True)
    elif "scaledobjects" not in kubectl("api-resources", "--api-group=keda.sh", "--output=name", check=False):
        return "no KEDA in this cluster"
    place = ("--namespace", "keda", "deployment/keda-operator")
    kubectl("set", "env", *place, f"KEDA_SERVICE_ACCOUNT_TOKEN_AUDIENCES={json.dumps(AUDIENCES)}")
    kubectl("rollout", "status", *place, "--timeout=120s")
    return ""


@pytest.fixture(scope="module")
def keda(without_keda: str) -> None:
    """Skips where there is no KEDA."""
    if without_keda:
        pytest.skip(without_keda)


def upgrade(*sets: str, flags: tuple[str, ...] = ()) -> None:
    """Upgrades the release with values of `gateway`."""
    options = [it for value in sets for it in ("--set", f"gateway.{value}")]
    chart = ("upgrade", "weir", str(ROOT / "helm" / "weir"), "--namespace", NAMESPACE, "--reuse-values", "--wait")
    helm(*chart, *options, *flags)


@pytest.fixture
def many(weir: Weir) -> Iterator[None]:
    """Five pods of the gateway, small enough for a node of two cores, with a limit of the autoscaler near."""
    small = ("resources.requests.cpu=20m", "resources.requests.memory=64Mi")
    bounds = (f"autoscaling.minReplicas={MANY}", f"autoscaling.maxReplicas={MANY + 1}")
    # An autoscaler of another scenario may have set the number last.
    upgrade(f"replicas={MANY}", *small, *bounds, flags=("--force-conflicts",))
    weir.rolled_out()
    yield
    upgrade("autoscaling.type=", f"replicas={FEWEST}")
    assert len(weir.pods("gateway")) == MANY  # an upgrade takes none
    kubectl("scale", "deployment/weir-gateway", "--namespace", NAMESPACE, f"--replicas={FEWEST}")
    until(lambda: len(weir.pods("gateway")) == FEWEST)


@contextmanager
def ready_pods() -> Iterator[list[tuple[int, int]]]:
    """Wanted and ready pods of the gateway at each change of its Deployment during the block, from a watch."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    query = "watch=1&fieldSelector=metadata.name=weir-gateway&allowWatchBookmarks=false"
    seen: list[tuple[int, int]] = []
    first = threading.Event()
    with subprocess.Popen(["kubectl", "get", "--raw", f"{path}?{query}"], stdout=subprocess.PIPE, text=True) as watch:

        def read() -> None:
            assert watch.stdout is not None
            for line in watch.stdout:
                it = json.loads(line)["object"]
                seen.append((it["spec"]["replicas"], it["status"].get("readyReplicas", 0)))
                first.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            assert first.wait(30)
            yield seen
        finally:
            watch.terminate()
            reader.join()


def test_autoscaling_goes_on_and_off_and_to_another_and_no_pod_goes(
    weir: Weir, application: Application, without_keda: str, many: None
) -> None:
    # Given five pods, and callers who ask all the time and never try again
    with stage.steady(application, LOAD_SECONDS, retries=0), ready_pods() as seen:
        began = time.monotonic()
        for by in ("HPA", "", "HPA") if without_keda else ("HPA", "", "KEDA", "HPA"):
            # When autoscaling goes on, and the autoscaler has looked at the gateway, and off
            upgrade(f"autoscaling.type={by}")
            if by:
                hpa = {"HPA": "hpa/weir-gateway", "KEDA": "hpa/keda-hpa-weir-gateway"}[by]
                place = (hpa, "--namespace", NAMESPACE, "--timeout=60s")
                kubectl("wait", "--for=create", *place)
                kubectl("wait", "--for=condition=AbleToScale", *place)
            print(f"{by or 'off'} after {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began < LOAD_SECONDS, "the load ended before the steps"
    # Then there were never fewer than five, wanted or ready, and every request is answered
    assert len(seen) >= 4, seen
    assert min(wanted for wanted, _ in seen) >= MANY, seen
    assert min(ready for _, ready in seen) >= MANY, seen


@pytest.fixture
def scaled(weir: Weir, keda: None, tmp_path: Path) -> Iterator[None]:
    """Lets KEDA set the number of the gateway's pods."""
    pair = tmp_path / "tls.crt", tmp_path / "tls.key"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=scaler", "-days", "1"]
    subprocess.run([*made, "-out", pair[0], "-keyout", pair[1]], check=True, capture_output=True)
    kubectl("create", "secret", "tls", "scaler", "--namespace", NAMESPACE, f"--cert={pair[0]}", f"--key={pair[1]}")
    autoscaling = {
        "type": "KEDA",
        "minReplicas": FEWEST,
        "maxReplicas": MOST,
        "targetCPUUtilization": None,
        # At once, as a test has no minutes.
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "policies": None}},
        "keda": {"targetDemand": PER_ROUTER, "pollingInterval": 5, "clientCertificate": "scaler"},
    }
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps({"gateway": {"autoscaling": autoscaling}}))
    upgrade = ("upgrade", "weir", str(ROOT / "helm" / "weir"), "--namespace", NAMESPACE, "--reuse-values", "--wait")
    helm(*upgrade, "--values", str(values))
    yield
    helm(*upgrade, "--set", "gateway.autoscaling.type=")
    weir.rolled_out()


def test_the_gateway_grows_with_its_load_and_shrinks_after_it(
    weir: Weir, application: Application, scaled: None
) -> None:
    stage.simulator()
    apply(stage.tier("long"), stage.policy("long", "long", to="long"))
    stage.served(weir, application, "long")
    # Given a gateway with little to do, whose size KEDA knows how to find
    kubectl("wait", "--for=condition=Ready", "scaledobject/weir-gateway", "--namespace", NAMESPACE, "--timeout=60s")
    until(lambda: len(weir.pods("gateway")) == FEWEST)
    # When four routers' worth of streams are open
    with application.asking("streams", "long", str(STREAMS)) as lines:
        assert next(lines)["open"] == STREAMS
        # Then there are four
        until(lambda: len(weir.pods("gateway")) == MOST, stage.LONG_SECONDS)
        # And when they have ended, each at its own end, there are two again
        assert next(lines)["reached"] == {"open": STREAMS, "finish: stop": STREAMS}
    until(lambda: len(weir.pods("gateway")) == FEWEST, 90)
