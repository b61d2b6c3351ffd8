"""The sidecars' webhook configuration, broken by hand: right again, or named, within ten seconds.

An operator as a process, with exactly the rights of the chart. `docs/internals/three-am.md` has the seconds that these
tests print.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from apiserver import ApiServer

from cli.shell import until
from support.hand import HEALED, Hand, installed, operated, rendered, with_sidecars
from support.helm import Object, only
from support.installation import Installation, Operator
from support.kube import run
from weir_operator.kube.contest import AT_ONCE
from weir_operator.sidecar.census import CENSUS_SECONDS
from weir_operator.sidecar.expected import configuration_name

NAMESPACE = "weir-healing"
WEBHOOK = configuration_name(NAMESPACE, NAMESPACE)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return rendered(NAMESPACE)


@pytest.fixture(scope="module")
def webhook(objects: list[Object]) -> Object:
    return only(objects, "MutatingWebhookConfiguration")


@pytest.fixture(scope="module")
def installation(
    cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory, webhook: Object
) -> Iterator[Installation]:
    it = installed(cluster, NAMESPACE, tmp_path_factory.mktemp("weir"))
    run(cluster, "apply", "-f", "-", input=json.dumps(webhook))
    yield it
    run(cluster, "delete", "mutatingwebhookconfiguration", WEBHOOK, "--ignore-not-found")


@pytest.fixture(scope="module")
def operator(installation: Installation, objects: list[Object]) -> Iterator[Operator]:
    with operated(installation, *with_sidecars(NAMESPACE, objects)) as operator:
        yield operator


@pytest.fixture
def hand(installation: Installation, operator: Operator) -> Hand:
    return Hand(installation, operator)


def bundles(hand: Hand) -> set[str]:
    found = hand.object(f"mutatingwebhookconfiguration/{WEBHOOK}") or {"webhooks": []}
    return {it["clientConfig"].get("caBundle", "") for it in found["webhooks"]}


def test_a_deleted_webhook_configuration_is_named_and_trusted_once_helm_has_put_it_back(
    hand: Hand, webhook: dict[str, Any], installation: Installation
):
    authority = {base64.b64encode(installation.authority().encode()).decode()}
    hand.sees("trusted", lambda: bundles(hand) == authority)
    hand.breaks("delete", "mutatingwebhookconfiguration", WEBHOOK)
    hand.named("new pods get no sidecar: there is no MutatingWebhookConfiguration")
    assert hand.operator.metric("weir_operator_webhook_missing") == 1
    hand.breaks("apply", "-f", "-", input=json.dumps(webhook))
    hand.sees("trusted again", lambda: bundles(hand) == authority)
    hand.is_well()
    assert hand.operator.metric("weir_operator_webhook_missing") == 0


@pytest.mark.parametrize(
    "bundle", ["", base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----").decode()]
)
def test_an_authority_of_the_webhook_that_is_emptied_or_replaced_is_written_back(
    hand: Hand, installation: Installation, bundle: str
):
    authority = {base64.b64encode(installation.authority().encode()).decode()}
    hand.sees("trusted", lambda: bundles(hand) == authority)
    steps = [{"op": "replace", "path": f"/webhooks/{it}/clientConfig/caBundle", "value": bundle} for it in (0, 1)]
    hand.patches(f"mutatingwebhookconfiguration/{WEBHOOK}", steps, "json")
    hand.sees("written back", lambda: bundles(hand) == authority)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"op": "remove", "path": "/webhooks/1"}, "pod.sidecar.weir.dev is gone"),
        ({"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}, "has failurePolicy Fail"),
        ({"op": "replace", "path": "/webhooks/0/clientConfig/service/name", "value": "x"}, "calls Service"),
        ({"op": "replace", "path": "/webhooks/0/clientConfig/service/port", "value": 443}, "calls port 443"),
        ({"op": "add", "path": "/webhooks/0/objectSelector/matchLabels", "value": {"a": "b"}}, "asks for label a"),
        ({"op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["configmaps"]}, "has no rule"),
        ({"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": {}}, "has another namespaceSelector"),
        (
            {
                "op": "add",
                "path": "/webhooks/0/namespaceSelector/matchExpressions/-",
                "value": {"key": "weir.dev/inject", "operator": "DoesNotExist"},
            },
            "has a further condition on weir.dev/inject",
        ),
    ],
)
def test_a_change_of_the_webhook_that_only_helm_mends_is_named(hand: Hand, step: dict[str, Any], said: str):
    hand.is_well()
    before = hand.object(f"mutatingwebhookconfiguration/{WEBHOOK}")
    assert before is not None
    hand.patches(f"mutatingwebhookconfiguration/{WEBHOOK}", [step], "json")
    hand.named(said)
    assert hand.operator.metric("weir_operator_webhook_changed") == 1
    hand.patches(f"mutatingwebhookconfiguration/{WEBHOOK}", {"webhooks": before["webhooks"]})
    hand.is_well()


def test_a_condition_that_a_cloud_adds_is_no_fault(hand: Hand):
    before = hand.object(f"mutatingwebhookconfiguration/{WEBHOOK}")
    assert before is not None
    control_plane = {"key": "control-plane", "operator": "DoesNotExist"}
    steps = [{"op": "add", "path": "/webhooks/0/namespaceSelector/matchExpressions/-", "value": control_plane}]
    hand.patches(f"mutatingwebhookconfiguration/{WEBHOOK}", [*steps, {"op": "remove", "path": "/webhooks/1"}], "json")
    hand.named("was changed: pod.sidecar.weir.dev is gone; delete it, then helm upgrade")
    hand.patches(f"mutatingwebhookconfiguration/{WEBHOOK}", {"webhooks": before["webhooks"]})
    hand.is_well()


def test_pods_that_should_have_a_sidecar_and_have_none_are_named_with_the_command_that_mends_it(
    hand: Hand, namespace: str
):
    """No operator answers at the webhook's Service here, so each pod starts without a sidecar."""
    for name in (namespace, NAMESPACE):
        hand.server.kubectl("-n", name, "create", "serviceaccount", "default")
    run(hand.server, "label", "namespace", namespace, "weir.dev/inject=true")
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9", "uid": "1", "controller": True}
    for name, labels in (("web-5d9-a", {}), ("web-5d9-b", {}), ("out", {"weir.dev/inject": "false"})):
        metadata = {"name": name, "namespace": namespace, "labels": {"pod-template-hash": "5d9", **labels}}
        spec = {"containers": [{"name": "app", "image": "app"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "ownerReferences": [owner]}, "spec": spec}
        hand.breaks("create", "-n", namespace, "-f", "-", input=json.dumps(pod))
    named = f"{namespace} 2 (kubectl rollout restart deployment/web -n {namespace})"
    hand.sees("named", lambda: any(named in it for it in hand.operator.state()["troubles"]), CENSUS_SECONDS + HEALED)
    assert hand.operator.metric(f'weir_operator_pods_without_sidecar{{namespace="{namespace}"}}') == 2
    until(lambda: f"pods of namespace {namespace} have no sidecar" in hand.operator.command.said)
    (event,) = json.loads(run(hand.server, "-n", namespace, "get", "events", "-o", "json"))["items"]
    assert (event["reason"], event["involvedObject"]["name"]) == ("NoSidecar", "web-5d9-a")
    assert "kubectl rollout restart deployment/web" in event["message"]
    run(hand.server, "-n", namespace, "delete", "pods", "--all", "--force")
    run(hand.server, "label", "namespace", namespace, "weir.dev/inject=yes", "--overwrite")
    said = f"{namespace} (yes)"
    hand.sees("misspelt", lambda: any(said in it for it in hand.operator.state()["troubles"]), CENSUS_SECONDS + HEALED)
    assert hand.operator.metric(f'weir_operator_pods_without_sidecar{{namespace="{namespace}"}}') == 0
    run(hand.server, "label", "namespace", namespace, "weir.dev/inject-")


def test_a_tool_that_writes_the_authority_again_and_again_is_named(hand: Hand, installation: Installation):
    authority = {base64.b64encode(installation.authority().encode()).decode()}
    step = {"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}
    for _ in range(AT_ONCE + 1):
        if hand.operator.metric('weir_operator_contested{object="webhook"}') == 1:
            break
        hand.patches(f"mutatingwebhookconfiguration/{WEBHOOK}", [step], "json")
        hand.sees("written back", lambda: bundles(hand) == authority, 2 * HEALED)
    hand.named("another client writes caBundle of MutatingWebhookConfiguration")
    assert hand.operator.metric('weir_operator_contested{object="webhook"}') == 1
