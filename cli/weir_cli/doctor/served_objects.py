"""ModelTiers, RoutingPolicies and applications' pods, for a doctor: of all namespaces, or else of the user's own.

Of Secrets it asks for names and labels only. Raises the client's errors; `look` makes `Unseen` of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from kubernetes import client

from weir_cli.cluster.api import Cluster
from weir_cli.cluster.connection import API_SECONDS
from weir_cli.cluster.installations import NAME, RELEASE
from weir_cli.cluster.refusals import FORBIDDEN
from weir_cli.doctor.reads import Once, get, or_none
from weir_cli.doctor.seen import Credential, Unready
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.compile.classes import class_of
from weir_operator.kinds import KINDS, MODEL_TIER, ROUTING_POLICY
from weir_operator.observe.observed import CREDENTIAL_LABEL, Manifest, Observed
from weir_operator.observe.tenancy import EVERY, Tenancy
from weir_operator.schemas.common import DEFAULT_CLASS
from weir_operator.sidecar.expected import Lacking, Scope, lacking
from weir_operator.status.conditions import FALSE, TRUE, StatusReason, by_type

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Asks for an object without its content: a doctor has no business with keys."""

ILL_STATES = ("Degraded", "Unhealthy", "Unusable")
"""States of a backend in a tier's status that are not well."""

ILL_REASONS = (StatusReason.NO_HEALTHY_TIERS, StatusReason.DEGRADED)
"""Reasons of a condition Ready that is True although requests fail, or are answered elsewhere."""


