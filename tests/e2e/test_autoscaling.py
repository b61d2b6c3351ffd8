"""The gateway grows with its load and shrinks after it: KEDA, by a figure of Weir's own (docs/autoscaling.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import stage
from world import NAMESPACE, ROOT, Application, Weir, apply, helm, kubectl, until

STREAMS, PER_ROUTER, FEWEST, MOST = 80, 20, 2, 4

AUDIENCES = [
    {"audience": "weir-autoscaling/weir", "namespace": NAMESPACE, "serviceAccountName": "weir-scaler"},
]


@pytest.fixture(scope="module")
def keda() -> None:
    """Installs KEDA on our own node; other clusters must have it."""
    if os.environ.get("KEDA") == "no":
        pytest.skip("KEDA=no")
    if os.environ.get("WEIR_E2E_NODE"):
        subprocess.run([sys.executable, ROOT / "hack" / "kube" / "cluster.py", "keda"], check=True)
    elif "scaledobjects" not in kubectl("api-resources", "--api-group=keda.sh", "--output=name", check=False):
        pytest.skip("no KEDA in this cluster")
    place = ("--namespace", "keda", "deployment/keda-operator")
    kubectl("set", "env", *place, f"KEDA_SERVICE_ACCOUNT_TOKEN_AUDIENCES={json.dumps(AUDIENCES)}")
    kubectl("rollout", "status", *place, "--timeout=120s")


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
