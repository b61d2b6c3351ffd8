"""The control plane goes away, and the gateway goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import pytest
import stage
from world import NAMESPACE, ROOT, Application, Weir, apply, kubectl, until


def test_without_an_operator_routers_serve_and_start(weir: Weir, application: Application) -> None:
    # Given no operator
    with weir.without_operator(), stage.steady(application, 20):
        # When a pod of the gateway is deleted
        gone = weir.pods("gateway")[0]["metadata"]["name"]
        kubectl("delete", "pod", gone, "--namespace", NAMESPACE, "--wait=false")
        # Then its successor starts from what was published, and every request is answered
        weir.rolled_out()


def test_a_deleted_operator_pod_is_replaced_and_changes_arrive(weir: Weir, application: Application) -> None:
    # When all pods of the operator are deleted at once
    kubectl(
        "delete", "pods", "--namespace", NAMESPACE, "--selector=app.kubernetes.io/component=operator", "--wait=false"
    )
    weir.rolled_out("operator")
    # Then a change is effective as before
    model = f"model-{uuid.uuid4().hex[:8]}"
    apply(stage.policy("changing", model, to="budget"))
    until(lambda: application.ask(model)["status"] == 200)


@pytest.mark.skipif(not os.environ.get("WEIR_E2E_NODE"), reason="only our own cluster's API server may be killed")
def test_an_api_server_that_restarts_is_not_noticed_by_callers(weir: Weir, application: Application) -> None:
    # Given callers who ask all the time. They are in the cluster: kubectl would lose its connection.
    apply(stage.policy("changing", "before", to="budget"))
    stage.served(weir, application, "before")
    # When the API server is killed and started again
    subprocess.run([sys.executable, ROOT / "hack" / "kube" / "cluster.py", "restart", "kube-apiserver"], check=True)
    # Then requests are answered, and changes arrive
    assert application.ask("before")["status"] == 200
    model = f"model-{uuid.uuid4().hex[:8]}"
    apply(stage.policy("changing", model, to="budget"))
    until(lambda: application.ask(model)["status"] == 200)
    assert [it["restartCount"] for pod in weir.pods("gateway") for it in pod["status"]["containerStatuses"]] == [0, 0]
