"""Requests to count tokens: `POST /v1/messages/count_tokens`."""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.dialects.anthropic import request
from weir_router.dialects.anthropic.failures import TABLE
from weir_router.dialects.ask import Ask
from weir_router.dialects.counting import Counting

FIELDS = frozenset(
    {
        "billing_policy", "cache_control", "compaction", "context_management", "mcp_servers", "messages", "model",
        "output_config", "output_format", "speed", "system", "thinking", "tool_choice", "tools",
    }
)  # fmt: skip
"""Fields of the SDK's `messages.count_tokens`, but for ids of the caller's account."""

_SCHEMAS = ("tools", "output_config", "output_format")
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")  # a type may be anything, also what has no hash


def _read(body: bytes, headers: dict[str, str]) -> Ask:
    return request.read(body, headers, limited=False)


def _unread(ask: Ask) -> list[bytes]:
    parts = [bytes(ask.raw[name]) for name in _SCHEMAS if name in ask.raw]
    for message in ask.body["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            parts += [_call(block) for block in content if block.get("type") in _CALLS]
    return parts


def _call(block: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"name": block.get("name"), "input": block.get("input")})


COUNTING = Counting("/count_tokens", _read, FIELDS, _unread, lambda tokens: {"input_tokens": tokens}, TABLE)
