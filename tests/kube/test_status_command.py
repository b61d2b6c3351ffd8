"""`weir status` through a real API server, which connects to the routers and checks the user's rights."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from apiserver import ApiServer

from cli.shell import weir
from support.kube import apply, run
from support.people import tenant
from support.stand import config_for
from weir_router.app import Router
from weir_router.contract import Secrets

POLICY = """
apiVersion: weir.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: auto, namespace: %s}
spec: {models: [{name: auto-%s}], routes: [{name: all, tiers: [{name: budget}]}]}
"""


def address() -> str:
    """An outside address of this machine, since the API server does not connect to loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])


@pytest.fixture
async def routers(apiserver: ApiServer, namespace: str) -> AsyncIterator[str]:
    """Two routers that appear to the API server as pods of an installation."""
    host = address()
    run(apiserver, "-n", namespace, "create", "serviceaccount", "router")
    async with (
        Router(port=0, admin_host=host, admin_port=0) as one,
        Router(port=0, admin_host=host, admin_port=0) as two,
    ):
        for name, router in (("gw-0", one), ("gw-1", two)):
            router.store.apply(config_for([]), Secrets())
            await asyncio.to_thread(pod, apiserver, namespace, name, host, int(router.admin_url.rpartition(":")[2]))
        yield namespace


def pod(server: ApiServer, namespace: str, name: str, host: str, port: int) -> None:
    labels = {"name": "weir", "instance": "weir", "component": "gateway"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {f"app.kubernetes.io/{key}": value for key, value in labels.items()},
        },
        "spec": {
            "serviceAccountName": "router",
            "containers": [{"name": "r", "image": "r", "ports": [{"name": "metrics", "containerPort": port}]}],
        },
    }
    run(server, "create", "-f", "-", input=json.dumps(body))
    status = {"status": {"phase": "Running", "podIP": host, "podIPs": [{"ip": host}]}}
    run(server, "-n", namespace, "patch", "pod", name, "--subresource=status", "-p", json.dumps(status))


async def test_it_asks_every_router_of_the_installation(apiserver: ApiServer, routers: str):
    options = ("status", "--system-namespace", routers, "-o", "json")
    done = await asyncio.to_thread(weir, *options, env={"KUBECONFIG": str(apiserver.kubeconfig)})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["routers"], found["revisions"]) == (2, [1])


@pytest.mark.parametrize("url", [False, True])
async def test_a_router_with_a_token_shows_its_pages_to_those_who_send_it(
    apiserver: ApiServer, namespace: str, tmp_path: Path, url: bool
):
    token, host = tmp_path / "token", address()
    token.write_text("weir-admin-0123456789\n")
    async with Router(port=0, admin_host=host, admin_port=0, admin_token_file=token) as router:
        router.store.apply(config_for([]), Secrets())
        run(apiserver, "-n", namespace, "create", "serviceaccount", "router")
        port = int(router.admin_url.rpartition(":")[2])
        await asyncio.to_thread(pod, apiserver, namespace, "gw", host, port)
        where = ("--url", router.admin_url) if url else ("--system-namespace", namespace)
        env = {"KUBECONFIG": str(apiserver.kubeconfig)}
        shown = await asyncio.to_thread(weir, "status", *where, "--admin-token-file", token, env=env)
        assert (shown.returncode, "1 router, revision 1" in shown.stdout) == (0, True), shown.stderr
        (tmp_path / "other").write_text("weir-admin-9876543210")
        for options in ((), ("--admin-token-file", tmp_path / "other")):
            refused = await asyncio.to_thread(weir, "status", *where, *options, env=env)
            assert (refused.returncode, "send its token: --admin-token-file" in refused.stderr) == (2, True)
            assert "weir-admin" not in refused.stderr


@pytest.mark.parametrize("content", ["", "two words", None])
def test_a_file_without_a_token_is_said(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "token").write_text(content)
    done = weir("status", "--url", "http://127.0.0.1:9", "--admin-token-file", tmp_path / "token")
    assert (done.returncode, f"--admin-token-file {tmp_path / 'token'}" in done.stderr) == (2, True)
    assert "two words" not in done.stderr


def test_whoever_may_not_look_is_told_which_right_is_missing(apiserver: ApiServer, routers: str, tmp_path: Path):
    token = run(apiserver, "-n", routers, "create", "token", "router").strip()
    kubeconfig = yaml.safe_load(apiserver.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    done = weir("status", "--system-namespace", routers, env={"KUBECONFIG": str(tmp_path / "kubeconfig")})
    assert done.returncode == 2
    for right in (f"list pods in namespace {routers}", "list modeltiers.weir.dev in namespace default"):
        assert right in done.stderr
    assert token not in done.stderr


def test_an_installation_that_is_not_there_is_said(apiserver: ApiServer, routers: str):
    options = ("--system-namespace", routers, "--installation", "other")
    done = weir("status", *options, env={"KUBECONFIG": str(apiserver.kubeconfig)})
    assert (done.returncode, "no running router of installation other" in done.stderr) == (2, True)


def test_a_tenant_gets_what_the_statuses_of_their_own_objects_say(cluster: ApiServer, routers: str, tmp_path: Path):
    team = f"{routers}-team"
    run(cluster, "create", "namespace", team)
    apply(cluster, POLICY % (team, team))
    ready = {"type": "Ready", "status": "False", "reason": "NoUsableRoutes", "message": "no route can be used"}
    status = {"status": {"conditions": [{**ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
    run(cluster, "-n", team, "patch", "rp", "auto", *patch)
    done = weir("status", "--system-namespace", routers, "-o", "json", env=tenant(cluster, team, tmp_path))
    assert (done.returncode, "you may not see the figures of all tenants" in done.stderr) == (1, True), done.stderr
    (it,) = json.loads(done.stdout)["objects"]
    assert (it["object"], it["ready"], it["reason"]) == (f"RoutingPolicy {team}/auto", "False", "NoUsableRoutes")
