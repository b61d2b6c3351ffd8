"""`GET /v1/models` as the SDK of this format reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

_EPOCH = datetime.fromtimestamp(0, UTC).isoformat().replace("+00:00", "Z")  # a routed name has no date of its own


def model(name: str) -> dict[str, Any]:
    """One entry of the list."""
    return {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH}


def listing(names: Sequence[str]) -> dict[str, Any]:
    """The whole list, unpaged: a policy has few names."""
    return {
        "data": [model(name) for name in names],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
