"""The API server itself, for a doctor: version, clock, and the kinds that it serves. Every user may see these."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from kubernetes import client

from weir_cli.doctor.reads import get, or_none
from weir_operator.kinds import KINDS
from weir_operator.kinds.crdgen import crd
from weir_operator.schemas import GROUP, VERSION


def version(api_client: client.ApiClient) -> tuple[int, int]:
    """Version of Kubernetes."""
    found = json.loads(get(api_client, "/version").data)
    return int(found["major"]), int("".join(filter(str.isdigit, found["minor"])) or 0)


def skew(api_client: client.ApiClient) -> float:
    """Difference of the clocks in seconds, by the Date of an answer, which is whole seconds."""
    return time.time() - parsedate_to_datetime(get(api_client, "/version").headers["Date"]).timestamp()


def served(api_client: client.ApiClient) -> frozenset[str]:
    """The names of the CRDs that are served in our version, e.g. `modeltiers.weir.dev`."""
    found = or_none(lambda: get(api_client, f"/apis/{GROUP}/{VERSION}"))
    resources = json.loads(found.data)["resources"] if found is not None else ()
    return frozenset(f"{it['name']}.{GROUP}" for it in resources if "/" not in it["name"])


def lacking(api_client: client.ApiClient) -> tuple[str, ...]:
    """Fields that this command knows, and the served kinds do not."""
    found = or_none(lambda: get(api_client, f"/openapi/v3/apis/{GROUP}/{VERSION}"))
    schemas = json.loads(found.data)["components"]["schemas"] if found is not None else {}
    there = {
        group["kind"]: schema
        for schema in schemas.values()
        for group in schema.get("x-kubernetes-group-version-kind") or ()
    }
    return tuple(
        f"{kind.plural}.{path}"
        for kind in KINDS
        if kind.kind in there
        for path in sorted(_paths(_spec_of(crd(kind))) - _paths(_spec(there[kind.kind])))
    )


def _spec_of(body: Mapping[str, Any]) -> Any:
    """The schema of a CRD's spec, of our version."""
    versions = {it["name"]: it for it in body["spec"]["versions"]}
    return _spec(versions[VERSION]["schema"]["openAPIV3Schema"])


def _spec(schema: Mapping[str, Any]) -> Any:
    return (schema.get("properties") or {}).get("spec", {})


def _paths(schema: Mapping[str, Any], path: str = "spec") -> set[str]:
    """Every field's, as far down as there are any."""
    found = set()
    for name, child in (schema.get("properties") or {}).items():
        found |= {f"{path}.{name}", *_paths(child, f"{path}.{name}")}
    return found | (_paths(schema["items"], path) if isinstance(schema.get("items"), Mapping) else set())
