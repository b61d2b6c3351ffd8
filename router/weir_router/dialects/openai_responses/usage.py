"""Token usage as an upstream of this format reports it."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.usage import Usage
from weir_router.dialects.wire.outgoing import count

LONG = "ttl_12h_tokens"
"""Name of the tokens that are written to OpenAI's cache for the longer time, among those of all lifetimes."""


def usage_of(payload: dict[str, Any]) -> Usage | None:
    """The answer's `usage`; None if there is none."""
    usage = payload.get("usage")
    return counted(usage) if isinstance(usage, dict) else None


def counted(usage: dict[str, Any]) -> Usage:
    """The counts of a `usage` object."""
    given, made = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    cached = written = long = 0
    if isinstance(given, dict):
        cached, written = count(given, "cached_tokens"), count(given, "cache_write_tokens")
        lifetimes = given.get("cache_write_tokens_details")
        long = count(lifetimes, LONG) if isinstance(lifetimes, dict) else 0
    return Usage(
        input=count(usage, "input_tokens"),
        cached_input=cached,
        cache_write=max(written, long),
        output=count(usage, "output_tokens"),
        reasoning=count(made, "reasoning_tokens") if isinstance(made, dict) else 0,
        cache_write_long=long,
    )