class ServedObjects:
    """The objects that the user may list."""

    def __init__(self, there: Cluster) -> None:
        self._there = there
        self._client = there.api_client
        self._lists = {kind.kind: Once(lambda kind=kind: self._listed(kind)) for kind in KINDS}  # type: ignore[misc]

    def only(self) -> str | None:
        """The namespace to which the user's rights limit the look; None: it is of all."""
        return None if all(self._there.may("list", kind.plural) for kind in KINDS) else self._there.namespace

    def _listed(self, kind: Any) -> tuple[Manifest, ...]:
        try:
            return tuple(self._there.all(kind, None))
        except client.ApiException as error:
            if error.status != FORBIDDEN:
                raise
        return tuple(self._there.all(kind, [self._there.namespace]))

    def _all(self) -> Iterator[Manifest]:
        return (it for kind in KINDS for it in self._lists[kind.kind]())

    def tiers(self) -> tuple[Manifest, ...]:
        """The ModelTiers."""
        return self._lists[MODEL_TIER.kind]()

    def unready(self) -> tuple[Unready, ...]:
        """Those whose condition Ready is False."""
        return tuple(
            Unready(_title(it), ready["reason"], ready["message"].partition(". ")[0])
            for it in self._all()
            if (ready := by_type(it.status).get("Ready")) and ready["status"] == FALSE
        )

    def unjudged(self) -> tuple[str, ...]:
        """Those that no operator has written a status of, and that some operator should see."""
        served = self._classes()
        return tuple(
            _title(it) for it in self._all() if not _judged(it) and (served is None or class_of(it.spec) in served)
        )

    def unserved(self) -> tuple[str, ...]:
        """Those of a class that no operator of the cluster serves."""
        served = self._classes()
        if served is None:
            return ()
        return tuple(
            f"{_title(it)} (className {class_of(it.spec)})" for it in self._all() if class_of(it.spec) not in served
        )

    def _classes(self) -> frozenset[str] | None:
        """The classes of all operators of the cluster; None: none can be found, or we may not list them."""
        api: Any = client.AppsV1Api(self._client)
        selector = f"{NAME}={RELEASE},app.kubernetes.io/component=operator"
        try:
            listed = api.list_deployment_for_all_namespaces(label_selector=selector, _request_timeout=API_SECONDS)
        except client.ApiException as error:
            if error.status != FORBIDDEN:
                raise
            return None
        arguments = [it.spec.template.spec.containers[0].args or () for it in listed.items]
        return frozenset(map(_class_option, arguments)) or None

    def ill(self) -> tuple[Unready, ...]:
        """Backends that are not well, and policies that serve only by other tiers, or by none."""
        return (*self._ill_backends(), *self._ill_policies())

    def _ill_backends(self) -> Iterator[Unready]:
        for tier in self.tiers():
            status = tier.status if isinstance(tier.status, Mapping) else {}
            for it in status.get("backends") or ():
                reason = str(it.get("reason") or "")
                if it.get("state") in ILL_STATES and not reason.startswith("Secret"):  # see credentials
                    yield Unready(f"backend {tier.key}/{it['name']}", str(it["state"]), reason)

    def _ill_policies(self) -> Iterator[Unready]:
        for it in self._lists[ROUTING_POLICY.kind]():
            ready = by_type(it.status).get("Ready", {})
            if ready.get("status") == TRUE and ready.get("reason") in ILL_REASONS:
                yield Unready(_title(it), ready["reason"], ready["message"].partition(". ")[0])

    def unused(self) -> tuple[str, ...]:
        """Policies whose callers are in no namespace of the cluster."""
        policies = self._lists[ROUTING_POLICY.kind]()
        api: Any = client.CoreV1Api(self._client)
        found = api.list_namespace(_request_timeout=API_SECONDS).items
        namespaces = {it.metadata.name: it.metadata.labels or {} for it in found}
        return tuple(
            policy.key
            for name in sorted({class_of(it.spec) for it in policies})
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

    def credentials(self) -> tuple[Credential, ...]:
        """Credentials of every tier."""
        wanted = sorted({reference for tier in self.tiers() for reference in _references(tier)})
        return tuple(self._credential(*it) for it in wanted)

    def _credential(self, tier: str, namespace: str, name: str) -> Credential:
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        found = or_none(lambda: get(self._client, path, METADATA))
        labels = json.loads(found.data)["metadata"].get("labels", {}) if found is not None else {}
        return Credential(tier, f"{namespace}/{name}", found is not None, labels.get(CREDENTIAL_LABEL) == "true")

    def without_sidecar(self, scope: Scope) -> tuple[Lacking, ...]:
        """Pods that should have a sidecar and have none."""
        namespaces, pods = self._namespaces(), self._pods()
        found = (
            lacking(pod, namespaces[where], scope)
            for pod in pods
            if (where := pod["metadata"].get("namespace", "")) in namespaces
        )
        return tuple(sorted(it for it in found if it is not None))

    def _namespaces(self) -> dict[str, Any]:
        try:
            items = json.loads(get(self._client, "/api/v1/namespaces", LIST_METADATA).data)["items"]
        except client.ApiException as error:
            if error.status != FORBIDDEN:
                raise
            items = [json.loads(get(self._client, f"/api/v1/namespaces/{self._there.namespace}").data)]
        return {it["metadata"]["name"]: it for it in items}

    def _pods(self) -> list[Any]:
        try:
            found = get(self._client, "/api/v1/pods")
        except client.ApiException as error:
            if error.status != FORBIDDEN:
                raise
            found = get(self._client, f"/api/v1/namespaces/{self._there.namespace}/pods")
        items: list[Any] = json.loads(found.data)["items"]
        return items


LIST_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Asks for a list of objects without their contents."""


def refers_to_services(tiers: tuple[Manifest, ...]) -> bool:
    """Whether a backend of these tiers is a Service."""
    return any(it.get("backendRef") for tier in tiers for it in tier.spec.get("backends") or ())


def _judged(it: Manifest) -> bool:
    """Whether an operator has written its status: that of a new object is a default, of generation -1."""
    status = it.status if isinstance(it.status, Mapping) else {}
    return bool(by_type(status)) and status.get("observedGeneration") != -1


def _class_option(arguments: Any) -> str:
    return next((it.partition("=")[2] for it in arguments if it.startswith("--class=")), DEFAULT_CLASS)


def _title(it: Manifest) -> str:
    return f"{it.kind} {it.key}"


def _references(tier: Manifest) -> Iterator[tuple[str, str, str]]:
    """The Secrets of a tier: its name, their namespace and name."""
    for backend in tier.spec.get("backends") or ():
        reference = (backend.get("credentials") or {}).get("secretRef")
        if reference:
            yield str(tier.key), tier.namespace, reference["name"]
