"""An object as the API server sends it (JSON) → what the compiler takes. Pure; called by `observe.gather`.

Nothing is judged: the API server has checked envelopes against the CRDs, and specs are the compiler's. Fields
that the compiler does not read are dropped or do not compare, so that a write of a status or of a foreign annotation
is no change.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime

from weir_operator.kube.objects import JSON, key
from weir_operator.observe.observed import (
    API_KEY_HASH,
    API_KEY_LABEL,
    CREDENTIAL_LABEL,
    Manifest,
    NamespaceData,
    SecretData,
    ServiceData,
    SliceData,
    kept,
)
from weir_operator.observe.tenancy import accepted
from weir_operator.schemas import GROUP

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
"""Label of an EndpointSlice with the name of its Service."""

OWN_PREFIX = f"{GROUP}/"
"""Prefix of the labels and annotations that Weir reads."""


def manifest(kind: str, body: JSON) -> Manifest:
    """An object of one of our kinds. `kind` is given: items of a list need not say theirs."""
    metadata = body["metadata"]
    return Manifest(
        kind,
        *key(body),
        spec=body.get("spec", {}),
        generation=metadata.get("generation", 0),
        created=seconds(metadata.get("creationTimestamp")),
        uid=metadata.get("uid", ""),
        version=metadata.get("resourceVersion", ""),
        status=body.get("status"),
    )


def secret(body: JSON) -> SecretData:
    """A Secret, its values decoded.

    Of labels and annotations only Weir's own: kubectl keeps a copy of a whole applied Secret, values included, in an
    annotation, and annotations show in a repr.
    """
    metadata = body["metadata"]
    return SecretData(
        labels=_own(metadata.get("labels")),
        annotations=_own(metadata.get("annotations")),
        data=kept(_decoded(body)),
        created=seconds(metadata.get("creationTimestamp")),
    )


def _decoded(body: JSON) -> dict[str, bytes]:
    data = body.get("data") or {}
    labels = body["metadata"].get("labels") or {}
    if labels.get(API_KEY_LABEL) == "true" and labels.get(CREDENTIAL_LABEL) != "true":
        data = {name: text for name, text in data.items() if name == API_KEY_HASH}
    return {name: base64.b64decode(text) for name, text in data.items()}


def service(body: JSON) -> ServiceData:
    """A Service, as far as it says where it is."""
    metadata, spec = body["metadata"], body.get("spec") or {}
    return ServiceData(
        labels=_own(metadata.get("labels")),
        annotations=_own(metadata.get("annotations")),
        external=spec.get("type") == "ExternalName",
        addresses=tuple(sorted(_addresses(body, spec))),
        ports={
            it["port"]: it.get("name") or "" for it in spec.get("ports") or () if it.get("protocol", "TCP") == "TCP"
        },
    )


def _addresses(body: JSON, spec: JSON) -> set[str]:
    balancer = (body.get("status") or {}).get("loadBalancer") or {}
    given = {it["ip"] for it in balancer.get("ingress") or () if it.get("ip")}
    return {*(spec.get("clusterIPs") or ()), *(spec.get("externalIPs") or ()), *given} - {"None"}


def endpoint_slice(body: JSON) -> SliceData:
    """An EndpointSlice. An endpoint that does not say whether it is ready is (API conventions)."""
    ready, serving = [], []
    for endpoint in body.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        address = endpoint["addresses"][0]  # the others, if any, mean the same endpoint
        if conditions.get("ready") in (True, None):
            ready.append(address)
        elif conditions.get("serving") and conditions.get("terminating"):
            serving.append(address)
    by_name = body.get("addressType") == "FQDN"  # which no proxy follows, and which could name anything
    return SliceData(
        service=(body["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL, ""),
        ports={it.get("name") or "": it["port"] for it in body.get("ports") or () if it.get("port")},
        ready=() if by_name else tuple(sorted(ready)),
        serving=() if by_name else tuple(sorted(serving)),
    )


def files(body: JSON) -> Mapping[str, bytes]:
    """The content of a published ConfigMap or Secret, by file name."""
    data, binary = body.get("data") or {}, body.get("binaryData") or {}
    if "type" in body:  # of a Secret all values are base64
        data, binary = {}, data
    texts = {name: text.encode() for name, text in data.items()}
    return texts | {name: base64.b64decode(text) for name, text in binary.items()}


def labels(body: JSON) -> Mapping[str, str]:
    """All labels of an object."""
    return dict(body["metadata"].get("labels") or {})


def namespace(body: JSON) -> NamespaceData:
    """A Namespace, with Weir's own annotation alone."""
    return NamespaceData(labels(body), accepted(body["metadata"].get("annotations") or {}))


def seconds(timestamp: str | None) -> float:
    """`2026-11-05T09:30:00Z` in seconds since the epoch; 0 for none."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def _own(texts: Mapping[str, str] | None) -> dict[str, str]:
    return {name: text for name, text in (texts or {}).items() if name.startswith(OWN_PREFIX)}
