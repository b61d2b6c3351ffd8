"""Looks at an installation for `weir_cli.doctor.checks`. Reads only, and of Secrets only names and labels.

Whatever we may not see, or cannot, becomes `Unseen`; nothing raises.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import urllib3
from kubernetes import client

from weir_cli.doctor.checks import Credential, Seen, Unseen, Workload
from weir_cli.status.cluster import gateway_pages
from weir_cli.status.pages import NoPages
from weir_operator.observed import CREDENTIAL_LABEL
from weir_operator.webhooks import configuration_name

REQUEST_SECONDS = 10.0
"""For one request."""

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Asks for an object without its content: a doctor has no business with keys."""

T = TypeVar("T")


def look(api_client: client.ApiClient, namespace: str, installation: str) -> Seen:
    """Everything at once: each part is a request or two."""
    it = _Look(api_client, namespace, installation)
    parts: dict[str, Callable[[], Any]] = {
        "version": it.version,
        "skew": it.skew,
        "crds": it.crds,
        "workloads": it.workloads,
        "rights": it.rights,
        "bundle": it.bundle,
        "webhook": it.webhook,
        "published": it.published,
        "routers": it.routers,
        "credentials": it.credentials,
    }
    with ThreadPoolExecutor(len(parts)) as threads:
        found: dict[str, Any] = dict(zip(parts, threads.map(_seen, parts.values()), strict=True))
    return Seen(installation=installation, namespace=namespace, **found)


def _seen(part: Callable[[], T]) -> T | Unseen:
    try:
        return part()
    except client.ApiException as error:
        return Unseen(f"the API server answers {error.status} {error.reason}")
    except urllib3.exceptions.HTTPError as error:
        return Unseen(f"the API server does not answer: {type(error).__name__}")
    except NoPages as error:
        return Unseen(str(error))


