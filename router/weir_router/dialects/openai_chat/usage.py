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
    """The counts of a `usage` object."""
    prompt_details = _object(usage, "prompt_tokens_details")
    given, output = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    details = _object(usage, "completion_tokens_details")
    reasoning = count(details, "reasoning_tokens") if details else 0
    total = usage.get("total_tokens")
    if type(total) is int and total > given + output:
        given, output, reasoning = _from_total(usage, total, given, output, reasoning)
    cached = write = 0
    if prompt_details:
        cached, write = count(prompt_details, "cached_tokens"), count(prompt_details, "cache_write_tokens")
    if not cached and "prompt_cache_hit_tokens" in usage:
        cached = count(usage, "prompt_cache_hit_tokens")
    return Usage(given, cached, write, output, reasoning)


def _from_total(usage: dict[str, Any], total: int, given: int, output: int, reasoning: int) -> tuple[int, int, int]:
    """Prompt, output and reasoning tokens of a server whose total has tokens that stand nowhere else."""
    left = total - given - output
    if "prompt_tokens" not in usage:
        return left, output, reasoning
    if reasoning in (0, left):
        return given, output + left, left  # thought: xAI counts it beside the completion, Gemini in the total only
    return given, output, reasoning


def _object(fields: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = fields.get(name)
    return value if isinstance(value, dict) else None
