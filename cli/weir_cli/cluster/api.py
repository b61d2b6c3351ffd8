"""Our two kinds at the API server, and what it lets us see. Used by commands through `weir_cli.cluster.opening`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kubernetes import client

from weir_cli.cluster.connection import API_SECONDS
from weir_operator.kube.objects import ObjectName
from weir_operator.observe import convert
from weir_operator.observe.observed import Manifest, NamespaceData
from weir_operator.observe.tenancy import accepted
from weir_operator.schemas import GROUP, VERSION
from weir_operator.schemas.common import Kind

FIELD_MANAGER = "kubectl-weir"
"""Name of the CLI in `metadata.managedFields` of the objects that it changes."""

NOT_FOUND = 404


class Cluster:
    """One cluster. Every method raises `ApiException`, unless its docstring says otherwise."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        """`namespace`: the context's."""
        self.api_client = api_client
        self.namespace = namespace
        self._objects: Any = client.CustomObjectsApi(api_client)

    def may(self, verb: str, resource: str, *, group: str = GROUP, namespace: str = "", name: str = "") -> bool:
        """Whether we may, as the API server judges; without a namespace: in all of them."""
        resource, _, subresource = resource.partition("/")
        attributes = client.V1ResourceAttributes(
            verb=verb, group=group, resource=resource, subresource=subresource, namespace=namespace, name=name
        )
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        api: Any = client.AuthorizationV1Api(self.api_client)
        return bool(api.create_self_subject_access_review(review, _request_timeout=API_SECONDS).status.allowed)

    def user(self) -> str:
        """The user name by which the API server knows us."""
        api: Any = client.AuthenticationV1Api(self.api_client)
        review = api.create_self_subject_review(client.V1SelfSubjectReview(), _request_timeout=API_SECONDS)
        return str(review.status.user_info.username)

    def all(self, kind: Kind, namespaces: Sequence[str] | None) -> Iterator[Manifest]:
        """Every object of that kind; None: in all namespaces."""
        options: dict[str, Any] = {"_request_timeout": API_SECONDS}
        of = {"group": GROUP, "version": VERSION, "plural": kind.plural}
        if namespaces is None:
            answers = [self._objects.list_cluster_custom_object(**of, **options)]
        else:
            list_in = self._objects.list_namespaced_custom_object
            answers = [list_in(**of, namespace=namespace, **options) for namespace in namespaces]
        return (convert.manifest(kind.kind, item) for answer in answers for item in answer["items"])

    def get(self, kind: Kind, name: ObjectName) -> Mapping[str, Any]:
        """The object as the API server has it."""
        found: Mapping[str, Any] = self._objects.get_namespaced_custom_object(
            GROUP, VERSION, name.namespace, kind.plural, name.name, _request_timeout=API_SECONDS
        )
        return found

    def get_or_none(self, kind: Kind, name: ObjectName) -> Mapping[str, Any] | None:
        """The object, if it is there."""
        try:
            return self.get(kind, name)
        except client.ApiException as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def patch(self, kind: Kind, name: ObjectName, body: Any) -> Mapping[str, Any]:
        """The object as it is then. A list is a JSON patch, an object a merge patch."""
        found: Mapping[str, Any] = self._objects.patch_namespaced_custom_object(
            GROUP,
            VERSION,
            name.namespace,
            kind.plural,
            name.name,
            body,
            field_manager=FIELD_MANAGER,
            _content_type=f"application/{'json' if isinstance(body, list) else 'merge'}-patch+json",
            _request_timeout=API_SECONDS,
        )
        return found

    def namespaces(self, wanted: Iterable[str]) -> tuple[Mapping[str, NamespaceData], bool]:
        """All of them, and True; or those of `wanted` that we may get, and False."""
        api: Any = client.CoreV1Api(self.api_client)
        if self.may("list", "namespaces", group=""):
            found = api.list_namespace(_request_timeout=API_SECONDS).items
            return {it.metadata.name: _data(it) for it in found}, True
        mine = [it for it in wanted if self.may("get", "namespaces", group="", namespace=it)]
        return {it: _data(api.read_namespace(it, _request_timeout=API_SECONDS)) for it in mine}, False


def _data(namespace: Any) -> NamespaceData:
    metadata = namespace.metadata
    return NamespaceData(metadata.labels or {}, accepted(metadata.annotations or {}))
