"""Looks at an installation for `weir_cli.doctor.checks`. Reads only, and of Secrets only names and labels.

Information that we may not or cannot read becomes `Unseen`; nothing raises.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import urllib3
from cryptography import x509
from kubernetes import client

from weir_cli.cluster.api import Cluster
from weir_cli.cluster.connection import API_SECONDS, NoPages
from weir_cli.cluster.installations import Installation
from weir_cli.cluster.refusals import why
from weir_cli.doctor.checks import Credential, Seen, Unready, Unseen, Workload
from weir_cli.doctor.network import COMPONENT, left_open
from weir_cli.status.cluster import gateway_pages
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS, MODEL_TIER, ROUTING_POLICY
from weir_operator.kinds.crdgen import crd
from weir_operator.kube.webhooks import configuration_name
from weir_operator.observe.observed import CREDENTIAL_LABEL, Manifest, Observed
from weir_operator.observe.tenancy import EVERY, Tenancy
from weir_operator.schemas import GROUP, VERSION
from weir_operator.schemas.common import DEFAULT_CLASS, Kind
from weir_operator.status.conditions import by_type

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Asks for an object without its content: a doctor has no business with keys."""

T = TypeVar("T")


def look(there: Cluster, installation: Installation, headers: Mapping[str, str] | None = None) -> Seen:
    """Everything at once: each part is a request or two. `headers` go to routers' admin ports."""
    it = _Look(there, installation, headers or {})
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
        "lacking": it.lacking,
        "services": it.services,
        "expires": it.expires,
        "unready": it.unready,
        "unjudged": it.unjudged,
        "unused": it.unused,
        "left_open": it.left_open,
        "tls": it.tls,
    }
    with ThreadPoolExecutor(len(parts)) as threads:
        found: dict[str, Any] = dict(zip(parts, threads.map(_seen, parts.values()), strict=True))
    return Seen(installation=installation.name, namespace=installation.namespace, **found)


def _seen(part: Callable[[], T]) -> T | Unseen:
    try:
        return part()
    except client.ApiException as error:
        return Unseen(why(error))
    except urllib3.exceptions.HTTPError as error:
        return Unseen(f"the API server does not answer: {type(error).__name__}")
    except NoPages as error:
        return Unseen(str(error))


