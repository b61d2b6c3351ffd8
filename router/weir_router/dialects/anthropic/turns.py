"""Writes neutral turns as this format's system prompt and messages. Used by `write` only.

Anthropic demands a separate system prompt, tool results as blocks of a user turn, no empty text, and alternating turns.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from weir_router.dialects.neutral.conversation import (
    Call,
    Conversation,
    Document,
    Foreign,
    Image,
    Part,
    Result,
    Text,
    Thought,
    Turn,
    Unknown,
)
from weir_router.dialects.neutral.ids import tool_id
from weir_router.dialects.neutral.table import refusal
from weir_router.errors import BadRequest

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""Media types that Anthropic takes as a base64 image."""

FOREIGN = {
    Unknown.PART: ("Anthropic models cannot read a part of type {!r}", "send text, images or files"),
    Unknown.SAID: ("has no equivalent in the Anthropic dialect", "send text and tool_calls"),
    Unknown.IMAGE: ("Anthropic models cannot read an image of type {!r}", "send base64 data or an https URL"),
    Unknown.DOCUMENT: ("Anthropic models cannot read a document of type {!r}", "send it as base64 data"),
    Unknown.CALL: ("Anthropic models know no tool call of type {!r}", "use functions"),
    Unknown.TOOL: ("Anthropic models know no tool of type {!r}", "use a function"),
    Unknown.CHOICE: ("Anthropic models know no choice of type {!r}", "name a function"),
}
"""Reasons and remedies for the refusal of foreign values."""


def foreign(met: Foreign) -> BadRequest:
    """The error for a value that this format cannot express."""
    why, do = FOREIGN[met.what]
    return refusal(met.at, why.format(met.kind), do)


def messages_of(asked: Conversation) -> tuple[list[str], list[dict[str, Any]]]:
    """The system prompts of all places, in order, and the messages. Raises `BadRequest`."""
    system = [text for text in asked.instructions if text]
    turns: list[dict[str, Any]] = []
    for turn in asked.turns:
        if turn.role == "system":
            texts = [part.text for part in turn.parts if isinstance(part, Text) and part.text.strip()]
            if texts:
                system.append("\n\n".join(texts))
        elif turn.role == "assistant":
            _append(turns, "assistant", _assistant_blocks(turn))
        else:
            _append(turns, "user", _blocks(turn.parts))
    if not turns and system:
        # Anthropic needs a turn beside the system prompt.
        turns = [{"role": "user", "content": [_text(system.pop())]}]
    if not turns:
        raise BadRequest("messages must hold at least one message that is not empty", param="messages")
    _trim_prefill(turns)
    for turn_ in turns:
        turn_["content"] = _collapsed(turn_["content"])
    return system, turns


def _append(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"].extend(blocks)
    else:
        turns.append({"role": role, "content": blocks})


def _trim_prefill(turns: list[dict[str, Any]]) -> None:
    # Anthropic refuses white space at the end of a turn that the model must continue.
    last = turns[-1]["content"][-1]
    if turns[-1]["role"] == "assistant" and last["type"] == "text":
        last["text"] = last["text"].rstrip()


def _collapsed(blocks: list[dict[str, Any]]) -> Any:
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _blocks(parts: tuple[Part | Thought | Call | Result, ...]) -> list[dict[str, Any]]:
    blocks = []
    for part in parts:
        if isinstance(part, Text):
            if part.text.strip():
                blocks.append(_text(part.text))
        elif isinstance(part, Result):
            blocks.append(_result(part))
        elif isinstance(part, Image):
            blocks.append(_image(part))
        elif isinstance(part, Document):
            blocks.append(_document(part))
        elif isinstance(part, Foreign):
            raise foreign(part)
    return blocks


def _result(result: Result) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_id(result.call)}
    if blocks := _blocks(result.parts):
        block["content"] = _collapsed(blocks)
    if result.failed:
        block["is_error"] = True
    return block


def _assistant_blocks(turn: Turn) -> list[dict[str, Any]]:
    """Text and tool calls. Thought is left out: Anthropic only accepts it with its own signature."""
    blocks = []
    for part in turn.parts:
        if isinstance(part, Text):
            if part.text.strip():
                blocks.append(_text(part.text))
        elif isinstance(part, Call):
            use = {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": _input(part)}
            blocks.append(use)
        elif isinstance(part, Foreign):
            raise foreign(part)
    return blocks


def _input(call: Call) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(call.arguments) if call.arguments.strip() else {}
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequest(f"{call.at} must be an object written as JSON: {error}", param=call.at) from None
    if not isinstance(value, dict):
        raise BadRequest(f"{call.at} must be an object written as JSON", param=call.at)
    return value


def _image(image: Image) -> dict[str, Any]:
    """An image. The format has no field for `detail`."""
    if image.url is not None:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    if image.media_type not in IMAGE_TYPES:
        raise refusal(
            image.at, f"Anthropic models do not take {image.media_type} images", "send JPEG, PNG, GIF or WebP"
        )
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}


def _document(document: Document) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "document", "source": _source(document)}
    if document.title:
        block["title"] = document.title
    if document.context:
        block["context"] = document.context
    return block


def _source(document: Document) -> dict[str, Any]:
    if document.data is None:
        if len(document.parts) == 1 and isinstance(document.parts[0], Text):
            return {"type": "text", "media_type": "text/plain", "data": document.parts[0].text}
        return {"type": "content", "content": _blocks(document.parts)}
    if document.media_type == "application/pdf":
        return {"type": "base64", "media_type": document.media_type, "data": document.data}
    if document.media_type.startswith("text/"):
        try:
            text = base64.b64decode(document.data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise BadRequest(f"{document.at} must be base64 of UTF-8 text", param=document.at) from None
        return {"type": "text", "media_type": "text/plain", "data": text}
    raise refusal(
        document.at, f"Anthropic models do not take {document.media_type} documents", "send a PDF or plain text"
    )


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
