"""Routers' admin pages in a cluster, by way of the API server. Used by `weir status` where no URL is given.

The API server decides who may look: it asks for `list` on `pods` and `get` on `pods/proxy` in their namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3
from kubernetes import client

from weir_cli.cluster.connection import API_SECONDS, NoPages
from weir_cli.cluster.installations import Installation
from weir_cli.cluster.refusals import silence, why
from weir_cli.status.figures import Page
from weir_cli.status.pages import TOKEN_NEEDED, page

ADMIN_PORT = 9090
"""Admin port of a pod that names no port `metrics`."""

AT_ONCE = 16
"""Routers that are asked at the same time."""


def gateway_pages(api_client: client.ApiClient, installation: Installation, headers: Mapping[str, str]) -> list[Page]:
    """The pages of all gateway routers, asked for with `headers`. Raises `NoPages`."""
    try:
        return _of_pods(client.CoreV1Api(api_client), installation, headers)
    except client.ApiException as error:
        raise NoPages(why(error)) from None
    except urllib3.exceptions.HTTPError as error:
        raise NoPages(silence(error)) from None


def _of_pods(api: Any, installation: Installation, headers: Mapping[str, str]) -> list[Page]:
    name, namespace = installation
    labels = ("name=weir", f"instance={name}", "component=gateway")
    selector = ",".join(f"app.kubernetes.io/{it}" for it in labels)
    found = api.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=API_SECONDS).items
    routers = [it for it in found if it.status.phase == "Running" and it.metadata.deletion_timestamp is None]
    if not routers:
        raise NoPages(
            f"namespace {namespace} has no running router of installation {name}: "
            f"see kubectl get pods --namespace {namespace}, or say --system-namespace and --installation"
        )

    def get(pod: Any, path: str) -> str:
        try:
            answer = api.connect_get_namespaced_pod_proxy_with_path(
                f"{pod.metadata.name}:{_port(pod)}",
                namespace,
                path.removeprefix("/"),
                _request_timeout=API_SECONDS,
                _headers=dict(headers),
                _preload_content=False,  # undecoded: the client would turn JSON into Python's idea of it
            )
        except client.ApiException as error:
            if error.status == 401:  # the router's answer, since the API server has let us list
                raise NoPages(f"{pod.metadata.name}: {TOKEN_NEEDED}") from None
            raise
        return str(answer.data.decode())

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(lambda pod: page(pod.metadata.name, lambda path: get(pod, path)), routers))


def _port(pod: Any) -> int:
    ports = (port for container in pod.spec.containers for port in container.ports or ())
    return next((port.container_port for port in ports if port.name == "metrics"), ADMIN_PORT)
