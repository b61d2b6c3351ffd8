"""The rights that an operator needs, and whether the API server gives them to its ServiceAccount."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kubernetes import client

from weir_cli.cluster.connection import API_SECONDS
from weir_cli.cluster.installations import Installation
from weir_operator.kinds import KINDS
from weir_operator.schemas import GROUP
from weir_operator.sidecar.expected import configuration_name


class Needs(NamedTuple):
    """The parts of an installation that decide which rights its operator needs."""

    installation: Installation
    scopes: tuple[str, ...]  # namespaces that it looks at; an empty name: all
    sidecars: bool = False
    services: bool = False  # a tier refers to a Service

    def rights(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The rights by their names for people, each with the attributes of an access review."""
        for group, resource, verbs, namespace in (*self._of_scopes(), *self._own()):
            for verb in verbs:
                named, _, part = resource.partition("/")
                where = f" in {namespace}" if namespace else ""
                attributes = {"group": group, "resource": named, "verb": verb, "namespace": namespace}
                yield f"{verb} {resource}{where}", {**attributes, "subresource": part} if part else attributes
        name, namespace = self.installation
        for group, resource, verbs, own in (
            ("", "configmaps", ("update", "delete"), f"{name}-index"),
            ("", "configmaps", ("update", "delete"), f"{name}-ca"),
            ("", "secrets", ("update", "delete"), f"{name}-caller-keys"),
            ("", "secrets", ("update", "delete"), f"{name}-state-keys"),
            ("", "secrets", ("update", "delete"), f"{name}-operator-tls"),
            ("", "serviceaccounts", ("get",), f"{name}-operator"),
            ("coordination.k8s.io", "leases", ("get", "update"), f"{name}-operator"),
        ):
            for verb in verbs:
                one = {"group": group, "resource": resource, "verb": verb, "namespace": namespace, "name": own}
                yield f"{verb} {resource} {own} in {namespace}", one
        if self.sidecars:
            resource, webhook = "mutatingwebhookconfigurations", configuration_name(name, namespace)
            for verb in ("get", "list", "watch", "patch"):
                one = {"group": "admissionregistration.k8s.io", "resource": resource, "verb": verb, "name": webhook}
                yield f"{verb} {resource} {webhook}", one
        for path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
            yield f"get {path}", {"path": path, "verb": "get"}

    def _of_scopes(self) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
        for namespace in self.scopes:
            for kind in KINDS:
                yield GROUP, kind.plural, ("list", "watch"), namespace
                yield GROUP, f"{kind.plural}/status", ("patch",), namespace
            yield "", "secrets", ("list", "watch"), namespace
            yield "events.k8s.io", "events", ("create",), namespace
            if self.sidecars:
                yield "", "pods", ("list",), namespace
            if self.services:
                yield "", "services", ("list", "watch"), namespace
                yield "discovery.k8s.io", "endpointslices", ("list", "watch"), namespace

    def _own(self) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
        namespace = self.installation.namespace
        yield "authentication.k8s.io", "tokenreviews", ("create",), ""
        if self.scopes == ("",):
            yield "", "namespaces", ("list", "watch"), ""
        yield "", "configmaps", ("list", "watch", "create"), namespace
        yield "", "secrets", ("list", "watch", "create"), namespace
        yield "coordination.k8s.io", "leases", ("create",), namespace


def judged(api_client: client.ApiClient, needs: Needs) -> dict[str, bool]:
    """Each right, and whether the operator has it."""
    name, namespace = needs.installation
    account = f"system:serviceaccount:{namespace}:{name}-operator"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    return {text: _may(api_client, account, groups, attributes) for text, attributes in needs.rights()}


def _may(api_client: client.ApiClient, account: str, groups: list[str], attributes: dict[str, Any]) -> bool:
    spec = client.V1SubjectAccessReviewSpec(user=account, groups=groups)
    if "path" in attributes:
        spec.non_resource_attributes = client.V1NonResourceAttributes(**attributes)
    else:
        spec.resource_attributes = client.V1ResourceAttributes(**attributes)
    review = client.V1SubjectAccessReview(spec=spec)
    api: Any = client.AuthorizationV1Api(api_client)
    return bool(api.create_subject_access_review(review, _request_timeout=API_SECONDS).status.allowed)
