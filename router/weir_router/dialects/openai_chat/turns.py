"""Writes neutral turns as this format's messages. Used by `write` only."""

from __future__ import annotations

from typing import Any

from weir_router.contract import Recall
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
from weir_router.dialects.neutral.table import refusal
from weir_router.dialects.neutral.target import Target
from weir_router.errors import BadRequest

REASONING = "reasoning"
"""Name of the reasoning at Groq, OpenRouter, Ollama and newer vLLM, which refuse or overlook `reasoning_content`. An
Anthropic caller gets it in the place of a signature, and sends it back.
"""

NO_THOUGHT = " "
"""The thought of a tool call that another model made, for models that refuse a call without one, or an empty one."""

NO_SIGNATURE = "skip_thought_signature_validator"
"""Google's own stand-in for the signature of a call that another model made."""

ERROR_PREFIX = "Error: "
"""Beginning of a failed tool's result, since this format has no field for the failure."""

DEFAULT_FILENAME = "document.pdf"
"""Name of a file without a title: this format demands one with inline data."""

FOREIGN = {
    Unknown.PART: ("OpenAI models cannot read a block of type {!r}", "send text, images or documents"),
    Unknown.SAID: ("an answer of OpenAI's cannot hold {!r}", "send text and tool calls"),
    Unknown.IMAGE: ("OpenAI models cannot read a source of type {!r}", "send base64 data or an https URL"),
    Unknown.DOCUMENT: ("OpenAI models cannot read a document source of type {!r}", "send it as base64 data"),
    Unknown.CALL: ("OpenAI models know no tool call of type {!r}", "use functions"),
    Unknown.TOOL: ("OpenAI models know no tool of type {!r}", "use a function"),
    Unknown.CHOICE: ("OpenAI models know no choice of type {!r}", "name a function"),
}
"""Reasons and remedies for the refusal of foreign values."""


def messages_of(asked: Conversation, to: Target, dropped: list[str]) -> list[dict[str, Any]]:
    """The messages. Raises `BadRequest` for values that this format cannot express."""
    messages: list[dict[str, Any]] = []
    if system := "\n\n".join([text.text for text in asked.instructions]):
        messages.append({"role": "system", "content": system})
    for turn in asked.turns:
        if turn.role == "user":
            _user(turn, messages)
        elif turn.role == "assistant":
            messages.append(_assistant(turn, to, dropped))
        else:
            texts = [part.text for part in turn.parts if isinstance(part, Text)]
            messages.append({"role": "system", "content": "\n\n".join(texts)})
    if not messages:
        raise BadRequest("messages must hold at least one message", param="messages")
    return messages


def _user(turn: Turn, messages: list[dict[str, Any]]) -> None:
    """Writes the results of tools first, as messages of their own, which OpenAI demands; then the rest of the turn."""
    parts: list[dict[str, Any]] = []
    results = False
    for part in turn.parts:
        if isinstance(part, Result):
            results = True
            result, media = _result(part)
            messages.append(result)
            parts += media
        elif isinstance(part, (Text, Image, Document, Foreign)):
            _add(parts, part)
    if parts or not results:
        messages.append({"role": "user", "content": _collapsed(parts)})


def _add(parts: list[dict[str, Any]], part: Part) -> None:
    if isinstance(part, Text):
        parts.append(_text(part.text))
    elif isinstance(part, Image):
        parts.append(_image(part))
    elif isinstance(part, Document):
        _document(parts, part)
    else:
        raise foreign(part)


def _result(result: Result) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The tool message, and the images and files, which OpenAI only accepts from a user."""
    parts: list[dict[str, Any]] = []
    for part in result.parts:
        _add(parts, part)
    text = "\n".join([part["text"] for part in parts if part["type"] == "text"])
    media = [part for part in parts if part["type"] != "text"]
    if result.failed:
        text = ERROR_PREFIX + text
    if media:
        media.insert(0, _text(f"From the result of tool call {result.call}:"))
    return {"role": "tool", "tool_call_id": result.call, "content": text}, media


def _assistant(turn: Turn, to: Target, dropped: list[str]) -> dict[str, Any]:
    """Text and tool calls, and thought for a backend that wants it back."""
    texts, calls = [], []
    for part in turn.parts:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, Call):
            function = {"name": part.name, "arguments": arguments_of(part)}
            calls.append({"id": part.id, "type": "function", "function": function})
        elif isinstance(part, Foreign):
            raise foreign(part)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if calls:
        message["content"] = message["content"] or None
        message["tool_calls"] = calls
    thoughts = [part for part in turn.parts if isinstance(part, Thought)]
    if calls and (thought := _recalled(thoughts, to)):
        opaque = thoughts[0].opaque if thoughts else None
        said_so = opaque is not None and opaque.realm == to.realm != "" and opaque.blob == REASONING
        message[REASONING if said_so else "reasoning_content"] = thought
    elif thoughts:
        dropped.append("reasoning")
    _sign(calls, [part for part in turn.parts if isinstance(part, Call)], to, dropped)
    return message


def _recalled(thoughts: list[Thought], to: Target) -> str:
    """The thought that goes back with tool calls: to a model that demands it, and to the backend that has had it."""
    demanded = to.traits.recall is Recall.TEXT
    texts = [
        thought.text for thought in thoughts if demanded or (thought.opaque and thought.opaque.realm == to.realm != "")
    ]
    return "".join(texts) or (NO_THOUGHT if demanded else "")


def _sign(shown: list[dict[str, Any]], calls: list[Call], to: Target, dropped: list[str]) -> None:
    """Gives calls their signatures back. Gemini demands one on the first call of each turn."""
    signed = False
    for out, call in zip(shown, calls, strict=True):
        if call.opaque is not None and call.opaque.realm == to.realm != "":
            signature, signed = call.opaque.blob, True
        else:
            if call.opaque is not None:
                dropped.append("reasoning")
            if signed or to.traits.recall is not Recall.SIGNATURE or out is not shown[0]:
                continue
            signature = NO_SIGNATURE
        out["extra_content"] = {"google": {"thought_signature": signature}}


def _image(image: Image) -> dict[str, Any]:
    url = image.url if image.url is not None else f"data:{image.media_type};base64,{image.data}"
    return {"type": "image_url", "image_url": {"url": url}}


def _document(parts: list[dict[str, Any]], document: Document) -> None:
    """Writes a file as a file, and text as text under its title."""
    if document.data is not None:
        data = f"data:{document.media_type};base64,{document.data}"
        parts.append({"type": "file", "file": {"filename": document.title or DEFAULT_FILENAME, "file_data": data}})
        return
    if heading := "\n".join(filter(None, (document.title, document.context))):
        parts.append(_text(heading))
    for part in document.parts:
        _add(parts, part)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _collapsed(parts: list[dict[str, Any]]) -> Any:
    if not parts:
        return ""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def foreign(met: Foreign) -> BadRequest:
    """The error for a value that this format cannot express."""
    why, do = FOREIGN[met.what]
    return refusal(met.at, why.format(met.kind), do)
