"""Writes a neutral request in this format."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.neutral.conversation import (
    Call,
    Choice,
    Conversation,
    Document,
    Effort,
    Foreign,
    Image,
    Part,
    Result,
    Shape,
    Text,
    Tool,
    Turn,
    Unknown,
)
from weir_router.dialects.neutral.efforts import WIDELY_KNOWN_EFFORTS, effort_of
from weir_router.dialects.neutral.schemas import is_strict
from weir_router.dialects.neutral.table import Fate, Field, Refused, Table, refusal, refuse
from weir_router.dialects.openai_chat.understand import EXTRAS
from weir_router.errors import BadRequest

MAX_STOPS = 4
"""Stop sequences that OpenAI accepts, at most."""

ERROR_PREFIX = "Error: "
"""Beginning of a failed tool's result, since this format has no field for the failure."""

SCHEMA_NAME = "answer"
"""Name of a schema, which this format demands and the neutral form does not have."""

DEFAULT_FILENAME = "document.pdf"
"""Name of a file without a title: this format demands one with inline data."""

TABLE: Table = {
    **dict.fromkeys(Field, Fate.KEPT),
    Field.THOUGHT: Fate.DROPPED,
    Field.TOP_K: Fate.DROPPED,
    Field.SPEED: Fate.DROPPED,
    Field.CONTEXT_MANAGEMENT: Fate.DROPPED,
    Field.CITATIONS: Refused("OpenAI models do not cite documents", "leave citations out"),
    Field.CONTAINER: Refused("containers run at Anthropic only", "leave it out"),
    Field.MCP_SERVERS: Refused(
        "Anthropic's MCP connector has no equivalent", "call the servers yourself and offer their tools"
    ),
    Field.PLACE: Refused(
        "OpenAI models cannot promise where they run", "leave it out, or route by the label of a backend"
    ),
}

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

_NAMES = {field: name for name, (field, _) in EXTRAS.items()}
_TIERS = {"auto": "auto", "standard": "default"}
_MODES = {"auto": "auto", "any": "required", "none": "none"}


def write(asked: Conversation) -> dict[str, Any]:
    """The request's fields. Raises `BadRequest` for values that this format cannot express."""
    refuse(TABLE, asked.extras)
    out: dict[str, Any] = {"model": asked.model, "messages": _messages(asked)}
    if asked.max_output == 0:
        raise refusal(
            asked.max_output_at, "OpenAI models cannot be asked to fill their cache only", "ask for at least 1"
        )
    if asked.max_output:
        # The older name, which every compatible server knows; `parameters.rename` is for servers that demand the newer.
        out["max_tokens"] = asked.max_output
    _tools(asked, out)
    if asked.temperature is not None:
        out["temperature"] = asked.temperature
    if asked.top_p is not None:
        out["top_p"] = asked.top_p
    if len(asked.stops) > MAX_STOPS:
        raise refusal(asked.stops_at, f"OpenAI models take at most {MAX_STOPS}", "leave some out")
    if asked.stops:
        out["stop"] = list(asked.stops)
    if asked.shape:
        out["response_format"] = _shape(asked.shape)
    if effort := _effort(asked.effort):
        out["reasoning_effort"] = effort
    if asked.user:
        out["user"] = asked.user
    if tier := _TIERS.get(asked.tier or ""):
        out["service_tier"] = tier
    for extra in asked.extras:
        if extra.field in _NAMES:
            out[_NAMES[extra.field]] = extra.value
    return out


def _shape(shape: Shape) -> dict[str, Any]:
    if shape.schema is None:
        return {"type": "json_object"}
    schema = {"name": SCHEMA_NAME, "schema": shape.schema, "strict": is_strict(shape.schema)}
    return {"type": "json_schema", "json_schema": schema}


def _effort(effort: Effort | None) -> str | None:
    """An effort that every model of this format knows; None leaves it to the model."""
    if effort is None or effort.name == "none":
        return None
    if effort.name is None:
        return effort_of(effort.budget) if effort.budget else None
    if effort.name == "minimal":
        return WIDELY_KNOWN_EFFORTS[0]
    return effort.name if effort.name in WIDELY_KNOWN_EFFORTS else WIDELY_KNOWN_EFFORTS[-1]


def _tools(asked: Conversation, out: dict[str, Any]) -> None:
    tools = [_tool(tool) for tool in asked.tools]
    choice = asked.choice
    if isinstance(choice, Foreign):
        raise _foreign(choice)
    if choice and choice.allowed:
        tools = [tool for tool in tools if tool["function"]["name"] in choice.allowed]
    if not tools:
        return
    out["tools"] = tools
    if choice:
        out["tool_choice"] = _choice(choice)
    if asked.parallel is False:
        out["parallel_tool_calls"] = False


def _tool(tool: Tool | Foreign) -> dict[str, Any]:
    if isinstance(tool, Foreign):
        raise _foreign(tool)
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choice(choice: Choice) -> Any:
    if choice.name is not None:
        return {"type": "function", "function": {"name": choice.name}}
    return _MODES[choice.mode]


def _messages(asked: Conversation) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if system := "\n\n".join(asked.instructions):
        messages.append({"role": "system", "content": system})
    for turn in asked.turns:
        if turn.role == "user":
            _user(turn, messages)
        elif turn.role == "assistant":
            messages.append(_assistant(turn))
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
        raise _foreign(part)


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


def _assistant(turn: Turn) -> dict[str, Any]:
    """Text and tool calls. Thought is left out: this format has no place for it."""
    texts, calls = [], []
    for part in turn.parts:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, Call):
            function = {"name": part.name, "arguments": part.arguments}
            calls.append({"id": part.id, "type": "function", "function": function})
        elif isinstance(part, Foreign):
            raise _foreign(part)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if calls:
        message["content"] = message["content"] or None
        message["tool_calls"] = calls
    return message


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


def _foreign(foreign: Foreign) -> BadRequest:
    why, do = FOREIGN[foreign.what]
    return refusal(foreign.at, why.format(foreign.kind), do)