class _Look:
    """One installation; what its methods raise is for `_seen`."""

    def __init__(self, api_client: client.ApiClient, namespace: str, installation: str) -> None:
        self._client = api_client
        self._core = client.CoreV1Api(api_client)
        self._namespace = namespace
        self._installation = installation

    def version(self) -> tuple[int, int]:
        """Of the API server."""
        found = client.VersionApi(self._client).get_code(_request_timeout=REQUEST_SECONDS)
        return int(found.major), int("".join(filter(str.isdigit, found.minor)) or 0)

    def skew(self) -> float:
        """By the Date of an answer, which is whole seconds."""
        headers = self._get("/version").headers
        return time.time() - parsedate_to_datetime(headers["Date"]).timestamp()

    def crds(self) -> frozenset[str]:
        """The established ones."""
        api: Any = client.ApiextensionsV1Api(self._client)
        found = api.list_custom_resource_definition(_request_timeout=REQUEST_SECONDS).items
        return frozenset(it.metadata.name for it in found if _is(it.status.conditions, "Established"))

    def workloads(self) -> dict[str, Workload]:
        """The installation's Deployments."""
        api: Any = client.AppsV1Api(self._client)
        selector = f"app.kubernetes.io/name=weir,app.kubernetes.io/instance={self._installation}"
        found = api.list_namespaced_deployment(
            self._namespace, label_selector=selector, _request_timeout=REQUEST_SECONDS
        )
        return {it.metadata.name: Workload(it.status.ready_replicas or 0, it.spec.replicas) for it in found.items}

    def rights(self) -> dict[str, bool]:
        """What the operator's ServiceAccount may, as the API server judges."""
        return {name: self._may(attributes) for name, attributes in self._needs()}

    def _needs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for group, resource, verbs, namespace in (
            ("authentication.k8s.io", "tokenreviews", ("create",), ""),
            ("", "configmaps", ("list", "create", "update", "delete"), self._namespace),
            ("", "secrets", ("list", "create", "update", "delete"), self._namespace),
            ("coordination.k8s.io", "leases", ("create",), self._namespace),
        ):
            for verb in verbs:
                where = f" in {namespace}" if namespace else ""
                attributes = {"group": group, "resource": resource, "verb": verb, "namespace": namespace}
                yield f"{verb} {resource}{where}", attributes
        for path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
            yield f"get {path}", {"path": path, "verb": "get"}

    def _may(self, attributes: dict[str, Any]) -> bool:
        account = f"system:serviceaccount:{self._namespace}:{self._installation}-operator"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{self._namespace}", "system:authenticated"]
        spec = client.V1SubjectAccessReviewSpec(user=account, groups=groups)
        if "path" in attributes:
            spec.non_resource_attributes = client.V1NonResourceAttributes(**attributes)
        else:
            spec.resource_attributes = client.V1ResourceAttributes(**attributes)
        review = client.V1SubjectAccessReview(spec=spec)
        api: Any = client.AuthorizationV1Api(self._client)
        return bool(api.create_subject_access_review(review, _request_timeout=REQUEST_SECONDS).status.allowed)

    def bundle(self) -> str | None:
        """The authority that routers mount."""
        return (self._config_map(f"{self._installation}-ca") or {}).get("ca.crt")

    def webhook(self) -> frozenset[str] | None:
        """The authorities of the sidecars' webhooks."""
        api = client.AdmissionregistrationV1Api(self._client)
        name = configuration_name(self._installation, self._namespace)
        found = _or_none(lambda: api.read_mutating_webhook_configuration(name, _request_timeout=REQUEST_SECONDS))
        if found is None:
            return None
        bundles = (it.client_config.ca_bundle or "" for it in found.webhooks or ())
        return frozenset(base64.b64decode(it).decode() for it in bundles)

    def published(self) -> int | None:
        """The revision of the index."""
        data = self._config_map(f"{self._installation}-index")
        return int(json.loads(data["index.json"])["revision"]) if data else None

    def _config_map(self, name: str) -> dict[str, str] | None:
        read = self._core.read_namespaced_config_map
        found = _or_none(lambda: read(name, self._namespace, _request_timeout=REQUEST_SECONDS))
        return None if found is None else found.data or {}

    def routers(self) -> dict[str, tuple[int | None, str | None]]:
        """Of the gateway."""
        pages = gateway_pages(self._client, self._namespace, self._installation)
        return {it.router: (it.state["revision"], it.state["rejected"]) for it in pages}

    def credentials(self) -> tuple[Credential, ...]:
        """Of every tier that we may see."""
        api: Any = client.CustomObjectsApi(self._client)
        tiers = api.list_cluster_custom_object("weir.dev", "v1alpha1", "modeltiers", _request_timeout=REQUEST_SECONDS)[
            "items"
        ]
        wanted = sorted({reference for tier in tiers for reference in _references(tier)})
        return tuple(self._credential(*it) for it in wanted)

    def _credential(self, tier: str, namespace: str, name: str) -> Credential:
        found = _or_none(lambda: self._get(f"/api/v1/namespaces/{namespace}/secrets/{name}", METADATA))
        labels = json.loads(found.data)["metadata"].get("labels", {}) if found is not None else {}
        consents = labels.get(CREDENTIAL_LABEL) == "true"
        return Credential(tier, f"{namespace}/{name}", found is not None, consents)

    def _get(self, path: str, accept: str = "application/json") -> Any:
        """The answer as it came."""
        call: Any = self._client.call_api
        parts = self._client.param_serialize(
            "GET", path, auth_settings=["BearerToken"], header_params={"Accept": accept}
        )
        answer = call(*parts, _request_timeout=REQUEST_SECONDS)
        answer.read()
        if answer.status != 200:
            raise client.ApiException(status=answer.status, reason=answer.reason)
        return answer


def _references(tier: Any) -> Iterator[tuple[str, str, str]]:
    """The Secrets of a tier: its name, their namespace and name."""
    metadata = tier["metadata"]
    for backend in tier.get("spec", {}).get("backends") or ():
        reference = (backend.get("credentials") or {}).get("secretRef")
        if reference:
            yield f"{metadata['namespace']}/{metadata['name']}", metadata["namespace"], reference["name"]


def _is(conditions: Any, kind: str) -> bool:
    return any(it.type == kind and it.status == "True" for it in conditions or ())


def _or_none(read: Callable[[], Any]) -> Any:
    """None for what is not there."""
    try:
        return read()
    except client.ApiException as error:
        if error.status == 404:
            return None
        raise
