"""Whole answers, either way. Used by the package's `response`; the streams share its small parts.

Answers come from upstreams: what is missing is left out, and only what makes the answer useless is `MALFORMED`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.dialects.ask import Ask
from weir_router.dialects.translate.fields import as_dict, as_list, as_text
from weir_router.dialects.translate.tables import (
    STOP_TO_OPENAI,
    USED_TIER_TO_ANTHROPIC,
    USED_TIER_TO_OPENAI,
    stop_to_anthropic,
    usage_to_anthropic,
    usage_to_openai,
)
from weir_router.dialects.translate.turns import tool_id
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.relay import encode

NO_ID_OPENAI = "chatcmpl-unknown"
"""The id of an answer whose upstream gave none: the SDKs require one."""

NO_ID_ANTHROPIC = "msg_unknown"
"""As `NO_ID_OPENAI`."""


def wants_thinking(ask: Ask) -> bool:
    """Whether an Anthropic caller asked to see thought.

    Others get none: in an answer of an OpenAI model it is unsigned, and Anthropic would refuse it in the history.
    """
    kind = as_dict(ask.body.get("thinking")).get("type")
    return isinstance(kind, str) and kind != "disabled"


def reasoning_of(message: dict[str, Any]) -> str:
    """The reasoning in a message or delta, under either of the names that servers of OpenAI's dialect use."""
    return as_text(message.get("reasoning_content")) or as_text(message.get("reasoning"))


def text_of(content: Any) -> str:
    """Content as text: a string, or the text parts that some servers send."""
    if isinstance(content, list):
        return "".join(as_text(as_dict(part).get("text")) for part in content)
    return as_text(content)


def call_id(given: Any, answer: str, position: int) -> str:
    """A tool call's id for an Anthropic caller; made of the answer's where there is none, since it must be unique in a
    conversation."""
    return tool_id(as_text(given) or f"{answer}_{position}")


def refusal_of(holder: dict[str, Any]) -> str:
    """Anthropic's explanation of a refusal."""
    return as_text(as_dict(holder.get("stop_details")).get("explanation"))


def to_openai(payload: dict[str, Any], created: int) -> dict[str, Any]:
    """An Anthropic message as a chat completion."""
    stop = as_text(payload.get("stop_reason"))
    if not stop:
        raise malformed("an answer without a stop_reason")
    message = _message(as_list(payload.get("content")), as_text(payload.get("id")))
    if stop == "refusal" and (refusal := refusal_of(payload)):
        message["refusal"] = refusal
    finish = STOP_TO_OPENAI.get(stop, "stop")
    usage = as_dict(payload.get("usage"))
    out = {
        "id": as_text(payload.get("id")) or NO_ID_OPENAI,
        "object": "chat.completion",
        "created": created,
        "model": as_text(payload.get("model")),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage_to_openai(usage),
    }
    if tier := USED_TIER_TO_OPENAI.get(as_text(usage.get("service_tier"))):
        out["service_tier"] = tier
    return out


def _message(content: list[Any], answer: str) -> dict[str, Any]:
    blocks = [as_dict(block) for block in content]
    texts = [as_text(block.get("text")) for block in blocks if block.get("type") == "text"]
    thoughts = [as_text(block.get("thinking")) for block in blocks if block.get("type") == "thinking"]
    uses = [block for block in blocks if block.get("type") == "tool_use"]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or None, "refusal": None}
    if thought := "".join(thoughts):
        message["reasoning_content"] = thought
    if uses:
        message["tool_calls"] = [_tool_call(use, answer, position) for position, use in enumerate(uses)]
    return message


def _tool_call(use: dict[str, Any], answer: str, position: int) -> dict[str, Any]:
    if not (name := as_text(use.get("name"))):
        raise malformed("a tool_use block without a name")
    arguments = encode(as_dict(use.get("input"))).decode()
    function = {"name": name, "arguments": arguments}
    return {"id": call_id(use.get("id"), answer, position), "type": "function", "function": function}


def to_anthropic(payload: dict[str, Any], *, thinking: bool) -> dict[str, Any]:
    """A chat completion as an Anthropic message."""
    choices = as_list(payload.get("choices"))
    choice = as_dict(choices[0]) if choices else {}
    finish = as_text(choice.get("finish_reason"))
    if not finish:
        raise malformed("an answer without a choice that has a finish_reason")
    message, answer = as_dict(choice.get("message")), as_text(payload.get("id"))
    refused = bool(as_text(message.get("refusal")))
    uses = [
        _tool_use(as_dict(call), answer, position, cut=finish == "length")
        for position, call in enumerate(as_list(message.get("tool_calls")))
    ]
    usage = {**usage_to_anthropic(as_dict(payload.get("usage"))), **_used_tier(payload)}
    return {
        "id": answer or NO_ID_ANTHROPIC,
        "type": "message",
        "role": "assistant",
        "model": as_text(payload.get("model")),
        "content": [*_prose(message, thinking=thinking), *uses],
        "stop_reason": stop_to_anthropic(finish, tools=bool(uses), refused=refused),
        "stop_sequence": None,
        "usage": usage,
    }


def _used_tier(payload: dict[str, Any]) -> dict[str, str]:
    tier = USED_TIER_TO_ANTHROPIC.get(as_text(payload.get("service_tier")))
    return {"service_tier": tier} if tier else {}


def _prose(message: dict[str, Any], *, thinking: bool) -> list[dict[str, Any]]:
    blocks = []
    if thinking and (thought := reasoning_of(message)):
        blocks.append({"type": "thinking", "thinking": thought, "signature": ""})
    if text := text_of(message.get("content")) + as_text(message.get("refusal")):
        blocks.append({"type": "text", "text": text})
    return blocks


def _tool_use(call: dict[str, Any], answer: str, position: int, *, cut: bool) -> dict[str, Any]:
    function = as_dict(call.get("function"))
    if not (name := as_text(function.get("name"))):
        raise malformed("a tool call without a name")
    arguments = _arguments(as_text(function.get("arguments")), cut=cut)
    return {"type": "tool_use", "id": call_id(call.get("id"), answer, position), "name": name, "input": arguments}


def _arguments(text: str, *, cut: bool) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text) if text.strip() else {}
    except (msgspec.DecodeError, UnicodeError) as error:
        # Cut off by the token limit it is no fault of the upstream, and the stop reason tells the caller.
        if cut:
            return {}
        raise malformed(f"a tool call whose arguments are not JSON ({error})") from None
    if value is None or isinstance(value, dict):
        return value or {}
    raise malformed("a tool call whose arguments are not a JSON object")
