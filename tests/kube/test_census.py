"""Pods that lack a sidecar on a real API server: page by page, a bounded number of namespaces at a time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from apiserver import ApiServer
from kubernetes.client import ApiClient

from support.kube import Requests, client_of, run
from weir_operator.kube import pods as edge
from weir_operator.sidecar import census as module
from weir_operator.sidecar.census import COMMANDS, MAX_NOTE, Census, Found, event, summed
from weir_operator.sidecar.expected import Lacking, Scope


@pytest.fixture
def api(apiserver: ApiServer) -> Iterator[ApiClient]:
    with client_of(apiserver) as api:
        yield api


@pytest.fixture
def names(apiserver: ApiServer, namespace: str) -> list[str]:
    """Three namespaces in which pods can be created."""
    names = [namespace, f"{namespace}-b", f"{namespace}-c"]
    for name in names:
        apiserver.kubectl("create", "namespace", name)
        run(apiserver, "-n", name, "create", "serviceaccount", "web")
    return names


def make(server: ApiServer, namespace: str, *pods: str, labels: Any = None) -> None:
    spec = {"serviceAccountName": "web", "containers": [{"name": "app", "image": "app"}]}
    bodies = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}
        for name in pods
    ]
    run(server, "-n", namespace, "create", "-f", "-", input="\n---\n".join(map(json.dumps, bodies)))


def asking(*names: str) -> dict[str, dict[str, str]]:
    return {name: {"weir.dev/inject": "true"} for name in names}


async def test_every_page_is_read(
    apiserver: ApiServer, api: ApiClient, names: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(edge, "PAGE", 2)
    make(apiserver, names[0], *(f"pod-{number}" for number in range(5)))
    census = Census(api, Scope("weir", (names[0],)), lambda: asking(*names))
    await census.look()
    assert census.counts == {names[0]: 5}
    (trouble,) = census.troubles()
    assert "5. They need a restart" in trouble
    monkeypatch.setattr(edge, "PAGES", 2)
    await census.look()
    assert census.counts == {names[0]: 4}


async def test_many_namespaces_take_turns_and_what_was_seen_stays(
    apiserver: ApiServer, api: ApiClient, names: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "NAMESPACES_A_LOOK", 2)
    for name in names:
        make(apiserver, name, "pod")
    census = Census(api, Scope("weir", tuple(names)), lambda: asking(*names))
    seen = []
    for _ in range(2):
        await census.look()
        seen.append(len(census.counts))
    assert seen == [2, 3]
    run(apiserver, "-n", names[1], "delete", "pod", "pod", "--force")
    for _ in range(2):
        await census.look()
    assert census.counts == {names[0]: 1, names[2]: 1}


@pytest.mark.parametrize("everywhere", [True, False])
async def test_a_pod_that_asks_for_itself_counts_and_is_forgotten_when_it_is_gone(
    apiserver: ApiServer, api: ApiClient, names: list[str], everywhere: bool
):
    make(apiserver, names[0], "asks", labels={"weir.dev/inject": "enabled"})
    make(apiserver, names[0], "silent")
    census = Census(api, Scope("weir", None if everywhere else tuple(names)), dict)
    await census.look()
    assert census.counts.get(names[0]) == 1
    run(apiserver, "-n", names[0], "delete", "pod", "asks", "--force")
    await census.look()
    assert names[0] not in census.counts


async def test_an_idle_cluster_is_asked_one_thing(apiserver: ApiServer, api: ApiClient):
    requests = Requests(api)
    await Census(api, Scope("weir"), lambda: {"default": {}, "weir": {"weir.dev/inject": "true"}}).look()
    (url,) = requests.urls
    assert "labelSelector=weir.dev" in url
    assert "resourceVersion=0" in url


async def test_a_missing_right_is_named_once(apiserver: ApiServer, names: list[str], caplog: pytest.LogCaptureFixture):
    token = run(apiserver, "-n", names[0], "create", "token", "web").strip()
    with client_of(apiserver, token=token) as powerless:
        census = Census(powerless, Scope("weir"), dict)
        for _ in range(2):
            await census.look()
    (trouble,) = census.troubles()
    assert 'add to the operator\'s role: {apiGroups: [""], resources: ["pods"], verbs: ["list"]}' in trouble
    assert len(caplog.records) == 1


def test_the_gauge_and_the_message_are_bounded(api: ApiClient):
    census = Census(api, Scope("weir"), dict)
    census._found = {f"team-{number}": Found(number, ("c",)) for number in range(1, 101)}
    counts = census.counts
    assert (len(counts), counts["team-100"], counts["*"]) == (51, 100, sum(range(1, 51)))
    (trouble,) = itertools.islice(census.troubles(), 1)
    assert trouble.endswith("and 95 more namespaces")
    assert len(trouble) < 400


def test_an_event_is_as_short_as_kubernetes_wants_it():
    long = "kubectl rollout restart deployment/" + 250 * "x"
    found = summed(Lacking("team-a", f"pod-{number}", "o", f"{long}-{number}", "uid") for number in range(9))
    made = event(found["team-a"], 200 * "i", "2026-01-01T00:00:00.000000Z")
    assert (found["team-a"].count, len(found["team-a"].commands)) == (9, COMMANDS)
    assert (len(made["note"]), len(made["reportingInstance"])) == (MAX_NOTE, 128)
