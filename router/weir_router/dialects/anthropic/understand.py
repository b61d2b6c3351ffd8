"""Reads a request of this format into the neutral form. Errors name the malformed field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from weir_router.dialects.neutral.checked import Checked, as_dict, as_list, as_text, cache_of
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
from weir_router.dialects.neutral.media import image_type
from weir_router.dialects.neutral.opaque import untagged, untagged_id
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

_READ = frozenset(
    {
        *("model", "messages", "max_tokens", "stream", "system", "tools", "tool_choice", "output_config"),
        *("output_format", "metadata", "thinking", "temperature", "top_p", "stop_sequences", "service_tier"),
    }
)
"""Fields that `understand` reads."""

TOOL_HINTS = ("input_examples", "defer_loading", "eager_input_streaming", "allowed_callers")
"""Fields of a tool that other formats do not have."""

_TIERS = {"auto": "auto", "standard_only": "standard"}
_KNOWN = _READ.union(EXTRAS)
FIELDS = frozenset(
    {
        *_KNOWN,
        *TOOL_HINTS,
        *("cache_control", "reasoning", "reasoning_effort", "prefill", "budget_tokens", "effort", "tool_search"),
        "server_tools",
    }
)
"""Names that `x-weir-dropped` may hold for a caller of this format, beside unknown ones."""

_MODES = {"auto": Choice("auto"), "any": Choice("any"), "none": Choice("none")}


def understand(body: Checked, model: str) -> Conversation:
    """The request in the neutral form. Raises `BadRequest`."""
    extras = [Extra(field, name, value) for name, field in EXTRAS.items() if (value := body.raw(name))]
    extras += [_unread(name) for name, value in body.data.items() if value is not None and name not in _KNOWN]
    instructions = tuple(_texts(body, "system", extras))
    turns = tuple([_turn(turn, extras) for turn in body.objects("messages")])
    tools = tuple([made for tool in body.objects("tools") if (made := _tool(tool, extras)) is not None])
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
        shape=_shape(config.maybe_obj("format") if config else None) or _shape(body.maybe_obj("output_format")),
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


def _unread(name: str) -> Extra:
    return Extra(Field.CACHE if name == "cache_control" else Field.UNKNOWN, name)


def _cache(holder: Checked, extras: list[Extra]) -> str | None:
    mark = cache_of(holder) if "cache_control" in holder.data else None
    if mark is not None:
        extras.append(Extra(Field.CACHE, "cache_control"))
    return mark


def _shape(wanted: Checked | None) -> Shape | None:
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


def _tool(tool: Checked, extras: list[Extra]) -> Tool | None:
    """A tool; None for the search among tools, which a model that gets all of them does not need."""
    kind = tool.maybe_text("type") or "custom"
    if kind.startswith("tool_search_tool"):
        extras.append(Extra(Field.TOOL_SEARCH, "tool_search"))
        return None
    if kind != "custom":
        raise refusal(
            tool.at("type"), f"the tool {kind!r} is Anthropic's own", "offer a tool of your own with an input_schema"
        )
    name, description = tool.text("name"), tool.maybe_text("description")
    extras += [Extra(Field.TOOL_HINTS, tool.at(hint)) for hint in TOOL_HINTS if tool.raw(hint)]
    strict, cache = tool.flag("strict") or False, _cache(tool, extras)
    return Tool(name, description, tool.obj("input_schema").data, strict, cache)


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
            call, _ = untagged_id(block.text("tool_use_id"))
            inner = tuple([_user_part(each, extras) for each in block.parts("content")])
            parts.append(Result(call, inner, block.flag("is_error") or False, _cache(block, extras)))
        else:
            parts.append(_user_part(block, extras))
    return tuple(parts)


def _user_part(block: Checked, extras: list[Extra]) -> Part:
    kind = block.text("type")
    if kind == "text":
        return Text(block.text("text"), cache=_cache(block, extras))
    if kind == "image":
        return _image(block, _cache(block, extras))
    if kind == "document":
        return _document(block, extras)
    if kind == "search_result":
        heading = f"{block.text('title')} ({block.text('source')})"
        inner = [text.text for text in _texts(block, "content", extras)]
        return Text(heading + "\n" + "\n".join(inner), cache=_cache(block, extras))
    if kind == "tool_reference":
        return Text(block.text("tool_name"))
    return Foreign(Unknown.PART, kind, block.at("type"))


def _assistant_turn(turn: Checked, extras: list[Extra]) -> tuple[Text | Thought | Call, ...]:
    return tuple([part for block in turn.parts("content") if (part := _said(block, extras)) is not None])


def _said(block: Checked, extras: list[Extra]) -> Text | Thought | Call | None:
    kind = block.text("type")
    if kind == "text":
        return Text(block.text("text"), cache=_cache(block, extras))
    if kind == "tool_use":
        call, opaque = untagged_id(block.text("id"))
        name, arguments = block.text("name"), encode(block.obj("input").data).decode()
        return Call(call, name, arguments, block.at("input"), opaque, _cache(block, extras))
    if kind == "thinking":
        signature = as_text(block.raw("signature"))
        return Thought(as_text(block.raw("thinking")), untagged(signature) if signature else None)
    if kind == "redacted_thinking":
        return Thought("", untagged(as_text(block.raw("data")), redacted=True))
    if kind.endswith(("_tool_use", "_tool_result")):
        extras.append(Extra(Field.SERVER_TOOLS, "server_tools"))
        found = "\n".join(_found(block.raw("content")))
        return Text(found) if found else None
    raise refusal(block.at("type"), f"a block of type {kind!r} is Anthropic's own", "leave it out of the history")


def _found(content: Any) -> Iterator[str]:
    """The text that is left of the result of a tool that ran at the provider: texts, titles and URLs."""
    for item in map(as_dict, as_list(content)):
        yield from (text for name in ("title", "url", "text") if (text := as_text(item.get(name))))


def _system_turn(turn: Checked, extras: list[Extra]) -> tuple[Text, ...]:
    return tuple(_texts(turn, "content", extras))


_READERS: dict[str, Callable[[Checked, list[Extra]], tuple[Part | Thought | Call | Result, ...]]] = {
    "user": _user_turn,
    "assistant": _assistant_turn,
    "system": _system_turn,
}


def _texts(holder: Checked, key: str, extras: list[Extra]) -> Iterator[Text]:
    for block in holder.parts(key):
        if block.text("type") != "text":
            raise refusal(block.at("type"), "only text can stand here", "move it to a user turn")
        yield Text(block.text("text"), cache=_cache(block, extras))


def _image(block: Checked, cache: str | None = None) -> Image | Foreign:
    source = block.obj("source")
    kind = source.text("type")
    if kind == "url":
        return Image(source.at("url"), source.text("url"), cache=cache)
    if kind == "base64":
        data = source.text("data")
        return Image(source.at("data"), None, image_type(source.text("media_type"), data), data, cache)
    return Foreign(Unknown.IMAGE, kind, source.at("type"))


def _document(block: Checked, extras: list[Extra]) -> Document | Foreign:
    citations = block.maybe_obj("citations")
    if citations and citations.flag("enabled"):
        extras.append(Extra(Field.CITATIONS, citations.at("enabled")))
    source, title, cache = block.obj("source"), block.maybe_text("title"), _cache(block, extras)
    kind, at = source.text("type"), source.at("data")
    if kind == "base64":
        return Document(at, source.text("media_type"), source.text("data"), title=title, cache=cache)
    context = block.maybe_text("context")
    if kind == "text":
        text = Text(source.text("data"))
        return Document(at, "text/plain", parts=(text,), title=title, context=context, cache=cache)
    if kind == "content":
        parts = tuple([_inner(item) for item in source.parts("content")])
        return Document(source.at("content"), parts=parts, title=title, context=context, cache=cache)
    return Foreign(Unknown.DOCUMENT, kind, source.at("type"))


def _inner(item: Checked) -> Text | Image | Foreign:
    return _image(item) if item.raw("type") == "image" else Text(item.text("text"))
