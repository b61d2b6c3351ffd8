"""Objects of an installation that a hand breaks: each is right again, or named, within ten seconds.

One operator and one router as processes, with exactly the rights of the chart. `docs/internals/three-am.md` has the
seconds that these tests print.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from apiserver import ApiServer
from binaries import ensure_tool

from cli.shell import policy, tier, until
from support.helm import Helm, only, pods
from support.installation import Installation, Operator, Router, Tenant
from support.kube import run
from weir_operator.kube.webhooks import configuration_name

NAMESPACE = "weir-healing"
HEALED = 10.0
"""Seconds within which a broken object is right again, or named."""

WEBHOOK = configuration_name(NAMESPACE, NAMESPACE)
CREDENTIAL = "sk-of-the-test"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return Helm(ensure_tool("helm")).render(release=NAMESPACE, namespace=NAMESPACE)


@pytest.fixture(scope="module")
def webhook(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return only(objects, "MutatingWebhookConfiguration")


@pytest.fixture(scope="module")
def installation(
    cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory, webhook: dict[str, Any]
) -> Iterator[Installation]:
    run(cluster, "create", "namespace", NAMESPACE)
    it = Installation(cluster, NAMESPACE, tmp_path_factory.mktemp("weir"), release=NAMESPACE)
    run(cluster, "apply", "-f", "-", input=json.dumps(webhook))
    small = tier("http://127.0.0.1:9")
    small["spec"]["className"] = NAMESPACE
    reference = {"type": "APIKey", "secretRef": {"name": "openai", "key": "k"}}
    small["spec"]["backends"][0]["credentials"] = reference
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"k": CREDENTIAL}}
    secret["metadata"] = {"name": "openai", "labels": {"weir.dev/credential": "true"}}
    hashed = base64.b64encode(b"0" * 64).decode()
    key = {"apiVersion": "v1", "kind": "Secret", "data": {"sha256": hashed}}
    key["metadata"] = {"name": "caller", "labels": {"weir.dev/api-key": "true"}}
    Tenant(cluster, NAMESPACE).apply(secret, key, small, policy("kept", model="kept", className=NAMESPACE))
    yield it
    run(cluster, "delete", "mutatingwebhookconfiguration", WEBHOOK, "--ignore-not-found")


@pytest.fixture(scope="module")
def operator(installation: Installation, objects: list[dict[str, Any]]) -> Iterator[Operator]:
    (spec,) = (it for it in pods(objects) if it["serviceAccountName"] == f"{NAMESPACE}-operator")
    options = [it for it in spec["containers"][0]["args"] if it.startswith(("--sidecar=", "--service-name="))]
    options += ["--class", NAMESPACE]
    with installation.operator(*options) as operator:
        operator.until(leads=True, ready=True)
        Tenant(installation.server, NAMESPACE).condition("routingpolicy/kept", "Accepted", "True")
        yield operator


@pytest.fixture(scope="module")
def router(installation: Installation, operator: Operator) -> Iterator[Router]:
    with installation.router() as router:
        until(lambda: router.ready()["ready"], lambda: router.command.said + operator.command.said)
        yield router


class Hand:
    """A person with kubectl, and a watch."""

    def __init__(self, server: ApiServer, operator: Operator) -> None:
        self.server = server
        self.operator = operator
        self._begun = time.monotonic()

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        return run(self.server, "-n", NAMESPACE, *arguments, input=input)

    def breaks(self, *arguments: str, input: str | None = None) -> None:
        self.kubectl(*arguments, input=input)
        self._begun = time.monotonic()

    def patches(self, resource: str, patch: Any, kind: str = "merge") -> None:
        self.breaks("patch", resource, f"--type={kind}", "-p", json.dumps(patch))

    def object(self, resource: str) -> dict[str, Any] | None:
        done = self.server.kubectl("-n", NAMESPACE, "get", resource, "-o", "json")
        return json.loads(done.stdout) if done.returncode == 0 else None  # type: ignore[no-any-return]

    def files(self, resource: str) -> Any:
        """The content and labels of a ConfigMap or Secret, as far as they matter."""
        found = self.object(resource)
        if found is None:
            return None
        data = {**found.get("data", {}), **found.get("binaryData", {})}
        return data, found["metadata"].get("labels"), found.get("immutable", False)

    def sees(self, what: str, condition: Callable[[], Any], within: float = HEALED) -> Any:
        """Waits for `condition`, and prints after how many seconds it held."""
        found = until(
            condition,
            lambda: f"{what}: not within {within} s: {self.operator.state()}\n{self.operator.command.said}",
            patience=within,
        )
        print(f"\n    {what}: {time.monotonic() - self._begun:.1f} s")
        return found

    def named(self, text: str) -> None:
        """Waits until `/readyz` names the fault."""
        self.sees(f"named {text!r}", lambda: any(text in it for it in self.operator.state()["troubles"]))
        assert text in self.operator.command.said

    def is_well(self) -> None:
        self.sees("nothing is wrong", lambda: not self.operator.state()["troubles"])


@pytest.fixture
def hand(installation: Installation, operator: Operator, router: Router) -> Hand:
    return Hand(installation.server, operator)


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
    hand.named("was changed: pod.sidecar.weir.dev is gone; helm upgrade")
    hand.patches(f"mutatingwebhookconfiguration/{WEBHOOK}", {"webhooks": before["webhooks"]})
    hand.is_well()
