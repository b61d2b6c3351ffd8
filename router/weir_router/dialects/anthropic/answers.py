"""Whole answers of this format, from and into the neutral form.

Answers come from upstreams: missing fields are left out, and only faults that make the answer useless are malformed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.dialects.anthropic.usage import counted
from weir_router.dialects.ask import Ask
from weir_router.dialects.neutral.answer import FILTER, LENGTH, STOP, TOOLS, Answer, Usage
from weir_router.dialects.neutral.checked import as_dict, as_list, as_name, as_text
from weir_router.dialects.neutral.conversation import Call, Text, Thought
from weir_router.dialects.neutral.ids import call_id
from weir_router.dialects.neutral.opaque import Opaque, tagged, tagged_id
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.relay import encode

NO_ID = "msg_unknown"
"""Id of an answer whose upstream gave none: the SDKs require one."""

_STOPS = {
    "end_turn": STOP,
    "stop_sequence": STOP,
    "max_tokens": LENGTH,
    "tool_use": TOOLS,
    "refusal": FILTER,
    "pause_turn": STOP,
    "model_context_window_exceeded": LENGTH,
}
_TIERS = {"standard": "standard", "priority": "priority"}


def stop_of(reason: str) -> str:
    """The neutral form of a stop reason; an unknown one becomes `STOP`."""
    return _STOPS.get(reason, STOP)


def stop_shown(stop: str, *, tools: bool, refused: bool) -> str:
    """A neutral stop reason in this format. It agrees with the content, since some servers end tool calls
    with an ordinary stop reason.
    """
    if refused or stop == FILTER:
        return "refusal"
    if stop == LENGTH:
        return "max_tokens"
    return "tool_use" if tools else "end_turn"


def tier_of(usage: dict[str, Any]) -> str | None:
    """The service tier of an answer."""
    return _TIERS.get(as_text(usage.get("service_tier")))


def usage_of(usage: dict[str, Any]) -> Usage:
    """Usage in the neutral form."""
    it = counted(usage)
    return Usage(it.input, it.cached_input, it.cache_write, it.output, it.reasoning, it.cache_write_long)


def usage_shown(usage: Usage, tier: str | None) -> dict[str, Any]:
    """Neutral usage in this format."""
    out: dict[str, Any] = {
        "input_tokens": max(usage.input - usage.cached - usage.cache_write, 0),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }
    if usage.cache_write_long:
        short = usage.cache_write - usage.cache_write_long
        out["cache_creation"] = {
            "ephemeral_5m_input_tokens": max(short, 0),
            "ephemeral_1h_input_tokens": usage.cache_write_long,
        }
    if tier:
        out["service_tier"] = tier
    return out


def wants_thinking(ask: Ask) -> bool:
    """Whether the caller asked for the model's thought.

    Other callers get none: thought of another format's model is unsigned, and Anthropic would refuse it in the
    history.
    """
    kind = as_dict(ask.body.get("thinking")).get("type")
    return isinstance(kind, str) and kind != "disabled"


def refusal_of(holder: dict[str, Any]) -> str:
    """Anthropic's explanation of a refusal."""
    return as_text(as_dict(holder.get("stop_details")).get("explanation"))


def read_answer(payload: dict[str, Any]) -> Answer:
    """A message in the neutral form."""
    reason = as_text(payload.get("stop_reason"))
    if not reason:
        raise malformed("an answer without a stop_reason")
    parts = [part for block in as_list(payload.get("content")) if (part := _part(as_dict(block))) is not None]
    if reason == "refusal" and (refusal := refusal_of(payload)):
        parts.append(Text(refusal, refusal=True))
    usage = as_dict(payload.get("usage"))
    return Answer(
        as_name(payload.get("id")),
        as_name(payload.get("model")),
        tuple(parts),
        stop_of(reason),
        usage_of(usage),
        tier_of(usage),
    )


def _part(block: dict[str, Any]) -> Text | Thought | Call | None:
    kind = block.get("type")
    if kind == "text":
        return Text(as_text(block.get("text")))
    if kind == "thinking":
        signature = as_text(block.get("signature"))
        return Thought(as_text(block.get("thinking")), Opaque("", signature) if signature else None)
    if kind == "redacted_thinking":
        return Thought("", Opaque("", as_text(block.get("data")), redacted=True))
    if kind != "tool_use":
        return None
    if not (name := as_text(block.get("name"))):
        raise malformed("a tool_use block without a name")
    return Call(as_text(block.get("id")), name, encode(as_dict(block.get("input"))).decode())


def write_answer(answer: Answer, ask: Ask, created: int, realm: str = "") -> dict[str, Any]:
    """A neutral answer as a message, which has no time."""
    thoughts = [part for part in answer.parts if isinstance(part, Thought)]
    blocks = _thinking(thoughts, realm) if wants_thinking(ask) else []
    texts = [part for part in answer.parts if isinstance(part, Text)]
    if text := "".join([part.text for part in texts]):
        blocks.append({"type": "text", "text": text})
    calls = [part for part in answer.parts if isinstance(part, Call)]
    for position, call in enumerate(calls):
        blocks.append(
            {
                "type": "tool_use",
                "id": shown_id(call_id(call.id, answer.id, position), realm, call.opaque.blob if call.opaque else ""),
                "name": call.name,
                "input": _input(call.arguments, cut=answer.stop == LENGTH),
            }
        )
    return {
        "id": answer.id or NO_ID,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": blocks,
        "stop_reason": stop_shown(answer.stop, tools=bool(calls), refused=any(part.refusal for part in texts)),
        "stop_sequence": None,
        "usage": usage_shown(answer.usage, answer.tier),
    }


def _thinking(thoughts: list[Thought], realm: str) -> list[dict[str, Any]]:
    """Blocks of thought, each up to its signature; encrypted thought is a block of its own."""
    blocks: list[dict[str, Any]] = []
    text = ""

    def end(blob: str = "") -> None:
        if text:
            blocks.append({"type": "thinking", "thinking": text, "signature": tagged(realm, blob) if realm else ""})

    for thought in thoughts:
        opaque = thought.opaque
        if opaque is not None and opaque.redacted:
            end()
            text = ""
            if realm:
                blocks.append({"type": "redacted_thinking", "data": tagged(realm, opaque.blob)})
            continue
        text += thought.text
        if opaque is not None:
            end(opaque.blob)
            text = ""
    end()
    return blocks


def shown_id(call: str, realm: str, signature: str) -> str:
    """A tool call's id for a caller, with the signature that must come back."""
    return tagged_id(call, realm, signature) if signature else call


def _input(text: str, *, cut: bool) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text) if text.strip() else {}
    except (msgspec.DecodeError, UnicodeError) as error:
        # The token limit cut it off: not the upstream's fault, and the caller sees the stop reason.
        if cut:
            return {}
        raise malformed(f"a tool call whose arguments are not JSON ({error})") from None
    if value is None or isinstance(value, dict):
        return value or {}
    raise malformed("a tool call whose arguments are not a JSON object")
