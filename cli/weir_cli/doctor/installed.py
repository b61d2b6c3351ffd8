"""The objects of one installation, for a doctor. Raises the client's errors; `look` makes `Unseen` of them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from kubernetes import client

from weir_cli.cluster.connection import API_SECONDS
from weir_cli.cluster.installations import INSTANCE, NAME, RELEASE, Installation
from weir_cli.doctor.network import COMPONENT, left_open
from weir_cli.doctor.reads import Once, or_none
from weir_cli.doctor.seen import Workload
from weir_cli.status.cluster import gateway_pages
from weir_operator.sidecar.expected import Scope, configuration_name
from weir_operator.sidecar.webhook import differences


class Installed:
    """One installation."""

    def __init__(self, api_client: client.ApiClient, installation: Installation, headers: Mapping[str, str]) -> None:
        """`headers` go to the routers' admin ports."""
        self._client = api_client
        self._headers = headers
        self._core: Any = client.CoreV1Api(api_client)
        self._installation = installation
        self._name, self._namespace = installation
        self._labels = f"{NAME}={RELEASE},{INSTANCE}={self._name}"
        self.arguments: Callable[[], tuple[str, ...]] = Once(self._arguments)
        """Arguments of the operator, e.g. `--class=weir`; empty if it has no Deployment."""
        self._webhook = Once(self._read_webhook)

    def _arguments(self) -> tuple[str, ...]:
        api: Any = client.AppsV1Api(self._client)
        read, name = api.read_namespaced_deployment, f"{self._name}-operator"
        found = or_none(lambda: read(name, self._namespace, _request_timeout=API_SECONDS))
        return tuple(found.spec.template.spec.containers[0].args or ()) if found else ()

    def option(self, name: str) -> str | None:
        """The value of an operator's option, e.g. of `--namespaces`; None: it does not have it."""
        return next((it.partition("=")[2] for it in self.arguments() if it.startswith(f"{name}=")), None)

    def scope(self) -> Scope:
        """The namespaces with sidecars."""
        named = self.option("--namespaces")
        return Scope(self._namespace, tuple(named.split(",")) if named else None)

    def sidecars(self) -> bool:
        """Whether the operator is to give pods sidecars."""
        return self.option("--sidecar") is not None

    def services(self) -> dict[str, int | None]:
        """Those of the installation, and cluster DNS."""
        names = (self._name, f"{self._name}-operator")
        wanted = [(self._namespace, name, f"kubernetes.io/service-name={name}") for name in names]
        counts = {name: self._endpoints(namespace, labels) for namespace, name, labels in wanted}
        dns = self._endpoints("kube-system", "k8s-app=kube-dns")
        return counts if dns is None else {**counts, "cluster DNS": dns}  # some clusters have it elsewhere

    def _endpoints(self, namespace: str, labels: str) -> int | None:
        api: Any = client.DiscoveryV1Api(self._client)
        found = api.list_namespaced_endpoint_slice(namespace, label_selector=labels, _request_timeout=API_SECONDS).items
        ready = {tuple(it.addresses) for slice_ in found for it in slice_.endpoints or () if it.conditions.ready}
        return len(ready) if found else None

    def tls(self) -> bool:
        """Whether the gateway's Service has a port with TLS; true if there is no Service, which is another finding."""
        api: Any = self._core
        found = or_none(lambda: api.read_namespaced_service(self._name, self._namespace, _request_timeout=API_SECONDS))
        return found is None or any(it.name == "https" for it in found.spec.ports)

    def workloads(self) -> dict[str, Workload]:
        """The installation's Deployments."""
        api: Any = client.AppsV1Api(self._client)
        options = {"label_selector": self._labels, "_request_timeout": API_SECONDS}
        found = api.list_namespaced_deployment(self._namespace, **options)
        return {it.metadata.name: Workload(it.status.ready_replicas or 0, it.spec.replicas) for it in found.items}

    def left_open(self) -> tuple[str, ...]:
        """Ports that every pod can reach."""
        api: Any = client.CustomObjectsApi(self._client)
        found = api.list_namespaced_custom_object(
            "networking.k8s.io",
            "v1",
            self._namespace,
            "networkpolicies",
            label_selector=self._labels,
            _request_timeout=API_SECONDS,
        )["items"]
        return left_open({it["metadata"]["labels"].get(COMPONENT): it.get("spec") or {} for it in found})

    def bundle(self) -> str | None:
        """The authority that routers mount."""
        return (self._config_map(f"{self._name}-ca") or {}).get("ca.crt")

    def webhook(self) -> frozenset[str] | None:
        """The authorities of the sidecars' webhooks, as text; empty for one without any."""
        found = self._webhook()
        if found is None:
            return None
        bundles = ((it.get("clientConfig") or {}).get("caBundle") or "" for it in found.get("webhooks") or ())
        return frozenset(base64.b64decode(it).decode(errors="replace") for it in bundles)

    def webhook_differs(self) -> tuple[str, ...]:
        """Differences of the webhooks from the chart's."""
        found = self._webhook()
        if found is None:
            return ()
        service = self.option("--service-name") or f"{self._name}-operator"
        return differences(found, self.scope(), service)

    def _read_webhook(self) -> Any:
        api: Any = client.CustomObjectsApi(self._client)
        name = configuration_name(self._name, self._namespace)
        read = api.get_cluster_custom_object
        of = ("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", name)
        return or_none(lambda: read(*of, _request_timeout=API_SECONDS))

    def expires(self) -> float | None:
        """Seconds until the last authority of the bundle expires."""
        pem = self.bundle()
        if pem is None:
            return None
        try:
            found = x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            return 0.0  # no client can trust that
        return max(it.not_valid_after_utc.timestamp() for it in found) - time.time()

    def published(self) -> int | None:
        """The revision of the index."""
        data = self._config_map(f"{self._name}-index")
        return int(json.loads(data["index.json"])["revision"]) if data else None

    def _config_map(self, name: str) -> dict[str, str] | None:
        read = self._core.read_namespaced_config_map
        found = or_none(lambda: read(name, self._namespace, _request_timeout=API_SECONDS))
        return None if found is None else found.data or {}

    def routers(self) -> dict[str, tuple[int | None, str | None]]:
        """Revision and rejection of each router of the gateway."""
        pages = gateway_pages(self._client, self._installation, self._headers)
        return {it.router: (it.state["revision"], it.state["rejected"]) for it in pages}
