"""Users of the test API server: the environment variables with which `weir` acts as one of them."""

from __future__ import annotations

from pathlib import Path

import yaml
from apiserver import ApiServer

from support.kube import run

WEIR = "weir.dev"


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
    kubeconfig = yaml.safe_load(server.kubeconfig.read_text())
    token = run(server, "create", "token", "tenant", "-n", namespace).strip()
    kubeconfig["users"][0]["user"] = {"token": token}
    kubeconfig["contexts"][0]["context"]["namespace"] = namespace
    path = folder / f"{namespace}.kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    return {"KUBECONFIG": str(path)}
