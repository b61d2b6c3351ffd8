"""Pods of the gateway come and go, and callers do not notice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import stage
from world import NAMESPACE, ROOT, Application, Weir, apply, helm, image_values, kubectl, until

STREAMS = 200


@pytest.fixture(scope="module", autouse=True)
def models(weir: Weir, application: Application) -> None:
    """A model whose streams take `stage.STREAM_SECONDS`."""
    stage.simulator()
    apply(stage.tier("slow"), stage.policy("slow", "slow", to="slow"))
    stage.served(weir, application, "slow")


def test_a_rolling_update_cuts_none_of_200_streams(weir: Weir, application: Application) -> None:
    before = {pod["metadata"]["name"] for pod in weir.pods("gateway")}
    # Given 200 streams that are open
    with application.asking("streams", "slow", str(STREAMS)) as lines:
        assert next(lines)["open"] == STREAMS
        # When every pod of the gateway is replaced
        kubectl("rollout", "restart", "deployment/weir-gateway", "--namespace", NAMESPACE)
        weir.rolled_out()
        assert not before & {pod["metadata"]["name"] for pod in weir.pods("gateway")}
        # Then each stream is read to its end
        reached = next(lines)["reached"]
    assert reached == {"open": STREAMS, "finish: stop": STREAMS}

    # And the old pods go as soon as that is so, long before their grace is over
    def all_pods() -> set[str]:
        listed = kubectl("get", "pods", "--namespace", NAMESPACE, "--output=name")
        return {line.removeprefix("pod/") for line in listed.splitlines()}

    until(lambda: not before & all_pods(), 60)


def test_an_upgrade_and_its_rollback_keep_serving(weir: Weir, application: Application) -> None:
    chart = ["weir", str(ROOT / "helm" / "weir"), "--namespace", NAMESPACE]
    # Given callers who ask all the time
    with stage.steady(application, 45):
        # When a release is upgraded, both parts of it, and rolled back
        helm(
            "upgrade",
            *chart,
            "--reuse-values",
            "--set",
            "gateway.logRequests=false,operator.podLabels.upgraded=yes",
            "--wait",
        )
        weir.rolled_out()
        helm("rollback", "weir", "--namespace", NAMESPACE, "--wait")
        weir.rolled_out()
        # Then every request is answered


@pytest.mark.skipif(not os.environ.get("WEIR_PREVIOUS"), reason="what came before is not in this clone's history")
def test_an_upgrade_from_the_previous_version_keeps_serving(weir: Weir, application: Application) -> None:
    def upgrade(source: Path, image: str, *options: str) -> None:
        chart = ("weir", str(source / "helm" / "weir"), "--namespace", NAMESPACE)
        helm("upgrade", *chart, *image_values(image), *options, "--wait", "--timeout=4m")
        for part in ("operator", "gateway"):
            weir.rolled_out(part)
            assert {pod["spec"]["containers"][0]["image"] for pod in weir.pods(part)} == {image}

    # Given the previous version, with its own image, its chart and its CRDs, and callers who ask all the time
    upgrade(Path(os.environ["WEIR_PREVIOUS"]), os.environ["IMAGE"] + "-previous", "--reset-values")
    with stage.steady(application, 45):
        # When it is upgraded to this one
        upgrade(ROOT, os.environ["IMAGE"], "--reset-then-reuse-values")
        # Then every request is answered
    # And what is applied is effective
    apply(stage.policy("upgraded", "upgraded", to="budget"))
    until(lambda: application.ask("upgraded")["status"] == 200)


def test_a_drain_takes_one_pod_at_a_time(weir: Weir, application: Application) -> None:
    def evict(pod: str) -> str:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        return kubectl("create", "--raw", path, "--filename", "-", input=json.dumps(body), check=False)

    # Given callers who ask all the time, and a budget that allows one pod to be missing
    weir.rolled_out()
    first, second = (pod["metadata"]["name"] for pod in weir.pods("gateway"))
    with stage.steady(application, 25):
        # When a drain evicts one pod
        assert "Success" in evict(first)
        # Then the other one stays until there is another
        refused = evict(second)
        assert "disruption budget" in refused
        until(lambda: "Success" in evict(second))
        weir.rolled_out()
        # And every request is answered
