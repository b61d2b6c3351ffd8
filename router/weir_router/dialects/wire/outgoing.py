"""Helpers for all formats: a request body as bytes, and counts from untrusted JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.dialects.usage import MAX_TOKENS
from weir_router.errors import BadRequest

_encode = msgspec.json.Encoder().encode


def body_of(fields: dict[str, Any]) -> bytes:
    """The upstream request's body; `msgspec.Raw` values go byte for byte. Raises `BadRequest` for too deep nesting."""
    try:
        return _encode(fields)
    except RecursionError:  # it could be read, but is too deep for the rest of the stack
        raise BadRequest("The request is nested too deeply to be sent on.") from None


def count(fields: dict[str, Any], name: str) -> int:
    """A number of tokens; 0 for an invalid one, since a slip in accounting must not fail an answer."""
    value = fields.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value <= MAX_TOKENS else 0
