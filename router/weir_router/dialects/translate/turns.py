"""OpenAI messages → Anthropic's system prompt and turns. Used by `to_anthropic` only.

Anthropic wants the system prompt apart, tool results as blocks of a user turn, no empty text, and turns that alternate.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from weir_router.dialects.translate.fields import Checked, refusal
from weir_router.dialects.translate.media import document_block, image_block, text_part
from weir_router.errors import BadRequest

_ID = re.compile(r"[^a-zA-Z0-9_-]")


def tool_id(text: str) -> str:
    """A tool call's id as Anthropic accepts it: some servers of OpenAI's dialect use other characters."""
    return _ID.sub("_", text)


def conversation(body: Checked) -> tuple[list[str], list[dict[str, Any]]]:
    """The system prompts in order, wherever they stood, and the turns. Raises `BadRequest`."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for message in body.objects("messages"):
        role = message.text("role")
        if role in ("system", "developer"):
            system.extend(filter(None, [_text_only(message)]))
        else:
            _append(turns, "assistant" if role == "assistant" else "user", _blocks(role, message))
    if not turns and system:
        # Anthropic answers a turn, never a system prompt alone.
        turns = [{"role": "user", "content": [text_part(system.pop())]}]
    if not turns:
        raise BadRequest("messages must hold at least one message that is not empty", param="messages")
    _trim_prefill(turns)
    for turn in turns:
        turn["content"] = _collapsed(turn["content"])
    return system, turns


def _append(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"].extend(blocks)
    else:
        turns.append({"role": role, "content": blocks})


def _trim_prefill(turns: list[dict[str, Any]]) -> None:
    # Anthropic refuses white space at the end of a turn that the model is to continue.
    last = turns[-1]["content"][-1]
    if turns[-1]["role"] == "assistant" and last["type"] == "text":
        last["text"] = last["text"].rstrip()


def _collapsed(blocks: list[dict[str, Any]]) -> Any:
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _blocks(role: str, message: Checked) -> list[dict[str, Any]]:
    if role == "user":
        return _user_blocks(message)
    if role == "assistant":
        return _assistant_blocks(message)
    if role == "tool":
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_id(message.text("tool_call_id"))}
        if blocks := _user_blocks(message):
            result["content"] = _collapsed(blocks)
        return [result]
    if role == "function":
        raise refusal(message.at("role"), "deprecated, and has no id to refer to a call", "use tools and the role tool")
    raise BadRequest(
        f"{message.at('role')} must be system, developer, user, assistant or tool", param=message.at("role")
    )


def _user_blocks(message: Checked) -> list[dict[str, Any]]:
    blocks = (_user_block(part) for part in message.parts("content"))
    return [block for block in blocks if block["type"] != "text" or block["text"].strip()]


def _user_block(part: Checked) -> dict[str, Any]:
    kind = part.text("type")
    if kind == "text":
        return text_part(part.text("text"))
    if kind == "image_url":
        return image_block(part)
    if kind == "file":
        return document_block(part)
    raise refusal(
        part.at("type"), f"Anthropic models cannot read a part of type {kind!r}", "send text, images or files"
    )


def _assistant_blocks(message: Checked) -> list[dict[str, Any]]:
    """Text and tool calls. Reasoning is left out: Anthropic takes it back only with its own signature."""
    for field in ("audio", "function_call"):
        if message.has(field):
            raise refusal(message.at(field), "has no equivalent in the Anthropic dialect", "send text and tool_calls")
    texts = [_assistant_text(part) for part in message.parts("content")]
    texts.append(message.maybe_text("refusal") or "")
    calls = [_tool_use(call) for call in message.objects("tool_calls")]
    return [*(text_part(text) for text in texts if text.strip()), *calls]


def _assistant_text(part: Checked) -> str:
    kind = part.text("type")
    if kind in ("text", "refusal"):
        return part.text(kind)
    raise refusal(
        part.at("type"), f"an assistant's turn cannot hold a part of type {kind!r}", "send text or refusal parts"
    )


def _text_only(message: Checked) -> str:
    texts = []
    for part in message.parts("content"):
        if part.text("type") != "text":
            raise refusal(part.at("type"), "a system prompt is text", "move it to a user message")
        texts.append(part.text("text"))
    return "\n\n".join(text for text in texts if text.strip())


def _tool_use(call: Checked) -> dict[str, Any]:
    if (kind := call.maybe_text("type") or "function") != "function":
        raise refusal(call.at("type"), f"Anthropic models know no tool call of type {kind!r}", "use functions")
    function = call.obj("function")
    name, arguments = function.text("name"), function.maybe_text("arguments") or ""
    return {"type": "tool_use", "id": tool_id(call.text("id")), "name": name, "input": _input(arguments, function)}


def _input(arguments: str, function: Checked) -> dict[str, Any]:
    where = function.at("arguments")
    try:
        value = msgspec.json.decode(arguments) if arguments.strip() else {}
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequest(f"{where} must be an object written as JSON: {error}", param=where) from None
    if not isinstance(value, dict):
        raise BadRequest(f"{where} must be an object written as JSON", param=where)
    return value
