"""Errors for callers of this format: the body of an HTTP answer, and the last event of a broken stream."""

from __future__ import annotations

import msgspec

from weir_router.dialects.base import Place
from weir_router.dialects.wire.errors import detail
from weir_router.errors import WeirError

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_encode = msgspec.json.encode


def body(error: WeirError, request_id: str) -> bytes:
    """The error as JSON, e.g. `{"error": {"message": ..., "type": "rate_limit_error", ...}}`."""
    kind = _KINDS.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return _encode({"error": {**detail(error, kind), "param": error.param, "request_id": request_id}})


def event(error: WeirError, request_id: str, place: Place | None = None) -> bytes:
    """The SSE event that ends a broken stream; the SDK raises it as an APIError."""
    return b"data: " + body(error, request_id) + b"\n\n"
