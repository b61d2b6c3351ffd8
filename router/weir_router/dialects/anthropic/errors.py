"""Errors for callers of this format: the body of an HTTP answer, and the last event of a broken stream."""

from __future__ import annotations

import msgspec

from weir_router.dialects.base import Place
from weir_router.dialects.wire.errors import detail
from weir_router.errors import CONTEXT_EXCEEDED, WeirError

TOO_LONG = "prompt is too long"
"""Anthropic's words, by which its clients know that they must shorten the conversation."""

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

_encode = msgspec.json.encode


def body(error: WeirError, request_id: str) -> bytes:
    """The error as JSON, e.g. `{"type": "error", "error": {"type": "rate_limit_error", ...}, "request_id": ...}`."""
    kind = _KINDS.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    shown = detail(error, kind)
    if error.code == CONTEXT_EXCEEDED and TOO_LONG not in error.message.lower():
        shown["message"] = f"{TOO_LONG}: {error.message}"
    return _encode({"type": "error", "error": shown, "request_id": request_id})


def event(error: WeirError, request_id: str, place: Place | None = None) -> bytes:
    """The SSE event that ends a broken stream; the SDK raises it as an APIError."""
    return b"event: error\ndata: " + body(error, request_id) + b"\n\n"
