"""Whole answers of this format, from and into the neutral form.

Answers come from upstreams: missing fields are left out, and only faults that make the answer useless are malformed.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.ask import Ask
from weir_router.dialects.neutral.answer import FILTER, LENGTH, STOP, TOOLS, Answer, Usage
from weir_router.dialects.neutral.checked import as_dict, as_list, as_name, as_text
from weir_router.dialects.neutral.conversation import Call, Text, Thought
from weir_router.dialects.neutral.ids import call_id
from weir_router.dialects.neutral.opaque import Opaque, tagged
from weir_router.dialects.openai_chat.turns import REASONING
from weir_router.dialects.openai_chat.understand import signature_of
from weir_router.dialects.openai_chat.usage import counted
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.relay import encode

NO_ID = "chatcmpl-unknown"
"""Id of an answer whose upstream gave none: the SDKs require one."""

_STOPS = {"stop": STOP, "length": LENGTH, "tool_calls": TOOLS, "function_call": TOOLS, "content_filter": FILTER}
_FINISHES = {STOP: "stop", LENGTH: "length", TOOLS: "tool_calls", FILTER: "content_filter"}
_TIERS = {"default": "standard", "priority": "priority", "fast": "priority"}
_TIERS_SHOWN = {"standard": "default", "priority": "priority"}


def stop_of(finish: str) -> str:
    """The neutral form of a finish reason; an unknown one becomes `STOP`."""
    return _STOPS.get(finish, STOP)


def finish_of(stop: str) -> str:
    """A neutral stop reason as a finish reason."""
    return _FINISHES[stop]


def tier_of(payload: dict[str, Any]) -> str | None:
    """The service tier of an answer."""
    return _TIERS.get(as_text(payload.get("service_tier")))


def tier_shown(tier: str | None) -> str | None:
    """A neutral service tier in this format."""
    return _TIERS_SHOWN.get(tier or "")


def usage_of(usage: dict[str, Any]) -> Usage:
    """Usage in the neutral form."""
    found = counted(usage)
    return Usage(found.input, found.cached_input, found.cache_write, found.output, found.reasoning)


def usage_shown(usage: Usage) -> dict[str, Any]:
    """Neutral usage in this format."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def reasoning_of(message: dict[str, Any]) -> str:
    """The reasoning in a message or delta, under either of the two names that servers use."""
    return as_text(message.get("reasoning_content")) or as_text(message.get(REASONING))


def says_reasoning(message: dict[str, Any]) -> bool:
    """Whether the reasoning has the name that must come back with it (see `turns`), and not `reasoning_content`."""
    return not as_text(message.get("reasoning_content")) and bool(as_text(message.get(REASONING)))


def parts_of(content: Any) -> list[Text | Thought]:
    """Content as parts: a string, or the list of parts that some servers send, with thought in lists of its own."""
    if not isinstance(content, list):
        return [Text(content)] if content and isinstance(content, str) else []
    out: list[Text | Thought] = []
    for part in content:
        if thought := as_dict(part).get("thinking"):
            out.append(Thought(_text_of(thought)))
        elif text := _text_of(part):
            out.append(Text(text))
    return out


def _text_of(value: Any) -> str:
    """The text of a part, or of a list of parts."""
    if isinstance(value, list):
        return "".join([_text_of(part) for part in value])
    return as_text(value) or as_text(as_dict(value).get("text"))


def read_answer(payload: dict[str, Any]) -> Answer:
    """A chat completion in the neutral form."""
    choices = as_list(payload.get("choices"))
    choice = as_dict(choices[0]) if choices else {}
    finish = as_text(choice.get("finish_reason"))
    if not finish:
        raise malformed("an answer without a choice that has a finish_reason")
    message = as_dict(choice.get("message"))
    parts: list[Text | Thought | Call] = []
    if thought := reasoning_of(message):
        parts.append(Thought(thought, Opaque("", REASONING) if says_reasoning(message) else None))
    parts += parts_of(message.get("content"))
    if refusal := as_text(message.get("refusal")):
        parts.append(Text(refusal, refusal=True))
    parts += [_call(as_dict(call)) for call in as_list(message.get("tool_calls"))]
    return Answer(
        as_name(payload.get("id")),
        as_name(payload.get("model")),
        tuple(parts),
        stop_of(finish),
        usage_of(as_dict(payload.get("usage"))),
        tier_of(payload),
    )


def _call(call: dict[str, Any]) -> Call:
    custom = as_dict(call.get("custom"))
    if name := as_text(custom.get("name")):
        return Call(as_text(call.get("id")), name, as_text(custom.get("input")), custom=True)
    function = as_dict(call.get("function"))
    if not (name := as_text(function.get("name"))):
        raise malformed("a tool call without a name")
    signature = signature_of(call)
    opaque = Opaque("", signature) if signature else None
    return Call(as_text(call.get("id")), name, arguments_of(function), opaque=opaque)


def arguments_of(function: dict[str, Any]) -> str:
    """The arguments of a call as JSON text; llama.cpp has sent them as an object."""
    given = function.get("arguments")
    return encode(given).decode() if isinstance(given, dict) else as_text(given)


def detail(index: int, text: str, signature: str, *, redacted: bool) -> dict[str, Any]:
    """A `reasoning_details` entry, as OpenRouter's clients know it: thought with the signature that must come back."""
    if redacted:
        return {"index": index, "type": "reasoning.encrypted", "data": signature}
    return {"index": index, "type": "reasoning.text", "text": text, "signature": signature}


def write_answer(answer: Answer, ask: Ask, created: int, realm: str = "") -> dict[str, Any]:
    """A neutral answer as a chat completion."""
    texts = [part.text for part in answer.parts if isinstance(part, Text) and not part.refusal]
    refusals = [part.text for part in answer.parts if isinstance(part, Text) and part.refusal]
    calls = [part for part in answer.parts if isinstance(part, Call)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) or None,
        "refusal": "".join(refusals) or None,
    }
    thoughts = [part for part in answer.parts if isinstance(part, Thought)]
    if thought := "".join([part.text for part in thoughts]):
        message["reasoning_content"] = thought
    signed = [(part.text, part.opaque) for part in thoughts if part.opaque is not None]
    if signed:
        message["reasoning_details"] = [
            detail(index, text, tagged(realm, opaque.blob), redacted=opaque.redacted)
            for index, (text, opaque) in enumerate(signed)
        ]
    if calls:
        message["tool_calls"] = [_shown(call, answer.id, position) for position, call in enumerate(calls)]
    finish = finish_of(answer.stop)
    out = {
        "id": answer.id or NO_ID,
        "object": "chat.completion",
        "created": created,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage_shown(answer.usage),
    }
    if tier := tier_shown(answer.tier):
        out["service_tier"] = tier
    return out


def _shown(call: Call, answer: str, position: int) -> dict[str, Any]:
    shown = call_id(call.id, answer, position)
    if call.custom:
        return {"id": shown, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": shown, "type": "function", "function": function}
