"""Token usage as an upstream of this format reports it."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.usage import Usage
from weir_router.dialects.wire.outgoing import count


def usage_of(payload: dict[str, Any]) -> Usage | None:
    """The answer's `usage`. Anthropic counts cached input beside `input_tokens`; here it is part of the input."""
    usage = payload.get("usage")
    if not isinstance(usage, dict):
        return None
    cached, written = count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens")
    return Usage(
        input=count(usage, "input_tokens") + cached + written,
        cached_input=cached,
        cache_write=written,
        output=count(usage, "output_tokens"),
    )
