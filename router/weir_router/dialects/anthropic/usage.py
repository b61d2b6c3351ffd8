"""Token usage as an upstream of this format reports it."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.usage import Usage
from weir_router.dialects.wire.outgoing import count

FIELDS = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "output_tokens",
    "output_tokens_details",
    "service_tier",
)
"""Fields of usage that are read. Others are not kept: a stream could bring ever new ones."""


def usage_of(payload: dict[str, Any]) -> Usage | None:
    """The answer's `usage`. Anthropic counts cached input beside `input_tokens`; here it is part of the input."""
    usage = payload.get("usage")
    if not isinstance(usage, dict):
        return None
    return counted(usage)


def counted(usage: dict[str, Any]) -> Usage:
    """The counts of a `usage` object."""
    cached, written = count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens")
    lifetimes, long = usage.get("cache_creation"), 0
    if isinstance(lifetimes, dict):
        long = count(lifetimes, "ephemeral_1h_input_tokens")
        written = max(written, long + count(lifetimes, "ephemeral_5m_input_tokens"))
    details = usage.get("output_tokens_details")
    return Usage(
        input=count(usage, "input_tokens") + cached + written,
        cached_input=cached,
        cache_write=written,
        output=count(usage, "output_tokens"),
        reasoning=count(details, "thinking_tokens") if isinstance(details, dict) else 0,
        cache_write_long=long,
    )
