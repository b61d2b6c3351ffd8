"""Requests to count tokens: `POST /v1/responses/input_tokens`."""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.dialects.ask import Ask
from weir_router.dialects.counting import Counting
from weir_router.dialects.openai_responses import request
from weir_router.dialects.openai_responses.failures import TABLE
from weir_router.dialects.openai_responses.history import TOOLS_ITEM

FIELDS = frozenset(
    {
        "conversation", "input", "instructions", "model", "parallel_tool_calls", "personality", "previous_response_id",
        "reasoning", "text", "tool_choice", "tools", "truncation",
    }
)  # fmt: skip
"""Fields of the SDK's `responses.input_tokens.count`."""


def _unread(ask: Ask) -> list[bytes]:
    parts = [bytes(ask.raw[name]) for name in ("tools", "text") if name in ask.raw]
    given = ask.body.get("input")
    for item in given if isinstance(given, list) else ():
        if item.get("type") == TOOLS_ITEM:
            parts.append(msgspec.json.encode(item.get("tools")))
        elif isinstance(name := item.get("name"), str):
            parts.append(name.encode("utf-8", "replace"))
    return parts


def _answer(tokens: int) -> dict[str, Any]:
    return {"object": "response.input_tokens", "input_tokens": tokens}


COUNTING = Counting("/input_tokens", request.read, FIELDS, _unread, _answer, TABLE)