class _Look:
    """One installation; what its methods raise is for `_seen`."""

    def __init__(self, there: Cluster, installation: Installation, headers: Mapping[str, str]) -> None:
        self._there = there
        self._client = there.api_client
        self._headers = headers
        self._core = client.CoreV1Api(self._client)
        self._namespace = installation.namespace
        self._installation = installation.name

    def version(self) -> tuple[int, int]:
        """Version of the API server."""
        found = client.VersionApi(self._client).get_code(_request_timeout=API_SECONDS)
        return int(found.major), int("".join(filter(str.isdigit, found.minor)) or 0)

    def skew(self) -> float:
        """Difference of the clocks in seconds, by the Date of an answer, which is whole seconds."""
        headers = self._get("/version").headers
        return time.time() - parsedate_to_datetime(headers["Date"]).timestamp()

    def crds(self) -> frozenset[str]:
        """The established ones."""
        api: Any = client.ApiextensionsV1Api(self._client)
        found = api.list_custom_resource_definition(_request_timeout=API_SECONDS).items
        return frozenset(it.metadata.name for it in found if _is(it.status.conditions, "Established"))

    def lacking(self) -> tuple[str, ...]:
        """Fields that the CRDs in the cluster lack."""
        api: Any = client.CustomObjectsApi(self._client)
        group, version = "apiextensions.k8s.io", "v1"
        found = api.list_cluster_custom_object(
            group, version, "customresourcedefinitions", _request_timeout=API_SECONDS
        )["items"]
        there = {it["metadata"]["name"]: it for it in found}
        own = {f"{kind.plural}.{GROUP}": crd(kind) for kind in KINDS}
        return tuple(
            f"{name.partition('.')[0]}.{path}"
            for name in own
            if name in there
            for path in sorted(_paths(_spec(own[name])) - _paths(_spec(there[name])))
        )

    def services(self) -> dict[str, int | None]:
        """Those of the installation, and cluster DNS."""
        names = (self._installation, f"{self._installation}-operator")
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
        found = _or_none(
            lambda: api.read_namespaced_service(self._installation, self._namespace, _request_timeout=API_SECONDS)
        )
        return found is None or any(it.name == "https" for it in found.spec.ports)

    def workloads(self) -> dict[str, Workload]:
        """The installation's Deployments."""
        api: Any = client.AppsV1Api(self._client)
        selector = f"app.kubernetes.io/name=weir,app.kubernetes.io/instance={self._installation}"
        found = api.list_namespaced_deployment(self._namespace, label_selector=selector, _request_timeout=API_SECONDS)
        return {it.metadata.name: Workload(it.status.ready_replicas or 0, it.spec.replicas) for it in found.items}

    def rights(self) -> dict[str, bool]:
        """Rights of the operator's ServiceAccount, as the API server judges them."""
        return {name: self._may(attributes) for name, attributes in self._needs()}

    def _needs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        gather = [
            (group, resource, verbs, namespace)
            for namespace in self._scopes()
            for group, resource, verbs in (
                *((GROUP, kind.plural, ("list", "watch")) for kind in KINDS),
                ("", "secrets", ("list", "watch")),
            )
        ]
        for group, resource, verbs, namespace in (
            *gather,
            ("authentication.k8s.io", "tokenreviews", ("create",), ""),
            ("", "configmaps", ("list", "create"), self._namespace),
            ("", "secrets", ("list", "create"), self._namespace),
            ("coordination.k8s.io", "leases", ("create",), self._namespace),
        ):
            for verb in verbs:
                where = f" in {namespace}" if namespace else ""
                attributes = {"group": group, "resource": resource, "verb": verb, "namespace": namespace}
                yield f"{verb} {resource}{where}", attributes
        for resource, published in (("configmaps", "index"), ("secrets", "caller-keys")):
            for verb in ("update", "delete"):
                name = f"{self._installation}-{published}"
                attributes = {"group": "", "resource": resource, "verb": verb, "namespace": self._namespace}
                yield f"{verb} {resource} {name} in {self._namespace}", {**attributes, "name": name}
        for path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
            yield f"get {path}", {"path": path, "verb": "get"}

    def _scopes(self) -> list[str]:
        """The namespaces that the operator is to look at; an empty name: all."""
        api: Any = client.AppsV1Api(self._client)
        read, name = api.read_namespaced_deployment, f"{self._installation}-operator"
        found = _or_none(lambda: read(name, self._namespace, _request_timeout=API_SECONDS))
        arguments = found.spec.template.spec.containers[0].args or () if found else ()
        option = next((it for it in arguments if it.startswith("--namespaces=")), "")
        return option.partition("=")[2].split(",")

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
        return bool(api.create_subject_access_review(review, _request_timeout=API_SECONDS).status.allowed)

    def left_open(self) -> tuple[str, ...]:
        """Ports that every pod can reach."""
        api: Any = client.CustomObjectsApi(self._client)
        found = api.list_namespaced_custom_object(
            "networking.k8s.io",
            "v1",
            self._namespace,
            "networkpolicies",
            label_selector=f"app.kubernetes.io/name=weir,app.kubernetes.io/instance={self._installation}",
            _request_timeout=API_SECONDS,
        )["items"]
        return left_open({it["metadata"]["labels"].get(COMPONENT): it.get("spec") or {} for it in found})

    def bundle(self) -> str | None:
        """The authority that routers mount."""
        return (self._config_map(f"{self._installation}-ca") or {}).get("ca.crt")

    def webhook(self) -> frozenset[str] | None:
        """The authorities of the sidecars' webhooks."""
        api = client.AdmissionregistrationV1Api(self._client)
        name = configuration_name(self._installation, self._namespace)
        found = _or_none(lambda: api.read_mutating_webhook_configuration(name, _request_timeout=API_SECONDS))
        if found is None:
            return None
        bundles = (it.client_config.ca_bundle or "" for it in found.webhooks or ())
        return frozenset(base64.b64decode(it).decode() for it in bundles)

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
        data = self._config_map(f"{self._installation}-index")
        return int(json.loads(data["index.json"])["revision"]) if data else None

    def _config_map(self, name: str) -> dict[str, str] | None:
        read = self._core.read_namespaced_config_map
        found = _or_none(lambda: read(name, self._namespace, _request_timeout=API_SECONDS))
        return None if found is None else found.data or {}

    def routers(self) -> dict[str, tuple[int | None, str | None]]:
        """Revision and rejection of each router of the gateway."""
        installation = Installation(self._installation, self._namespace)
        pages = gateway_pages(self._client, installation, self._headers)
        return {it.router: (it.state["revision"], it.state["rejected"]) for it in pages}

    def unready(self) -> tuple[Unready, ...]:
        """Those whose condition Ready is False."""
        return tuple(
            Unready(_title(it), ready["reason"], ready["message"].partition(". ")[0])
            for it in self._objects()
            if (ready := by_type(it.status).get("Ready")) and ready["status"] == "False"
        )

    def unjudged(self) -> tuple[str, ...]:
        """Those without any condition."""
        return tuple(_title(it) for it in self._objects() if not by_type(it.status))

    def unused(self) -> tuple[str, ...]:
        """Policies whose callers are in no namespace of the cluster."""
        api: Any = client.CoreV1Api(self._client)
        found = api.list_namespace(_request_timeout=API_SECONDS).items
        namespaces = {it.metadata.name: it.metadata.labels or {} for it in found}
        policies = tuple(self._listed(ROUTING_POLICY))
        classes = {it.spec.get("className", DEFAULT_CLASS) for it in policies}
        return tuple(
            policy.key
            for name in sorted(classes)
            for policy in compile_config(
                Observed(
                    manifests={ROUTING_POLICY.kind: policies},
                    namespaces=namespaces,
                    tenancy=Tenancy(offering=(EVERY,)),
                    class_name=name,
                ),
                KINDS,
                catalogue=Catalogue.load(),
                now=time.time(),
            ).config.policies
            if not any(it.namespaces is None or it.namespaces & namespaces.keys() for it in policy.callers)
        )

    def _objects(self) -> Iterator[Manifest]:
        return (it for kind in KINDS for it in self._listed(kind))

    def _listed(self, kind: Kind) -> Iterator[Manifest]:
        return self._there.all(kind, None)

    def credentials(self) -> tuple[Credential, ...]:
        """Credentials of every tier that we may see."""
        api: Any = client.CustomObjectsApi(self._client)
        tiers = api.list_cluster_custom_object(GROUP, VERSION, MODEL_TIER.plural, _request_timeout=API_SECONDS)["items"]
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
        answer = call(*parts, _request_timeout=API_SECONDS)
        answer.read()
        if answer.status != 200:
            raise client.ApiException(status=answer.status, reason=answer.reason)
        return answer


def _spec(body: Mapping[str, Any]) -> Any:
    """The schema of a CRD's spec, of our version."""
    versions = {it["name"]: it for it in body["spec"]["versions"]}
    schema = versions.get(VERSION, {}).get("schema", {}).get("openAPIV3Schema", {})
    return schema.get("properties", {}).get("spec", {})


def _paths(schema: Mapping[str, Any], path: str = "spec") -> set[str]:
    """Every field's, as far down as there are any."""
    found = set()
    for name, child in (schema.get("properties") or {}).items():
        found |= {f"{path}.{name}", *_paths(child, f"{path}.{name}")}
    return found | (_paths(schema["items"], path) if isinstance(schema.get("items"), Mapping) else set())


def _title(it: Manifest) -> str:
    return f"{it.kind} {it.key}"


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
    """The result of `read`; None for an object that does not exist."""
    try:
        return read()
    except client.ApiException as error:
        if error.status == 404:
            return None
        raise
