"""Objects as the API server sends them: JSON, and where each one is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

JSON = Mapping[str, Any]
"""An object as the API server sends it."""


class ObjectName(NamedTuple):
    """The namespace and name of an object, for example `llm/budget`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def key(body: JSON) -> ObjectName:
    """The namespace and name of the object; the namespace is empty for cluster-wide kinds, such as Namespace."""
    metadata = body["metadata"]
    return ObjectName(metadata.get("namespace", ""), metadata["name"])
