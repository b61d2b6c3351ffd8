"""Errors for callers of this format: the body of an HTTP answer, and the last event of a broken stream.

The event is `response.failed`. It holds the error twice: in `response.error`, where Codex reads it, and beside the
response, where the openai SDK finds it and raises it as an APIError.
"""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.dialects.base import Place
from weir_router.dialects.openai_chat.errors import body
from weir_router.dialects.openai_responses.shape import empty
from weir_router.errors import CONTEXT_EXCEEDED, WeirError

__all__ = ["body", "event"]

NO_ID = "resp_unknown"
"""Id of a response that failed before an upstream gave one."""

_CODES = {429: "rate_limit_exceeded"}
_KEPT = (CONTEXT_EXCEEDED, "insufficient_quota", "rate_limit_exceeded", "invalid_prompt")
"""Codes that clients of this format know: they shorten the conversation, give up, or wait."""

_encode = msgspec.json.encode


def event(error: WeirError, request_id: str, place: Place | None) -> bytes:
    """The SSE event that ends a broken stream; a stream that has not begun begins before it."""
    shown = msgspec.json.decode(body(error, request_id))["error"]
    code = error.code if error.code in _KEPT else _CODES.get(error.status, "server_error")
    message = error.message
    if code == "rate_limit_exceeded" and error.retry_after is not None:
        message = f"{message} Please try again in {error.retry_after:g}s."  # the words in which Codex looks for it
    known = place or Place(NO_ID, "", 0, -1)
    failed = {
        **empty(known.id, known.model, known.created),
        "status": "failed",
        "error": {"code": code, "message": message},
    }
    before = b""
    number = known.number + 1
    if place is None:
        created = {"response": {**failed, "status": "in_progress", "error": None}}
        before = _event("response.created", number, created)
        number += 1
    return before + _event("response.failed", number, {"response": failed, "error": shown})


def _event(kind: str, number: int, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, "sequence_number": number, **data}))
