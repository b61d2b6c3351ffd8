"""The sidecar's webhook as the chart renders it, called by a real API server over TLS."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import ApiServer
from binaries import ensure_tool
from kubernetes.client import ApiClient

from support.config_server import GATEWAY, KnownTokens
from support.helm import Helm, only
from support.kube import client_of, run
from support.servers import certificates, server_context
from weir_operator.distribute.server import ConfigServer, listen
from weir_operator.kube.webhooks import Configuration, WebhookNotTrusted, trust_authorities
from weir_operator.sidecar.admission import INJECT_PATH, Admission
from weir_operator.sidecar.expected import CONTAINER, NO, SYSTEM, YES, Scope, configuration_name, lacking
from weir_operator.sidecar.inject import Settings
from weir_operator.sidecar.webhook import WEBHOOK_CHECK_SECONDS, WebhookTrust

NAME = configuration_name("weir", "llm")
SETTINGS = Settings(
    image="weir:1",
    gateway="http://weir-gateway.llm",
    config_server="https://weir-operator.llm.svc:8443",
    installation="weir",
)


class Webhook:
    """The served webhook, in an event loop of its own, since kubectl blocks ours."""

    def __init__(self, folder: Path) -> None:
        self.ca = (folder / "ca.pem").read_text()
        self.authorities: str | None = self.ca
        self._tls = server_context(folder)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Webhook:
        self._thread.start()
        self._runner = self._do(self._listen())
        self.url = f"https://localhost:{self._runner.addresses[0][1]}{INJECT_PATH}"
        return self

    async def _listen(self) -> Any:
        server = ConfigServer(KnownTokens(), GATEWAY)
        Admission(SETTINGS, lambda: self.authorities).serve(server.app)
        return await listen(server, "127.0.0.1", 0, self._tls)

    def _do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(20)

    def __exit__(self, *_: object) -> None:
        self._do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def configuration(*args: str) -> dict[str, Any]:
    """The webhook's configuration, as the chart renders it."""
    return only(Helm(ensure_tool("helm")).render(*args), "MutatingWebhookConfiguration")


