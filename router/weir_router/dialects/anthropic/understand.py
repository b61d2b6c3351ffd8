"""Reads a request of this format into the neutral form. Errors name the malformed field."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from weir_router.dialects.neutral.checked import Checked, as_text
from weir_router.dialects.neutral.conversation import (
    Call,
    Choice,
    Conversation,
    Document,
    Effort,
    Extra,
    Foreign,
    Image,
    Part,
    Result,
    Shape,
    Text,
    Thought,
    Tool,
    Turn,
    Unknown,
)
from weir_router.dialects.neutral.table import Field, refusal
from weir_router.dialects.wire.relay import encode
from weir_router.errors import BadRequest

EXTRAS: dict[str, Field] = {
    "container": Field.CONTAINER,
    "mcp_servers": Field.MCP_SERVERS,
    "inference_geo": Field.PLACE,
    "top_k": Field.TOP_K,
    "speed": Field.SPEED,
    "context_management": Field.CONTEXT_MANAGEMENT,
}
"""Fields that the neutral form only names; a value that is null, zero or empty asks for nothing."""

_TIERS = {"auto": "auto", "standard_only": "standard"}
_MODES = {"auto": Choice("auto"), "any": Choice("any"), "none": Choice("none")}


def understand(body: Checked, model: str) -> Conversation:
    """The request in the neutral form. Raises `BadRequest`."""
    extras = [Extra(field, name, value) for name, field in EXTRAS.items() if (value := body.raw(name))]
    instructions = tuple(_texts(body, "system"))
    turns = tuple([_turn(turn, extras) for turn in body.objects("messages")])
    tools = tuple([_tool(tool) for tool in body.objects("tools")])
    wanted = body.maybe_obj("tool_choice")
    choice, parallel = _choice(wanted) if tools and wanted else (None, None)
    config = body.maybe_obj("output_config")
    metadata = body.maybe_obj("metadata")
    return Conversation(
        model=model,
        instructions=instructions,
        turns=turns,
        tools=tools,
        choice=choice,
        parallel=parallel,
        shape=_shape(config),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        stops=tuple(body.list_of_text("stop_sequences")),
        stops_at="stop_sequences",
        max_output=body.tokens("max_tokens"),
        max_output_at="max_tokens",
        effort=_effort(body, config),
        user=metadata.maybe_text("user_id") if metadata else None,
        tier=_TIERS.get(body.maybe_text("service_tier") or ""),
        extras=tuple(extras),
    )


def _shape(config: Checked | None) -> Shape | None:
    wanted = config.maybe_obj("format") if config else None
    if not wanted:
        return None
    if wanted.text("type") != "json_schema":
        raise BadRequest(f"{wanted.at('type')} must be json_schema", param=wanted.at("type"))
    return Shape(wanted.obj("schema").data)


def _effort(body: Checked, config: Checked | None) -> Effort | None:
    """The effort of reasoning; None leaves it to the model, as `adaptive` without an effort does."""
    thinking = body.maybe_obj("thinking")
    if thinking and thinking.text("type") == "disabled":
        return Effort("none")
    if config and (effort := config.maybe_text("effort")):
        return Effort(effort)
    if thinking and (budget := thinking.tokens("budget_tokens")):
        return Effort(None, budget)
    return None


def _tool(tool: Checked) -> Tool:
    if (kind := tool.maybe_text("type") or "custom") != "custom":
        raise refusal(
            tool.at("type"), f"the tool {kind!r} is Anthropic's own", "offer a tool of your own with an input_schema"
        )
    name, description = tool.text("name"), tool.maybe_text("description")
    return Tool(name, description, tool.obj("input_schema").data, tool.flag("strict") or False)


def _choice(choice: Checked) -> tuple[Choice, bool | None]:
    """The choice, and whether the model may call several tools at once."""
    kind = choice.text("type")
    if kind == "tool":
        made = Choice("named", choice.text("name"))
    elif kind in _MODES:
        made = _MODES[kind]
    else:
        raise BadRequest("tool_choice.type must be auto, any, tool or none", param="tool_choice.type")
    return made, False if choice.flag("disable_parallel_tool_use") else None


def _turn(turn: Checked, extras: list[Extra]) -> Turn:
    role = turn.text("role")
    read = _READERS.get(role)
    if read is None:
        raise BadRequest(f"{turn.at('role')} must be user, assistant or system", param=turn.at("role"))
    return Turn(role, read(turn, extras))


def _user_turn(turn: Checked, extras: list[Extra]) -> tuple[Part | Result, ...]:
    content = turn.raw("content")
    if isinstance(content, str):
        return (Text(content),)
    parts: list[Part | Result] = []
    for block in turn.objects("content"):
        if block.raw("type") == "tool_result":
            call = block.text("tool_use_id")
            inner = tuple([_user_part(each, extras) for each in block.parts("content")])
            parts.append(Result(call, inner, block.flag("is_error") or False))
        else:
            parts.append(_user_part(block, extras))
    return tuple(parts)


def _user_part(block: Checked, extras: list[Extra]) -> Part:
    kind = block.text("type")
    if kind == "text":
        return Text(block.text("text"))
    if kind == "image":
        return _image(block)
    if kind == "document":
        return _document(block, extras)
    if kind == "search_result":
        heading = f"{block.text('title')} ({block.text('source')})"
        return Text(heading + "\n" + "\n".join(_texts(block, "content")))
    return Foreign(Unknown.PART, kind, block.at("type"))


def _assistant_turn(turn: Checked, _: list[Extra]) -> tuple[Text | Thought | Call, ...]:
    return tuple([_said(block) for block in turn.parts("content")])


def _said(block: Checked) -> Text | Thought | Call:
    kind = block.text("type")
    if kind == "text":
        return Text(block.text("text"))
    if kind == "tool_use":
        name, arguments = block.text("name"), encode(block.obj("input").data).decode()
        return Call(block.text("id"), name, arguments, block.at("input"))
    if kind in ("thinking", "redacted_thinking"):
        return Thought(as_text(block.raw("thinking")))
    raise refusal(block.at("type"), f"a block of type {kind!r} is Anthropic's own", "leave it out of the history")


def _system_turn(turn: Checked, _: list[Extra]) -> tuple[Text, ...]:
    return tuple([Text(text) for text in _texts(turn, "content")])


_READERS: dict[str, Callable[[Checked, list[Extra]], tuple[Part | Thought | Call | Result, ...]]] = {
    "user": _user_turn,
    "assistant": _assistant_turn,
    "system": _system_turn,
}


def _texts(holder: Checked, key: str) -> Iterator[str]:
    for block in holder.parts(key):
        if block.text("type") != "text":
            raise refusal(block.at("type"), "only text can stand here", "move it to a user turn")
        yield block.text("text")


def _image(block: Checked) -> Image | Foreign:
    source = block.obj("source")
    kind = source.text("type")
    if kind == "url":
        return Image(source.at("url"), source.text("url"))
    if kind == "base64":
        return Image(source.at("data"), None, source.text("media_type"), source.text("data"))
    return Foreign(Unknown.IMAGE, kind, source.at("type"))


def _document(block: Checked, extras: list[Extra]) -> Document | Foreign:
    citations = block.maybe_obj("citations")
    if citations and citations.flag("enabled"):
        extras.append(Extra(Field.CITATIONS, citations.at("enabled")))
    source, title = block.obj("source"), block.maybe_text("title")
    kind, at = source.text("type"), source.at("data")
    if kind == "base64":
        return Document(at, source.text("media_type"), source.text("data"), title=title)
    context = block.maybe_text("context")
    if kind == "text":
        return Document(at, "text/plain", parts=(Text(source.text("data")),), title=title, context=context)
    if kind == "content":
        parts = tuple([_inner(item) for item in source.parts("content")])
        return Document(source.at("content"), parts=parts, title=title, context=context)
    return Foreign(Unknown.DOCUMENT, kind, source.at("type"))


def _inner(item: Checked) -> Text | Image | Foreign:
    return _image(item) if item.raw("type") == "image" else Text(item.text("text"))
