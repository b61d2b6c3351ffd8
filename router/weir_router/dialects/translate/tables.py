"""The tables of the translation: stop reasons, effort, service tiers, usage, and the defaults that one dialect needs.

Read by the other modules of this package. Each is also a table in `docs/translation.md`.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.translate.fields import as_count, as_dict

DEFAULT_MAX_TOKENS = 8192
"""Anthropic requires `max_tokens`, OpenAI does not. 8192 is the smallest output limit among Claude models from 3.5
on, so no model refuses it; a provider that knows its backend's limit can do better."""

EFFORT_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 20480, "max": 23808}
"""`reasoning_effort` as `thinking.budget_tokens`. The largest plus `DEFAULT_MAX_TOKENS` is 32,000, the output limit of
Claude Opus 4, the smallest among the models that think."""

WIDELY_KNOWN_EFFORTS = ("low", "medium", "high")
"""The efforts that every reasoning model knows: a budget becomes the highest of them that it pays for."""

STOP_TO_OPENAI = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "stop",
    "model_context_window_exceeded": "length",
}
"""Anthropic's `stop_reason` as `finish_reason`; an unknown one becomes `stop`."""

STOP_TO_ANTHROPIC = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""OpenAI's `finish_reason` as `stop_reason`; an unknown one becomes `end_turn`."""

TIER_TO_ANTHROPIC = {"auto": "auto", "default": "standard_only"}
"""Request `service_tier`; the others buy something of OpenAI's own and are dropped."""

TIER_TO_OPENAI = {"auto": "auto", "standard_only": "default"}
"""Request `service_tier`."""

USED_TIER_TO_OPENAI = {"standard": "default", "priority": "priority"}
"""`usage.service_tier`, as an answer's `service_tier`."""

USED_TIER_TO_ANTHROPIC = {"default": "standard", "priority": "priority", "fast": "priority"}
"""An answer's `service_tier`, as `usage.service_tier`."""


def effort_of(budget: int) -> str:
    """`thinking.budget_tokens` as `reasoning_effort`."""
    paid_for = [effort for effort in WIDELY_KNOWN_EFFORTS if EFFORT_BUDGETS[effort] <= budget]
    return paid_for[-1] if paid_for else WIDELY_KNOWN_EFFORTS[0]


def stop_to_anthropic(finish: str, *, tools: bool, refused: bool) -> str:
    """`finish_reason` as `stop_reason`, made to agree with the content: some servers end tool calls with `stop`."""
    if refused:
        return "refusal"
    stop = STOP_TO_ANTHROPIC.get(finish, "end_turn")
    if stop in ("end_turn", "tool_use"):
        return "tool_use" if tools else "end_turn"
    return stop


def usage_to_openai(usage: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's usage as OpenAI's: `prompt_tokens` includes what was read from and written to the cache."""
    read, written = as_count(usage.get("cache_read_input_tokens")), as_count(usage.get("cache_creation_input_tokens"))
    prompt, output = as_count(usage.get("input_tokens")) + read + written, as_count(usage.get("output_tokens"))
    thinking = as_count(as_dict(usage.get("output_tokens_details")).get("thinking_tokens"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }


def usage_to_anthropic(usage: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's usage as Anthropic's: `input_tokens` excludes what was read from and written to the cache."""
    details = as_dict(usage.get("prompt_tokens_details"))
    read, written = as_count(details.get("cached_tokens")), as_count(details.get("cache_write_tokens"))
    reasoning = as_count(as_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    return {
        "input_tokens": max(as_count(usage.get("prompt_tokens")) - read - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": as_count(usage.get("completion_tokens")),
        "output_tokens_details": {"thinking_tokens": reasoning},
    }
