"""Writes neutral turns as this format's system prompt and messages. Used by `write` only.

Anthropic demands a separate system prompt, tool results as blocks of a user turn, no empty text, and alternating turns.
Its newest models also demand that the last turn is the user's.
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
from weir_router.dialects.neutral.custom import arguments_of
from weir_router.dialects.neutral.ids import tool_id
from weir_router.dialects.neutral.table import refusal
from weir_router.dialects.neutral.target import Target
from weir_router.dialects.wire.depth import too_deep
from weir_router.errors import BadRequest

CONTINUE = "Continue your last message from exactly where it ends. Do not repeat any of it."
"""The user's turn after an assistant's, for models that refuse to continue one."""

OPENING = "."
"""The user's turn before an assistant's that opens the conversation, such as a greeting: Anthropic demands one."""

BROKEN_ARGUMENTS = "arguments"
"""Name under which arguments that are no JSON object go upstream."""

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


def messages_of(asked: Conversation, to: Target, dropped: list[str]) -> tuple[list[Text], list[dict[str, Any]]]:
    """The system prompts of all places, in order, and the messages. Raises `BadRequest`."""
    system = [text for text in asked.instructions if text.text]
    turns: list[dict[str, Any]] = []
    for turn in asked.turns:
        if turn.role == "system":
            system += [part for part in turn.parts if isinstance(part, Text) and part.text.strip()]
        elif turn.role == "assistant":
            _append(turns, "assistant", _assistant_blocks(turn, to, dropped))
        else:
            _append(turns, "user", _blocks(turn.parts))
    if not turns and system:
        # Anthropic needs a turn beside the system prompt.
        turns = [{"role": "user", "content": [text_block(system.pop())]}]
    if not turns:
        raise BadRequest("messages must hold at least one message that is not empty", param="messages")
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [text_block(Text(OPENING))]})
    if turns[-1]["role"] == "assistant" and to.traits.no_prefill:
        dropped.append("prefill")
        turns.append({"role": "user", "content": [text_block(Text(CONTINUE))]})
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
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} else blocks


def _blocks(parts: tuple[Part | Thought | Call | Result, ...]) -> list[dict[str, Any]]:
    blocks = []
    for part in parts:
        if isinstance(part, Text):
            if part.text.strip():
                blocks.append(text_block(part))
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
    return marked(block, result.cache)


def _assistant_blocks(turn: Turn, to: Target, dropped: list[str]) -> list[dict[str, Any]]:
    """Thought, text and tool calls; thought only with a signature that the backend takes."""
    thoughts, blocks = [], []
    for part in turn.parts:
        if isinstance(part, Text):
            if part.text.strip():
                blocks.append(text_block(part))
        elif isinstance(part, Thought):
            if (thought := _thought(part, to)) is None:
                dropped.append("reasoning")
            else:
                thoughts.append(thought)
        elif isinstance(part, Call):
            if part.opaque is not None:
                dropped.append("reasoning")
            use = {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": _input(arguments_of(part))}
            blocks.append(marked(use, part.cache))
        elif isinstance(part, Foreign):
            raise foreign(part)
    return thoughts + blocks if blocks else []


def _thought(thought: Thought, to: Target) -> dict[str, Any] | None:
    """A thinking block; None: the backend would refuse it."""
    opaque = thought.opaque
    if opaque is None or opaque.realm != to.realm or not opaque.blob:
        return None
    if opaque.redacted:
        return {"type": "redacted_thinking", "data": opaque.blob}
    return {"type": "thinking", "thinking": thought.text, "signature": opaque.blob}


def _input(arguments: str) -> dict[str, Any]:
    """The arguments as an object. Arguments that are none were cut off, or a model's slip: every later turn of the
    conversation repeats them, so they are wrapped. So are those that are nested too deeply for most servers.
    """
    try:
        value = msgspec.json.decode(arguments) if arguments.strip() else {}
        if too_deep(value):
            value = arguments
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = arguments
    if value is None:
        return {}
    return value if isinstance(value, dict) else {BROKEN_ARGUMENTS: value}


def _image(image: Image) -> dict[str, Any]:
    """An image. The format has no field for `detail`."""
    if image.url is not None:
        return marked({"type": "image", "source": {"type": "url", "url": image.url}}, image.cache)
    if image.media_type not in IMAGE_TYPES:
        raise refusal(
            image.at, f"Anthropic models do not take {image.media_type} images", "send JPEG, PNG, GIF or WebP"
        )
    source = {"type": "base64", "media_type": image.media_type, "data": image.data}
    return marked({"type": "image", "source": source}, image.cache)


def _document(document: Document) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "document", "source": _source(document)}
    if document.title:
        block["title"] = document.title
    if document.context:
        block["context"] = document.context
    return marked(block, document.cache)


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


def text_block(text: Text) -> dict[str, Any]:
    """A block of text."""
    return marked({"type": "text", "text": text.text}, text.cache)


def marked(block: dict[str, Any], cache: str | None) -> dict[str, Any]:
    """The block, with the mark that the prompt up to it is to be cached."""
    if cache is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": cache} if cache else {"type": "ephemeral"}
    return block
