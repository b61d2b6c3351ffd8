"""Objects as the API server sends them: JSON, and where each one is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

JSON = Mapping[str, Any]
"""An object as the API server sends it."""


class ObjectName(NamedTuple):
    """Where an object of a known kind is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def key(body: JSON) -> ObjectName:
    """Where the object is; without a namespace if it is in none, as a Namespace."""
    metadata = body["metadata"]
    return ObjectName(metadata.get("namespace", ""), metadata["name"])