@pytest.fixture(scope="module")
def webhook(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """The registered webhook; the operator's own code writes its authority."""
    with Webhook(certificates(tmp_path_factory.mktemp("webhook"))) as served, client_of(apiserver) as api:
        registered = configuration()
        for it in registered["webhooks"]:
            it["clientConfig"] = {"url": served.url}  # there is no Service without nodes
        run(apiserver, "apply", "-f", "-", input=json.dumps(registered))
        assert trust_authorities(api, NAME, served.ca).written
        yield served
        run(apiserver, "delete", "mutatingwebhookconfiguration", NAME)


@pytest.fixture
def api(apiserver: ApiServer) -> Iterator[ApiClient]:
    with client_of(apiserver) as api:
        yield api


@pytest.fixture
def home(apiserver: ApiServer, namespace: str) -> str:
    """A namespace in which pods can be created."""
    run(apiserver, "-n", namespace, "create", "serviceaccount", "web")
    return namespace


def wants(server: ApiServer, namespace: str) -> None:
    run(server, "label", "namespace", namespace, "weir.dev/inject=true")


def made(server: ApiServer, namespace: str, *, labels: Any = None, **spec: Any) -> dict[str, Any]:
    """A created pod, as the API server stores it."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "pod-", "namespace": namespace, "labels": labels or {}},
        "spec": {"serviceAccountName": "web", "containers": [{"name": "app", "image": "app"}], **spec},
    }
    return json.loads(run(server, "create", "-f", "-", "-o", "json", input=json.dumps(body)))  # type: ignore[no-any-return]


def has_sidecar(pod: dict[str, Any]) -> bool:
    return CONTAINER in [it["name"] for it in pod["spec"].get("initContainers", ())]


def until_asked(server: ApiServer, namespace: str) -> None:
    """Waits until the API server uses the configuration, which takes it a moment."""
    for _ in range(100):
        if has_sidecar(made(server, namespace, labels={"weir.dev/inject": "true"})):
            return
    pytest.fail("the API server does not ask the webhook")


@pytest.fixture
def server(apiserver: ApiServer, webhook: Webhook, home: str) -> ApiServer:
    until_asked(apiserver, home)
    return apiserver


def test_a_pod_of_a_labelled_namespace_gets_a_sidecar_that_the_api_server_accepts(server: ApiServer, home: str):
    wants(server, home)
    pod = made(server, home)
    (it,) = (it for it in pod["spec"]["initContainers"] if it["name"] == CONTAINER)
    assert it["restartPolicy"] == "Always"
    env = {it["name"]: it["value"] for it in pod["spec"]["containers"][0]["env"]}
    assert env["OPENAI_BASE_URL"] == "http://127.0.0.1:18080/v1"
    tokens = [source for volume in pod["spec"]["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    audiences = {it["serviceAccountToken"].get("audience") for it in tokens if "serviceAccountToken" in it}
    assert audiences >= {"weir/weir", "weir-config/weir"}


def test_a_namespace_that_enforces_the_restricted_standard_takes_it(server: ApiServer, home: str):
    wants(server, home)
    run(server, "label", "namespace", home, "pod-security.kubernetes.io/enforce=restricted")
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsNonRoot": True,
    }
    assert has_sidecar(made(server, home, containers=[{"name": "app", "image": "app", "securityContext": restricted}]))


def test_a_namespace_whose_quota_demands_limits_takes_it(server: ApiServer, home: str):
    wants(server, home)
    run(server, "-n", home, "create", "quota", "all", "--hard=limits.cpu=9,limits.memory=9Gi,requests.cpu=9")
    limits = {"limits": {"cpu": "1", "memory": "64Mi"}}
    assert has_sidecar(made(server, home, containers=[{"name": "app", "image": "app", "resources": limits}]))


def test_a_labelled_pod_of_any_namespace_gets_one(server: ApiServer, home: str):
    assert has_sidecar(made(server, home, labels={"weir.dev/inject": "true"}))


def test_a_pod_that_nobody_labelled_gets_none(server: ApiServer, home: str):
    assert not has_sidecar(made(server, home))


def test_a_pod_of_a_labelled_namespace_may_do_without(server: ApiServer, home: str):
    wants(server, home)
    assert not has_sidecar(made(server, home, labels={"weir.dev/inject": "false"}))


def test_a_system_namespace_is_never_touched(server: ApiServer):
    run(server, "-n", "kube-system", "create", "serviceaccount", "web")
    assert not has_sidecar(made(server, "kube-system", labels={"weir.dev/inject": "true"}))


def test_a_pod_can_be_changed_and_dry_run_afterwards(server: ApiServer, home: str):
    pod = made(server, home, labels={"weir.dev/inject": "true"})
    run(server, "-n", home, "label", "pod", pod["metadata"]["name"], "later=yes")
    run(server, "-n", home, "annotate", "pod", pod["metadata"]["name"], "later=yes")


def test_whoever_makes_a_pod_hears_why_it_gets_none(server: ApiServer, home: str):
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "host", "namespace": home, "labels": {"weir.dev/inject": "true"}},
        "spec": {"serviceAccountName": "web", "hostNetwork": True, "containers": [{"name": "app", "image": "app"}]},
    }
    done = server.kubectl("create", "-f", "-", input=json.dumps(body))
    assert done.returncode == 0
    assert "Warning: Weir's sidecar was not added: with hostNetwork" in done.stderr


def test_without_a_certificate_pods_start_without(server: ApiServer, webhook: Webhook, home: str):
    webhook.authorities = None
    try:
        assert not has_sidecar(made(server, home, labels={"weir.dev/inject": "true"}))
    finally:
        webhook.authorities = webhook.ca


def test_an_authority_that_is_there_is_not_written_again(server: ApiServer, webhook: Webhook, api: ApiClient):
    assert not trust_authorities(api, NAME, webhook.ca).written


def test_without_the_right_authority_or_webhook_pods_start_all_the_same(
    server: ApiServer, webhook: Webhook, api: ApiClient, home: str, tmp_path: Path
):
    (tmp_path / "other").mkdir()
    other = (certificates(tmp_path / "other") / "ca.pem").read_text()
    assert trust_authorities(api, NAME, other).written
    try:
        made(server, home, labels={"weir.dev/inject": "true"})
    finally:
        trust_authorities(api, NAME, webhook.ca)
    stored = json.loads(run(server, "get", "mutatingwebhookconfiguration", NAME, "-o", "json"))
    bundles = {base64.b64decode(it["clientConfig"]["caBundle"]).decode() for it in stored["webhooks"]}
    assert bundles == {webhook.ca}


def test_a_missing_configuration_is_none_and_a_missing_right_is_named(apiserver: ApiServer, api: ApiClient, home: str):
    assert trust_authorities(api, configuration_name("weir", "other"), "ca") == Configuration(None)
    token = run(apiserver, "-n", home, "create", "token", "web").strip()
    with client_of(apiserver, token=token) as powerless, pytest.raises(WebhookNotTrusted, match="needs get and patch"):
        trust_authorities(powerless, NAME, "ca")


async def test_the_operator_keeps_the_authority_there_and_says_what_keeps_it_from_that(
    apiserver: ApiServer, webhook: Webhook, api: ApiClient, home: str
):
    slept: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        slept.put_nowait(seconds)
        await asyncio.sleep(0)

    trust_authorities(api, NAME, webhook.ca + webhook.ca)  # somebody else's hand
    trust = WebhookTrust(api, NAME, lambda: webhook.authorities, sleep=sleep)
    running = asyncio.create_task(trust.run())
    assert await slept.get() == WEBHOOK_CHECK_SECONDS
    running.cancel()
    assert not (await asyncio.to_thread(trust_authorities, api, NAME, webhook.ca)).written
    assert not await WebhookTrust(api, NAME, lambda: None).look()
    token = (await asyncio.to_thread(run, apiserver, "-n", home, "create", "token", "web")).strip()
    with client_of(apiserver, token=token) as powerless:
        trust = WebhookTrust(powerless, NAME, lambda: webhook.ca)
        assert not await trust.look()
    assert "403 Forbidden; the operator needs get and patch on it" in (trust.trouble or "")


def test_the_chart_s_webhooks_can_block_nothing_and_leave_our_own_namespace_alone():
    for it in configuration()["webhooks"]:
        assert (it["failurePolicy"], it["sideEffects"], it["reinvocationPolicy"]) == ("Ignore", "None", "IfNeeded")
        assert it["timeoutSeconds"] <= 5
        (rule,) = it["rules"]
        assert (rule["resources"], rule["operations"]) == (["pods"], ["CREATE"])
        names = it["namespaceSelector"]["matchExpressions"][0]
        assert (names["operator"], {"llm", "kube-system"} <= {*names["values"]}) == ("NotIn", True)


def test_no_pod_is_asked_about_twice():
    by_namespace, by_pod = (it["namespaceSelector"]["matchExpressions"][-1] for it in configuration()["webhooks"])
    assert (by_namespace["operator"], by_pod["operator"]) == ("In", "NotIn")
    assert by_namespace["key"] == by_pod["key"] == "weir.dev/inject"


def test_the_chart_and_the_operator_read_the_label_alike():
    by_namespace, by_pod = configuration()["webhooks"]
    selected = [it["namespaceSelector"]["matchExpressions"][-1]["values"] for it in (by_namespace, by_pod)]
    (refused,) = by_namespace["objectSelector"]["matchExpressions"]
    (asked,) = by_pod["objectSelector"]["matchExpressions"]
    assert [*selected, asked["values"]] == [[*YES]] * 3
    assert (refused["operator"], refused["values"]) == ("NotIn", [*NO])
    own = by_namespace["namespaceSelector"]["matchExpressions"][0]["values"]
    assert own == ["llm", *SYSTEM]


@pytest.mark.parametrize("value", YES)
def test_a_namespace_may_spell_it_otherwise(server: ApiServer, home: str, value: str):
    run(server, "label", "namespace", home, f"weir.dev/inject={value}")
    pod = made(server, home)
    assert has_sidecar(pod)
    assert not has_sidecar(made(server, home, labels={"weir.dev/inject": NO[1]}))
    namespace = json.loads(run(server, "get", "namespace", home, "-o", "json"))
    assert lacking(pod, namespace, Scope("llm")) is None
    run(server, "label", "namespace", home, "weir.dev/inject=yes", "--overwrite")
    assert not has_sidecar(made(server, home))


def test_an_empty_base_url_is_replaced_by_a_patch_that_the_api_server_applies(server: ApiServer, home: str):
    wants(server, home)
    given = [{"name": "A", "value": "1"}, {"name": "OPENAI_BASE_URL", "value": ""}]
    pod = made(server, home, containers=[{"name": "app", "image": "app", "env": given}])
    env = [(it["name"], it.get("value")) for it in pod["spec"]["containers"][0]["env"]]
    assert env[:2] == [("A", "1"), ("OPENAI_BASE_URL", "http://127.0.0.1:18080/v1")]


def test_an_installation_for_some_namespaces_asks_about_these_only(tmp_path: Path):
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"namespaces": ["team-a"]}))
    for it in configuration("--values", str(values))["webhooks"]:
        wanted = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["team-a"]}
        assert wanted in it["namespaceSelector"]["matchExpressions"]
