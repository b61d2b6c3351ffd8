"""The pods that should have a sidecar and have none, and the command that mends each."""

from __future__ import annotations

from typing import Any

import pytest

from unit.inject.test_inject import CA, SETTINGS, patched
from weir_operator.sidecar.expected import CONTAINER, NO, SYSTEM, YES, Scope, lacking, misspelt
from weir_operator.sidecar.inject import inject

SCOPE = Scope("weir-system")
ASKING = {"metadata": {"name": "team-a", "labels": {"weir.dev/inject": "true"}}}
SILENT = {"metadata": {"name": "team-a"}}


def pod(labels: Any = None, *, owner: Any = None, status: Any = None, metadata: Any = None, **spec: Any) -> Any:
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else None
    metadata = {"name": "web-1", "labels": labels, "ownerReferences": owners, **(metadata or {})}
    return {"metadata": metadata, "spec": {"containers": [{"name": "app"}], **spec}, "status": status}


@pytest.mark.parametrize("value", YES)
def test_a_pod_of_a_namespace_that_asks_for_sidecars_lacks_one(value: str):
    namespace = {"metadata": {"name": "team-a", "labels": {"weir.dev/inject": value}}}
    assert str(lacking(pod(), namespace, SCOPE)) == "team-a/web-1"


@pytest.mark.parametrize("value", YES)
def test_a_pod_that_asks_for_itself_lacks_one(value: str):
    assert lacking(pod({"weir.dev/inject": value}), SILENT, SCOPE)


def test_a_pod_that_has_got_one_lacks_none():
    injected = patched(pod(), inject(pod(), SETTINGS, CA))
    assert lacking(injected, ASKING, SCOPE) is None
    assert lacking(pod(initContainers=[{"name": CONTAINER}]), ASKING, SCOPE) is None


@pytest.mark.parametrize(
    "other",
    [
        *(pod({"weir.dev/inject": it}) for it in NO),
        *(pod(metadata={"annotations": {"weir.dev/inject": it}}) for it in NO),
        pod(status={"phase": "Succeeded"}),
        pod(status={"phase": "Failed"}),
        pod(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        pod(metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}),
        pod(hostNetwork=True),
        pod(os={"name": "windows"}),
    ],
)
def test_a_pod_that_should_or_can_have_none_lacks_none(other: Any):
    assert lacking(other, ASKING, SCOPE) is None


@pytest.mark.parametrize("name", [*SYSTEM, "weir-system"])
def test_a_namespace_that_is_never_asked_about_has_no_such_pod(name: str):
    namespace = {"metadata": {"name": name, "labels": {"weir.dev/inject": "true"}}}
    assert lacking(pod(), namespace, SCOPE) is None


@pytest.mark.parametrize(("served", "found"), [(None, True), (("team-a",), True), (("team-b",), False)])
def test_only_namespaces_of_the_installation_count(served: Any, found: bool):
    assert bool(lacking(pod(), ASKING, Scope("weir-system", served))) == found


def test_a_pod_that_no_label_asks_for_lacks_none():
    assert lacking(pod(), SILENT, SCOPE) is None
    assert lacking(pod({"weir.dev/inject": "yes"}), SILENT, SCOPE) is None


@pytest.mark.parametrize(
    ("labels", "owner", "command"),
    [
        ({"pod-template-hash": "5d9"}, ("ReplicaSet", "web-5d9"), "kubectl rollout restart deployment/web -n team-a"),
        ({}, ("StatefulSet", "web"), "kubectl rollout restart statefulset/web -n team-a"),
        ({}, ("DaemonSet", "web"), "kubectl rollout restart daemonset/web -n team-a"),
        (
            {"rollouts-pod-template-hash": "5d9"},
            ("ReplicaSet", "web-5d9"),
            "kubectl argo rollouts restart web -n team-a",
        ),
        ({}, ("ReplicaSet", "web"), "kubectl delete pod/web-1 -n team-a"),
        ({}, ("Job", "web"), "kubectl delete pod/web-1 -n team-a"),
        ({}, None, "kubectl replace --force -f FILE-OF-POD-web-1 -n team-a"),
    ],
)
def test_the_command_makes_the_pods_of_its_owner_anew(labels: dict[str, str], owner: Any, command: str):
    found = lacking(pod(labels, owner=owner), ASKING, SCOPE)
    assert found is not None
    assert found.command == command


@pytest.mark.parametrize(("value", "found"), [("true", None), ("false", None), ("disabled", None), ("yes", "yes")])
def test_a_namespace_s_label_that_means_nothing_is_known(value: str, found: str | None):
    assert misspelt({"metadata": {"name": "a", "labels": {"weir.dev/inject": value}}}) == found
    assert misspelt(SILENT) is None
