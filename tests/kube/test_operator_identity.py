"""Callers without keys, and sidecars, from end to end: operator, router and sidecar as processes, a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer
from binaries import ensure_tool

from cli.shell import Answer, Running, http, policy, running, tier, until, weir
from support.helm import Helm, only, pods
from support.installation import Installation, Operator, Router, Tenant
from support.kube import run
from weir_cli.sim import SimulatorThread
from weir_operator.sidecar.expected import CONTAINER, configuration_name
from weir_operator.sidecar.inject import AUTHORITIES

NAMESPACE = "weir-identity"
PROMPT = {"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}


@pytest.fixture(scope="module")
def installation(emptied: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose webhook is registered as the chart renders it, at the operator's future port."""
    run(emptied, "create", "namespace", NAMESPACE)
    it = Installation(emptied, NAMESPACE, tmp_path_factory.mktemp("weir"))
    objects = Helm(ensure_tool("helm")).render(namespace=NAMESPACE)
    registered = only(objects, "MutatingWebhookConfiguration")
    for webhook in registered["webhooks"]:
        webhook["clientConfig"] = {"url": f"https://localhost:{it.port}/v1/inject"}
    run(emptied, "apply", "-f", "-", input=json.dumps(registered))
    yield it
    run(emptied, "delete", "mutatingwebhookconfiguration", configuration_name("weir", NAMESPACE))


@pytest.fixture(scope="module")
def sidecar_option() -> str:
    """The operator's option about sidecars, from the chart."""
    objects = Helm(ensure_tool("helm")).render(namespace=NAMESPACE)
    (operator,) = (it for it in pods(objects) if it["serviceAccountName"] == "weir-operator")
    return str(next(it for it in operator["containers"][0]["args"] if it.startswith("--sidecar=")))


@pytest.fixture(scope="module")
def operator(installation: Installation, sidecar_option: str) -> Iterator[Operator]:
    with installation.operator(sidecar_option) as operator:
        yield operator


@pytest.fixture(scope="module")
def router(installation: Installation, operator: Operator) -> Iterator[Router]:
    with installation.router() as router:
        until(lambda: router.ready()["ready"], lambda: router.command.said + operator.command.said)
        yield router


@pytest.fixture
def tenant(cluster: ApiServer, namespace: str) -> Tenant:
    it = Tenant(cluster, namespace)
    run(cluster, "-n", namespace, "create", "serviceaccount", "web")
    return it


def token(tenant: Tenant, audience: str = "weir/weir", account: str = "web") -> str:
    return run(tenant.server, "-n", tenant.namespace, "create", "token", account, f"--audience={audience}").strip()


def ask(url: str, **headers: str) -> Answer:
    return http(f"{url}/v1/chat/completions", PROMPT, **headers)


def test_a_service_account_needs_no_key(tenant: Tenant, router: Router, simulator: SimulatorThread):
    tenant.apply(tier(simulator.url), policy(callers=[{"serviceAccounts": [{"name": "web"}]}]))
    run(tenant.server, "-n", tenant.namespace, "create", "serviceaccount", "other")
    mine = {"authorization": f"Bearer {token(tenant)}"}
    until(lambda: ask(router.url, **mine).status == 200, lambda: ask(router.url, **mine).text)
    assert ask(router.url, authorization=f"Bearer {token(tenant, account='other')}").status == 404
    refused = ask(router.url, authorization=f"Bearer {token(tenant, 'weir-config/weir')}")
    assert (refused.status, "its audience is 'weir-config/weir'" in refused.text) == (401, True)


def created(tenant: Tenant) -> dict[str, Any]:
    """A pod of the tenant with a sidecar's label, as the API server stores it."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-", "namespace": tenant.namespace, "labels": {"weir.dev/inject": "true"}},
        "spec": {"serviceAccountName": "web", "containers": [{"name": "app", "image": "app"}]},
    }
    return json.loads(run(tenant.server, "create", "-f", "-", "-o", "json", input=json.dumps(body)))  # type: ignore[no-any-return]


def sidecar_of(tenant: Tenant) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pod with a sidecar, as soon as the API server trusts the operator, and its sidecar container."""

    def injected() -> tuple[dict[str, Any], dict[str, Any]] | None:
        pod = created(tenant)
        found = [it for it in pod["spec"].get("initContainers", ()) if it["name"] == CONTAINER]
        return (pod, found[0]) if found else None

    it: tuple[dict[str, Any], dict[str, Any]] = until(injected)
    return it


def test_the_leader_makes_the_api_server_trust_the_webhook(
    tenant: Tenant, operator: Operator, installation: Installation
):
    pod, container = sidecar_of(tenant)
    assert pod["metadata"]["annotations"][AUTHORITIES] == installation.authority()
    assert f"--gateway=http://weir.{NAMESPACE}:80" in container["args"]
    assert f"--config-server=https://weir-operator.{NAMESPACE}.svc:8443" in container["args"]
    assert operator.state()["ready"]


def start(tenant: Tenant, pod: dict[str, Any], container: dict[str, Any], folder: Path, **urls: str) -> Any:
    """Starts the sidecar as a kubelet would, except for the addresses of Services, which need nodes."""
    (folder / "token").write_text(token(tenant))
    (folder / "config-token").write_text(token(tenant, "weir-config/weir"))
    (folder / "ca.crt").write_text(pod["metadata"]["annotations"][AUTHORITIES])
    options = dict(it.removeprefix("--").split("=", 1) for it in container["args"][1:])
    options |= {"caller": f"{tenant.namespace}/web", "port": "0", "admin": "127.0.0.1:0"}
    options |= {"files": str(folder), "keep": str(folder)} | urls
    return running("sidecar", *(f"--{name}={value}" for name, value in options.items()))


def url_of(command: Running) -> str:
    return command.wait_for(r"callers on (http://\S+\d),")[1]


def test_an_injected_sidecar_relays_as_its_pod_s_service_account(
    tenant: Tenant, router: Router, installation: Installation, simulator: SimulatorThread, tmp_path: Path
):
    tenant.apply(tier(simulator.url), policy())
    server = f"https://localhost:{installation.port}"
    with start(tenant, *sidecar_of(tenant), tmp_path, **{"gateway": router.url, "config-server": server}) as command:
        url = url_of(command)
        until(lambda: ask(url, authorization="Bearer placeholder").status == 200, lambda: ask(url).text)
        until(lambda: http(f"{url}/v1/models").status == 200)
        # The tier is of the pod's namespace, so with a config of its own the sidecar asks the model itself.
        until(lambda: (tmp_path / "config.json").exists() and "gateway" not in last_line(command, url))


def last_line(command: Running, url: str) -> str:
    """The sidecar's log line about one more request."""
    count = len(command.stdout)
    assert ask(url).status == 200
    until(lambda: len(command.stdout) > count)
    return command.stdout[-1]


@pytest.mark.parametrize("value", ["{", '{"image": "x"}', '{"image": "x", "unknown": 1}'])
def test_what_is_no_setting_of_sidecars_is_said(value: str):
    done = weir("operator", "--namespace", "x", f"--sidecar={value}", env={"KUBECONFIG": "/dev/null"})
    assert (done.returncode, "--sidecar cannot be read" in done.stderr) == (2, True)
