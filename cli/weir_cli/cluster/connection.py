"""The connection of a command to the cluster that the kubeconfig names.

The Kubernetes client is imported on first use: it takes half a second to load and may not be installed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes import client


API_SECONDS = 10.0
"""Seconds for one request to the API server."""


NEEDS_CLIENT = "asking a cluster needs the Kubernetes client: pip install 'weir-router[operator]'"
"""The message where the Kubernetes client is not installed."""


class NoPages(Exception):
    """No router can be asked; the message says why, and what to do."""


def is_configured(environ: Mapping[str, str]) -> bool:
    """Whether this machine has a kubeconfig, or is a pod."""
    named = [it for it in environ.get("KUBECONFIG", "").split(os.pathsep) if it]
    paths = [Path(it) for it in named] or [Path.home() / ".kube" / "config"]
    return "KUBERNETES_SERVICE_HOST" in environ or any(map(os.path.exists, paths))


def connect(namespace: str | None, context: str | None) -> tuple[client.ApiClient, str]:
    """A client by the kubeconfig, and the namespace that is meant. Raises `NoPages`."""
    from kubernetes import config

    load: Any = config  # it has no types
    try:
        api_client = load.new_client_from_config(context=context)
        contexts, current = load.list_kube_config_contexts()
    except (config.ConfigException, OSError) as error:
        why = str(error).rstrip(".")
        raise NoPages(f"there is no cluster: {why}. For a router without one: --url http://127.0.0.1:9090") from None
    chosen = next((it for it in contexts if it["name"] == context), current)
    return api_client, namespace or chosen["context"].get("namespace") or "default"
