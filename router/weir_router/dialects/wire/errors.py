"""The common part of an error for a caller. Used by the formats' `errors`."""

from __future__ import annotations

from typing import Any

from weir_router.errors import UpstreamRefused, WeirError


def detail(error: WeirError, kind: str) -> dict[str, Any]:
    """The error object: the message, the failed part and the attempts. An upstream's own kind goes first."""
    if isinstance(error, UpstreamRefused) and error.upstream_kind:
        kind = error.upstream_kind
    return {
        "message": error.message,
        "type": kind,
        "code": error.code,
        "source": error.source.value,
        "attempts": error.trail,
    }
