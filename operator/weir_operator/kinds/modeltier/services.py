"""A backend's reference to a Service → where its endpoints are. PURE; used by `kinds.modeltier.compile`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from weir_operator.kinds.modeltier.hosts import forbidden
from weir_operator.kinds.modeltier.schema import DEFAULT_PATH, BackendReference, BackendSpec
from weir_operator.kinds.modeltier.service_checks import ServiceFacts
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import (
    BACKEND_LABEL,
    BACKEND_NAMESPACES_ANNOTATION,
    Observed,
    ServiceData,
    SliceData,
)
from weir_router.contract import HostPolicy

MAX_ENDPOINTS = 256
"""Endpoints of one backend, the first by address: each has a breaker in every router. More replicas than that need a
gateway of their own behind one name."""


@dataclass(frozen=True)
class Services:
    """Services and their endpoints, sorted by Service once per compile; both None: unknown."""

    services: Mapping[ObjectName, ServiceData] | None
    slices: Mapping[ObjectName, tuple[SliceData, ...]] | None
    hosts: HostPolicy

    @classmethod
    def of(cls, observed: Observed) -> Services:
        """Those of `observed`."""
        if observed.services is None or observed.slices is None:
            return cls(None, None, observed.hosts)
        found: dict[ObjectName, list[SliceData]] = defaultdict(list)
        for key, it in observed.slices.items():
            found[ObjectName(key.namespace, it.service)].append(it)
        slices = {name: tuple(sorted(them, key=repr)) for name, them in found.items()}
        return cls(observed.services, slices, observed.hosts)

    def facts(self, reference: BackendReference, namespace: str) -> ServiceFacts:
        """Facts about the Service that a tier in `namespace` refers to, without its endpoints."""
        name = ObjectName(reference.namespace or namespace, reference.name)
        facts = ServiceFacts(str(name), namespace, reference.port)
        if self.services is None or self.slices is None:
            return replace(facts, known=False)
        service = self.services.get(name)
        if service is None or not admits(service, name.namespace, namespace):
            return facts
        usable, refused = self._endpoints(name, service, reference.port)
        return replace(
            facts,
            admitted=True,
            external=service.external,
            has_port=reference.port in service.ports,
            has_endpoints=bool(usable),
            forbidden=refused,
        )

    def endpoints(self, reference: BackendReference | None, namespace: str) -> tuple[str, ...]:
        """Those that take requests of a tier in `namespace`, as `address:port`."""
        if reference is None or not self.facts(reference, namespace).has_endpoints:
            return ()
        name = ObjectName(reference.namespace or namespace, reference.name)
        return self._endpoints(name, (self.services or {})[name], reference.port)[0][:MAX_ENDPOINTS]

    def _endpoints(self, name: ObjectName, service: ServiceData, port: int) -> tuple[tuple[str, ...], dict[str, str]]:
        """Those that may be called, and what the others are."""
        if service.external or port not in service.ports:
            return (), {}
        found = listening((self.slices or {}).get(name, ()), service.ports[port])
        refused = {it: what for it in found if (what := forbidden(f"http://{it}", self.hosts)) is not None}
        return tuple(it for it in found if it not in refused), refused


def admits(service: ServiceData, own: str, namespace: str) -> bool:
    """Whether the Service of namespace `own` consents to be called by tiers of `namespace`."""
    if service.labels.get(BACKEND_LABEL) != "true":
        return False
    others = {it.strip() for it in service.annotations.get(BACKEND_NAMESPACES_ANNOTATION, "").split(",")}
    return own == namespace or namespace in others or "*" in others


def listening(slices: tuple[SliceData, ...], port: str) -> tuple[str, ...]:
    """`address:port` of every endpoint that takes requests at the Service's port of this name, each once.

    Those that end take them only where no other does, as kube-proxy has it.
    """
    ready = {_at(address, it.ports[port]) for it in slices if port in it.ports for address in it.ready}
    ending = {_at(address, it.ports[port]) for it in slices if port in it.ports for address in it.serving}
    return tuple(sorted(ready or ending))


def base_url_of(stated: BackendSpec, namespace: str) -> str | None:
    """The URL of a backend's Service by its name; None: it refers to none."""
    reference = stated.backend_ref
    if reference is None:
        return None
    return f"http://{reference.name}.{reference.namespace or namespace}.svc:{reference.port}{path_of(stated)}"


def path_of(stated: BackendSpec) -> str:
    """The path at which the API begins."""
    reference = stated.backend_ref
    path = reference.path if reference is not None else None
    return (DEFAULT_PATH[stated.provider] if path is None else path).rstrip("/")


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
