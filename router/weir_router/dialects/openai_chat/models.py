"""`GET /v1/models` as the SDK of this format reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def model(name: str) -> dict[str, Any]:
    """One entry of the list."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "weir"}


def listing(names: Sequence[str]) -> dict[str, Any]:
    """The whole list, unpaged: a policy has few names."""
    return {"object": "list", "data": [model(name) for name in names]}
