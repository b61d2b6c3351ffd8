"""The response object of this format, with every field that its clients demand, empty or not. Used by `answers`,
`items` and `errors`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from weir_router.dialects.ask import Ask
from weir_router.dialects.neutral.answer import FILTER, LENGTH, Usage
from weir_router.dialects.neutral.ids import tool_id
from weir_router.dialects.openai_responses.namespaces import Named

MAX_OUTPUT_TOKENS, CONTENT_FILTER = "max_output_tokens", "content_filter"
"""Reasons of an incomplete response."""

INCOMPLETE = {LENGTH: MAX_OUTPUT_TOKENS, FILTER: CONTENT_FILTER}
"""These reasons, by the neutral stop reason."""

_ECHOED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""Fields of a request that its response repeats, with their values if the request has none. Long ones of a large
request are not kept, and then empty."""

MAX_ID = 48
"""Characters of a response's id behind its prefix: ids of items are made of it, and OpenAI takes 64 of those."""

_TIERS = {"standard": "default", "priority": "priority"}


def empty(id: str, model: str, created: int) -> dict[str, Any]:
    """A response in progress to a request without options."""
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        **_ECHOED,
        "service_tier": "default",
        "store": False,
        "usage": None,
    }


def begun(ask: Ask, id: str, model: str, created: int, tier: str | None) -> dict[str, Any]:
    """A response in progress: it repeats the caller's options."""
    out = empty(id, model, created)
    body = ask.body
    for name in _ECHOED:
        if body.get(name) is not None:
            out[name] = body[name]
    out["service_tier"] = _TIERS.get(tier or "", "default")
    return out


def ended(
    response: dict[str, Any], output: list[dict[str, Any]], stop: str, usage: Usage, created: int
) -> dict[str, Any]:
    """The response with its output: completed, or incomplete with the reason."""
    out = {**response, "status": "completed", "output": output, "usage": usage_shown(usage)}
    reason = INCOMPLETE.get(stop)
    if reason is None:
        out["completed_at"] = created
    else:
        out["status"], out["incomplete_details"] = "incomplete", {"reason": reason}
    return out


def usage_shown(usage: Usage) -> dict[str, Any]:
    """Neutral usage in this format."""
    details: dict[str, Any] = {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write}
    return {
        "input_tokens": usage.input,
        "input_tokens_details": details,
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def response_id(given: str) -> str:
    """The id of a response, with this format's prefix. A long one becomes its hash."""
    made = tool_id(given).removeprefix("resp_") or "unknown"
    return f"resp_{made if len(made) <= MAX_ID else sha256(made.encode()).hexdigest()[:MAX_ID]}"


def item_id(prefix: str, response: str, index: int) -> str:
    """The id of an item, e.g. `msg_a1b2_0` for the first of `resp_a1b2`."""
    return f"{prefix}_{response.removeprefix('resp_')}_{index}"


def text_part(text: str) -> dict[str, Any]:
    """A part of a message: text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> dict[str, Any]:
    """A part of a message: the model's reason for not answering."""
    return {"type": "refusal", "refusal": text}


def message(id: str, parts: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """An item: a message of the model."""
    return {"id": id, "type": "message", "status": status, "role": "assistant", "content": parts}


def reasoning(id: str, text: str, blob: str) -> dict[str, Any]:
    """An item: reasoning in words, with its state if there is one."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    out: dict[str, Any] = {"id": id, "type": "reasoning", "summary": summary}
    return {**out, "encrypted_content": blob} if blob else out


def call(id: str, call_id: str, named: Named, arguments: str, status: str, *, custom: bool) -> dict[str, Any]:
    """An item: a call of a function or of a custom tool."""
    out = {
        "id": id,
        "type": "custom_tool_call" if custom else "function_call",
        "status": status,
        "call_id": call_id,
        "name": named.name,
        "input" if custom else "arguments": arguments,
    }
    return {**out, "namespace": named.namespace} if named.namespace else out
