"""Routers' admin pages in a cluster, by way of the API server. Used by `weir status` where no URL is given.

The API server decides who may look: it asks for `list` on `pods` and `get` on `pods/proxy` in their namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3
from kubernetes import client

from weir_cli.cluster.connection import API_SECONDS, NoPages, connect
from weir_cli.status.figures import Page
from weir_cli.status.pages import TOKEN_NEEDED, page

ADMIN_PORT = 9090
"""Admin port of a pod that names no port `metrics`."""

AT_ONCE = 16
"""Routers that are asked at the same time."""


def from_cluster(
    namespace: str | None, installation: str, context: str | None, headers: Mapping[str, str]
) -> Callable[[], list[Page]]:
    """Gives the pages of all gateway routers each time that it is called. Raises `NoPages`."""
    api_client, where = connect(namespace, context)
    return lambda: gateway_pages(api_client, where, installation, headers)


def gateway_pages(
    api_client: client.ApiClient, namespace: str, installation: str, headers: Mapping[str, str]
) -> list[Page]:
    """The pages of all gateway routers, asked for with `headers`. Raises `NoPages`."""
    try:
        return _of_pods(client.CoreV1Api(api_client), namespace, installation, headers)
    except client.ApiException as error:
        hint = "; it needs list on pods and get on pods/proxy" if error.status == 403 else ""
        raise NoPages(f"namespace {namespace}: {error.status} {error.reason}{hint}") from None
    except urllib3.exceptions.HTTPError as error:
        raise NoPages(f"the API server does not answer: {type(error).__name__}") from None


def _of_pods(api: Any, namespace: str, installation: str, headers: Mapping[str, str]) -> list[Page]:
    labels = ("name=weir", f"instance={installation}", "component=gateway")
    selector = ",".join(f"app.kubernetes.io/{it}" for it in labels)
    found = api.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=API_SECONDS).items
    routers = [it for it in found if it.status.phase == "Running" and it.metadata.deletion_timestamp is None]
    if not routers:
        raise NoPages(
            f"namespace {namespace} has no running router of installation {installation}: "
            "say --namespace and --installation, and see kubectl get pods"
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
