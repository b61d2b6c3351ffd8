"""From an error to what the caller sees: one table per dialect, as an HTTP answer or as the last event of a stream.

The SDKs retry by themselves, which would multiply Weir's own attempts: every error says `x-should-retry`, true only
where waiting `Retry-After` can help.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from weir_router.contract import Dialect
from weir_router.errors import MAX_RETRY_AFTER, UpstreamRefused, WeirError

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_ANTHROPIC_TYPES = {
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


def headers(error: WeirError) -> dict[str, str]:
    """Answer headers that tell an SDK what to do next."""
    result = {"x-should-retry": "true" if error.retry_helps else "false", "x-weir-error-source": error.source.value}
    if error.retry_after is not None:
        result["retry-after"] = str(math.ceil(min(error.retry_after, MAX_RETRY_AFTER)))
    return result


def body(error: WeirError, dialect: Dialect, request_id: str) -> bytes:
    """The error in the caller's dialect, with who failed and what was tried."""
    return _encode(_content(error, dialect, request_id))


def event(error: WeirError, dialect: Dialect, request_id: str) -> bytes:
    """The SSE event that ends a broken stream; both SDKs raise it as an APIError."""
    name = b"event: error\n" if dialect is Dialect.ANTHROPIC else b""
    return name + b"data: " + body(error, dialect, request_id) + b"\n\n"


def _content(error: WeirError, dialect: Dialect, request_id: str) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "message": error.message,
        "type": _kind(error, dialect),
        "code": error.code,
        "source": error.source.value,
        "attempts": error.trail,
    }
    if dialect is Dialect.ANTHROPIC:
        return {"type": "error", "error": detail, "request_id": request_id}
    return {"error": {**detail, "param": error.param, "request_id": request_id}}


def _kind(error: WeirError, dialect: Dialect) -> str:
    if isinstance(error, UpstreamRefused) and error.upstream_kind:
        return error.upstream_kind
    if dialect is Dialect.ANTHROPIC:
        return _ANTHROPIC_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return _OPENAI_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
