"""`GET /v1/models`: the names that this caller may ask for, in the shape that the caller's SDK reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from weir_router.contract import Dialect

_EPOCH = datetime.fromtimestamp(0, UTC).isoformat().replace("+00:00", "Z")  # a routed name has no age of its own


def model(name: str, dialect: Dialect) -> dict[str, Any]:
    """One entry."""
    if dialect is Dialect.ANTHROPIC:
        return {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH}
    return {"id": name, "object": "model", "created": 0, "owned_by": "weir"}


def listing(names: Sequence[str], dialect: Dialect) -> dict[str, Any]:
    """The whole list, unpaged: a policy has few names."""
    data = [model(name, dialect) for name in names]
    if dialect is Dialect.ANTHROPIC:
        return {
            "data": data,
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }
    return {"object": "list", "data": data}
