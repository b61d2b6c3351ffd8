"""Users of the test API server: the environment variables with which `weir` acts as one of them."""

from __future__ import annotations

from pathlib import Path

import yaml
from apiserver import ApiServer
from binaries import ensure_tool

from support.helm import Helm
from support.kube import run

WEIR = "weir.dev"
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


def administrator(server: ApiServer) -> dict[str, str]:
    """The environment of a user with all rights."""
    return {"KUBECONFIG": str(server.kubeconfig)}


def tenant(server: ApiServer, namespace: str, folder: Path, *, may: str = "get,list,patch") -> dict[str, str]:
    """The environment of a user with the verbs `may` for both kinds in one namespace, and no other rights."""
    run(server, "create", "serviceaccount", "tenant", "-n", namespace)
    resources = f"--resource=modeltiers.{WEIR},routingpolicies.{WEIR}"
    run(server, "create", "role", "tenant", f"--verb={may}", resources, "-n", namespace)
    account = f"--serviceaccount={namespace}:tenant"
    run(server, "create", "rolebinding", "tenant", "--role=tenant", account, "-n", namespace)
    return _as_account(server, namespace, "tenant", folder)


def editor(server: ApiServer, namespace: str, folder: Path) -> dict[str, str]:
    """The environment of a user with the ClusterRole `edit` in one namespace.

    No controller fills in that role here, so the user has each role that the chart and Kubernetes aggregate to it.
    """
    roles = [it for it in Helm(ensure_tool("helm")).render() if it["kind"] == "ClusterRole"]
    aggregated = [it for it in roles if it["metadata"]["labels"].get(f"{AGGREGATE}edit") == "true"]
    run(server, "apply", "-f", "-", input=yaml.safe_dump_all(aggregated))
    run(server, "create", "serviceaccount", "editor", "-n", namespace)
    names = ["system:aggregate-to-edit", "system:aggregate-to-view", *(it["metadata"]["name"] for it in aggregated)]
    for number, name in enumerate(names):
        account = f"--serviceaccount={namespace}:editor"
        run(server, "create", "rolebinding", f"edit-{number}", f"--clusterrole={name}", account, "-n", namespace)
    return _as_account(server, namespace, "editor", folder)


def _as_account(server: ApiServer, namespace: str, account: str, folder: Path) -> dict[str, str]:
    kubeconfig = yaml.safe_load(server.kubeconfig.read_text())
    token = run(server, "create", "token", account, "-n", namespace).strip()
    kubeconfig["users"][0]["user"] = {"token": token}
    kubeconfig["contexts"][0]["context"]["namespace"] = namespace
    path = folder / f"{namespace}.kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    return {"KUBECONFIG": str(path)}
