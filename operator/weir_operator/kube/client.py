"""How the operator reaches the API server. Called once, at the start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from weir_router.contract import HostPolicy

__all__ = ["ApiClient", "NoCluster", "connect", "host_policy", "own_namespace"]

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""File in which the kubelet puts the namespace of a pod."""

API_SERVER = "the Kubernetes API server"

CONNECTIONS = 32
"""Connections kept open: a watch each for about ten kinds, and requests under way. More may open, but are not kept."""


class NoCluster(Exception):
    """There is nothing that says where the API server is; the message says what was looked for."""


def connect() -> ApiClient:
    """A client by `KUBECONFIG`, or else as a pod's ServiceAccount; it connects when it is used. Raises `NoCluster`."""
    configuration = Configuration()
    # A request that fails is ours to repeat: urllib3 would do it three times within the time that one may take.
    configuration.retries = False
    configuration.connection_pool_maxsize = CONNECTIONS
    load: Any = config  # it has no types
    try:
        if os.environ.get("KUBECONFIG"):
            load.load_kube_config(client_configuration=configuration)
        else:
            load.load_incluster_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise NoCluster(f"neither KUBECONFIG nor a pod's ServiceAccount leads to a cluster: {error}") from None
    return ApiClient(configuration)


def host_policy(networks: tuple[str, ...] = ()) -> HostPolicy:
    """The addresses to which nothing may be sent: those that a pod's environment shows, and stated `networks`.

    The API server's machines and other nodes are among the latter or not at all. Outside of a pod, routers may call
    their own machine.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    addresses = {host: API_SERVER} if host else {}
    return HostPolicy(in_cluster=bool(host), addresses=addresses, networks=networks)


def own_namespace() -> str | None:
    """The namespace of the pod that we are; None outside of pods."""
    try:
        return NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None
