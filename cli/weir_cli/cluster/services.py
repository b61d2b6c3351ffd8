"""Stand-ins for the Services that tiers refer to, by what the operator has said of them. Used by `cluster.objects` and
`diff.applied`: people who may read a tier may not read Services, and their endpoints change no route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import (
    BACKEND_LABEL,
    BACKEND_NAMESPACES_ANNOTATION,
    Manifest,
    ServiceData,
    SliceData,
)
from weir_operator.problems.problem import Reason

Reference = tuple[ObjectName, int]

_CONSENTS: Mapping[str, Any] = {"labels": {BACKEND_LABEL: "true"}, "annotations": {BACKEND_NAMESPACES_ANNOTATION: "*"}}


Stand = tuple[dict[ObjectName, ServiceData], dict[ObjectName, SliceData]]


def services_there(tiers: Iterable[Manifest]) -> Stand:
    """`services` and `slices` of an `Observed` whose compiler judges these tiers as the operator has."""
    services: dict[ObjectName, ServiceData] = {}
    slices: dict[ObjectName, SliceData] = {}
    for tier in tiers:
        for (name, port), said in _references(tier):
            if Reason.SERVICE_NOT_FOUND_OR_NOT_GRANTED in said:
                continue
            ports = {} if Reason.SERVICE_PORT_NOT_FOUND in said else {port: str(port)}
            if name in services:
                ports |= services[name].ports
            external = Reason.SERVICE_WITHOUT_ENDPOINTS in said
            services[name] = ServiceData(**_CONSENTS, external=external, ports=ports)
            if Reason.NO_ENDPOINTS not in said:
                listens = {text: number for number, text in ports.items()}
                slices[name] = SliceData(name.name, listens, ready=(f"{name.name}.{name.namespace}.svc",))
    return services, slices


def _references(tier: Manifest) -> Iterator[tuple[Reference, str]]:
    """Each Service with its port, and the reason that its backend's status gives."""
    status = tier.status if isinstance(tier.status, Mapping) else {}
    said = {it["name"]: it.get("reason", "") for it in status.get("backends") or ()}
    for backend in tier.spec.get("backends") or ():
        reference = backend.get("backendRef")
        if reference:
            name = ObjectName(reference.get("namespace") or tier.namespace, reference["name"])
            yield (name, reference["port"]), said.get(backend["name"], "")
