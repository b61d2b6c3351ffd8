"""Pods of a namespace with sidecars: a real API server injects them, and a real kubelet runs them."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import stage
from world import Application, Object, Weir, apply, kubectl, until

HOME = "team-b"
LOCALHOST = "http://127.0.0.1:18080"

FIRST_ACT = """
import json, os, urllib.request
body = json.dumps({"model": "far", "messages": [{"role": "user", "content": "Hello"}]}).encode()
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
asked = urllib.request.Request(url, body, {"content-type": "application/json"})
print(urllib.request.urlopen(asked).status)
"""
"""An application that sends a request within milliseconds of its start, without a retry."""


@pytest.fixture(scope="module", autouse=True)
def home(weir: Weir, application: Application) -> None:
    """A namespace with sidecars: a tier of its own, a policy for it, and a policy for the platform's tier."""
    stage.simulator()
    namespace(HOME, {"weir.dev/inject": "true"})
    apply(stage.tier("own", namespace=HOME))
    apply(stage.policy("near", "near", to="own", namespace=HOME, of=HOME))
    apply(stage.policy("far", "far", to="budget", namespace=HOME))
    ready = ("wait", "--for=condition=Ready", "routingpolicy", "--all", "--namespace", HOME, "--timeout=60s")
    kubectl(*ready)


def namespace(name: str, labels: dict[str, str] | None = None) -> None:
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})


@pytest.fixture(scope="module")
def unaware(home: None) -> Application:
    """The unchanged OpenAI SDK, in a pod that does not mention Weir."""
    return Application.unaware("unaware", HOME)


def statuses(pod: Object) -> list[Any]:
    """The statuses of a pod's init containers, from the kubelet."""
    return list(pod["status"].get("initContainerStatuses", ()))


def served_by(application: Application) -> Object:
    """The sidecar's log line about the last request."""
    where = ("--namespace", application.namespace, f"deployment/{application.name}")
    lines = kubectl("logs", *where, "--container=weir-sidecar").splitlines()
    return dict(json.loads(next(it for it in reversed(lines) if it.startswith("{"))))


def test_an_application_that_knows_nothing_of_weir_is_answered_through_localhost(unaware: Application) -> None:
    # Given a pod that is ready, with a native sidecar that runs
    pod = unaware.pod()
    (sidecar,) = statuses(pod)
    assert (sidecar["name"], sidecar["ready"], sidecar["restartCount"]) == ("weir-sidecar", True, 0)
    assert pod["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    # When it asks for a model of another namespace's tier
    answer = unaware.ask("far")
    # Then the gateway has answered, for the sidecar
    assert (answer["status"], answer["tier"]) == (200, "llm/budget")
    assert served_by(unaware)["backend"] == "gateway"


def test_what_the_namespace_has_the_sidecar_serves_itself(unaware: Application) -> None:
    # When a model is asked for whose tier is of the pod's namespace, then its own router has answered
    answer = until(lambda: found if (found := unaware.ask("near"))["status"] == 200 else None)
    assert answer["tier"] == f"{HOME}/own"
    until(lambda: served_by(unaware).get("tier") == f"{HOME}/own")


def test_a_changed_policy_is_effective_in_a_running_sidecar(unaware: Application) -> None:
    assert stage.follow(unaware, LOCALHOST, to="own", namespace=HOME, of=HOME) < 1.0


def test_an_application_s_first_act_may_be_a_request_and_its_end_is_the_pod_s(home: None) -> None:
    # When jobs start whose first act is a request, several at once
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "job", "image": os.environ["APP_IMAGE"], "args": ["-c", FIRST_ACT]}],
    }
    spec = {"completions": 4, "parallelism": 4, "backoffLimit": 0, "template": {"spec": pod}}
    apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "first", "namespace": HOME}, "spec": spec})
    until(
        lambda: (
            json.loads(kubectl("get", "job", "first", "--namespace", HOME, "--output=json"))["status"].keys()
            & {"completionTime", "failed"}
        ),
        90,
    )
    # Then each was answered
    logs = kubectl("logs", "--namespace", HOME, "--selector=job-name=first", "--container=job", "--prefix=false")
    assert logs.split() == ["200"] * 4
    # And each pod has ended, and its sidecar with it
    pods = json.loads(kubectl("get", "pods", "--namespace", HOME, "--selector=job-name=first", "--output=json"))
    assert [it["status"]["phase"] for it in pods["items"]] == ["Succeeded"] * 4
    assert all("terminated" in it["state"] for pod in pods["items"] for it in statuses(pod))


def test_a_pod_that_wants_none_is_not_touched(home: None) -> None:
    pod = Application.unaware("without", HOME, {"weir.dev/inject": "false"}).pod()
    assert "initContainers" not in pod["spec"]
    assert "env" not in pod["spec"]["containers"][0]


def test_without_an_operator_pods_start_and_sidecars_serve(weir: Weir, unaware: Application) -> None:
    namespace("elsewhere")
    # Given no operator, and so nobody behind the webhook
    with weir.without_operator():
        # When pods are made, one where nobody wants sidecars, and one where they are wanted
        elsewhere = Application.unaware("elsewhere", "elsewhere").pod()
        wanted = Application.unaware("late", HOME).pod()
        # Then both start, as they are
        assert all("initContainers" not in it["spec"] for it in (elsewhere, wanted))
        # And what has a sidecar is answered
        assert unaware.ask("near")["status"] == unaware.ask("far")["status"] == 200


def test_a_sidecar_that_cannot_start_does_not_hold_its_pod(unaware: Application) -> None:
    # Given a pod with the sidecar of another, wrongly started
    (sidecar,) = unaware.pod()["spec"]["initContainers"]
    sidecar["args"].append("--no-such-option")
    del sidecar["volumeMounts"]
    container = {"name": "application", "image": os.environ["APP_IMAGE"]}
    metadata = {"name": "patient", "namespace": HOME, "labels": {"weir.dev/inject": "false"}}
    spec = {"initContainers": [sidecar], "containers": [container], "terminationGracePeriodSeconds": 1}
    # When it is created
    apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    # Then its application runs all the same, while the sidecar starts again and again
    def status() -> Object:
        return dict(json.loads(kubectl("get", "pod", "patient", "--namespace", HOME, "--output=json"))["status"])

    until(lambda: [it["ready"] for it in status().get("containerStatuses", ())] == [True], 60)
    until(lambda: statuses({"status": status()})[0]["restartCount"] > 0, 60)
