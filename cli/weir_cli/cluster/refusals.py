"""Refusals of the API server as people read them: its own words, or the right that is missing. PURE."""

from __future__ import annotations

import json
import re
from typing import Any

_FORBIDDEN = re.compile(
    r'cannot (?P<verb>\S+) (?:resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"|path "(?P<path>[^"]+)")'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
"""The sentence of an API server about a request that its authoriser refuses."""

FORBIDDEN = 403


def said(error: Any) -> str:
    """The API server's own words, of which the client makes a page."""
    try:
        return str(json.loads(error.body)["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return f"{error.status} {error.reason}"


def silence(error: Any) -> str:
    """Why the API server does not answer, with its place where the client says it: refused, unknown name, TLS."""
    pool, cause = getattr(error, "pool", None), getattr(error, "reason", None) or error
    where = f" at {pool.host}:{pool.port}" if pool is not None else ""
    words = str(cause).partition("): ")[2] or str(cause) or type(error).__name__  # urllib3 begins with its connection
    return f"the API server{where} does not answer: {words}"


def right(verb: str, resource: str, group: str = "", namespace: str = "") -> str:
    """A right in the words of `kubectl auth can-i`, e.g. `list deployments.apps in namespace weir-system`."""
    named, _, part = resource.partition("/")
    full = (f"{named}.{group}" if group else named) + (f"/{part}" if part else "")
    return f"{verb} {full} in namespace {namespace}" if namespace else f"{verb} {full} cluster-wide"


def missing(error: Any) -> str | None:
    """The right that we lack, e.g. `list deployments.apps in namespace weir-system`; None: it is another error."""
    found = _FORBIDDEN.search(said(error)) if error.status == FORBIDDEN else None
    if found is None:
        return None
    if found["path"]:
        return f"{found['verb']} {found['path']}"
    return right(found["verb"], found["resource"], found["group"], found["namespace"] or "")


def why(error: Any) -> str:
    """The reason of a failure: `you may not VERB RESOURCE in namespace NAMESPACE`, or what the API server answers."""
    lacking = missing(error)
    return f"the API server answers: {said(error)}" if lacking is None else f"you may not {lacking}"
