"""Writes neutral turns as this format's items. Used by `write` only."""

from __future__ import annotations

from typing import Any

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
)
from weir_router.dialects.neutral.target import Target
from weir_router.dialects.openai_chat.turns import DEFAULT_FILENAME, ERROR_PREFIX, foreign
from weir_router.dialects.openai_responses.sealed import RAW, SEALED
from weir_router.errors import BadRequest


def items_of(asked: Conversation, to: Target, dropped: list[str]) -> list[dict[str, Any]]:
    """The items. Raises `BadRequest` for values that this format cannot express."""
    items: list[dict[str, Any]] = []
    customs: set[str] = set()  # ids of calls of custom tools
    for turn in asked.turns:
        if turn.role == "user":
            _user(turn, items, customs)
        elif turn.role == "assistant":
            _assistant(turn, to, items, customs, dropped)
        else:
            texts = [part.text for part in turn.parts if isinstance(part, Text)]
            items.append(_message("developer", "\n\n".join(texts)))
    if not items:
        raise BadRequest("messages must hold at least one message", param="messages")
    return items


def _user(turn: Turn, items: list[dict[str, Any]], customs: set[str]) -> None:
    """Writes the outputs of tools first, each as an item, and then the rest of the turn as one message."""
    parts: list[dict[str, Any]] = []
    results = False
    for part in turn.parts:
        if isinstance(part, Result):
            results = True
            kind = "custom_tool_call_output" if part.call in customs else "function_call_output"
            items.append({"type": kind, "call_id": part.call, "output": _output(part)})
        elif isinstance(part, (Text, Image, Document, Foreign)):
            _add(parts, part)
    if parts or not results:
        items.append(_message("user", _collapsed(parts)))


def _output(result: Result) -> Any:
    parts: list[dict[str, Any]] = []
    for part in result.parts:
        _add(parts, part)
    if not all(part["type"] == "input_text" for part in parts):
        return [_text(ERROR_PREFIX.strip()), *parts] if result.failed else parts
    text = "\n".join([part["text"] for part in parts])
    return ERROR_PREFIX + text if result.failed else text


def _assistant(turn: Turn, to: Target, items: list[dict[str, Any]], customs: set[str], dropped: list[str]) -> None:
    """Writes reasoning, text and calls in their order; reasoning only for the realm that made it."""
    said: list[dict[str, Any]] = []
    for part in turn.parts:
        if isinstance(part, Text):
            if part.text:
                said.append(_said(part))
            continue
        if said:
            items.append(_message("assistant", _collapsed(said)))
            said = []
        if isinstance(part, Thought):
            if (item := _reasoning(part, to)) is None:
                dropped.append("reasoning")
            else:
                items.append(item)
        elif isinstance(part, Call):
            if part.opaque is not None:
                dropped.append("reasoning")
            if part.custom:
                customs.add(part.id)
            items.append(_call(part))
        elif isinstance(part, Foreign):
            raise foreign(part)
    if said:
        items.append(_message("assistant", _collapsed(said)))
    while items and items[-1]["type"] == "reasoning":  # OpenAI demands the item to which it led
        items.pop()
        dropped.append("reasoning")


def _reasoning(thought: Thought, to: Target) -> dict[str, Any] | None:
    """An item of reasoning; None: another realm made it, or nothing of it could be read again."""
    opaque = thought.opaque
    if opaque is None or opaque.realm != to.realm or not to.realm or not opaque.blob:
        return None
    if opaque.blob == RAW:
        return {"type": "reasoning", "summary": [], "content": [{"type": RAW, "text": thought.text}]}
    summary = [{"type": "summary_text", "text": thought.text}] if thought.text else []
    return {"type": "reasoning", "summary": summary, SEALED: opaque.blob}


def _call(call: Call) -> dict[str, Any]:
    if call.custom:
        return {"type": "custom_tool_call", "call_id": call.id, "name": call.name, "input": call.arguments}
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def _message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def _said(text: Text) -> dict[str, Any]:
    if text.refusal:
        return {"type": "refusal", "refusal": text.text}
    return {"type": "output_text", "text": text.text}


def _add(parts: list[dict[str, Any]], part: Part) -> None:
    if isinstance(part, Text):
        parts.append(_text(part.text))
    elif isinstance(part, Image):
        url = part.url if part.url is not None else f"data:{part.media_type};base64,{part.data}"
        parts.append({"type": "input_image", "image_url": url, "detail": "auto"})
    elif isinstance(part, Document):
        _document(parts, part)
    else:
        raise foreign(part)


def _document(parts: list[dict[str, Any]], document: Document) -> None:
    """Writes a file as a file, and text as text under its title."""
    if document.data is not None:
        data = f"data:{document.media_type};base64,{document.data}"
        parts.append({"type": "input_file", "filename": document.title or DEFAULT_FILENAME, "file_data": data})
        return
    if heading := "\n".join(filter(None, (document.title, document.context))):
        parts.append(_text(heading))
    for part in document.parts:
        _add(parts, part)


def _text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _collapsed(parts: list[dict[str, Any]]) -> Any:
    """The content of a message: plain text where it is nothing else, which every server takes."""
    if not parts:
        return ""
    return parts[0]["text"] if len(parts) == 1 and "text" in parts[0] else parts
