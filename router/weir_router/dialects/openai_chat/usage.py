"""Token usage as an upstream of this format reports it."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.usage import Usage
from weir_router.dialects.wire.outgoing import count


def usage_of(payload: dict[str, Any]) -> Usage | None:
    """The answer's `usage`, in the variants of OpenAI, DeepSeek, xAI, OpenRouter and vLLM; None if there is none."""
    usage = payload.get("usage")
    return counted(usage) if isinstance(usage, dict) else None


def counted(usage: dict[str, Any]) -> Usage:
    prompt_details = _object(usage, "prompt_tokens_details")
    given, output = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    details = _object(usage, "completion_tokens_details")
    reasoning = count(details, "reasoning_tokens") if details else 0
    if reasoning and count(usage, "total_tokens") == given + output + reasoning:
        output += reasoning  # xAI counts them separately
    cached = write = 0
    if prompt_details:
        cached, write = count(prompt_details, "cached_tokens"), count(prompt_details, "cache_write_tokens")
    if not cached and "prompt_cache_hit_tokens" in usage:
        cached = count(usage, "prompt_cache_hit_tokens")
    return Usage(given, cached, write, output, reasoning)


def _object(fields: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = fields.get(name)
    return value if isinstance(value, dict) else None
