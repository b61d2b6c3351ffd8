"""Reads a request of this format into the neutral form. Errors name the malformed field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from msgspec.structs import replace

from weir_router.dialects.neutral.checked import Checked, as_dict, as_list, as_text, cache_of
from weir_router.dialects.neutral.conversation import (
    EFFORTS,
    Call,
    Choice,
    Conversation,
    Document,
    Effort,
    Extra,
    Foreign,
    Grammar,
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
from weir_router.dialects.neutral.media import image_type, is_data_url, split_data_url
from weir_router.dialects.neutral.opaque import untagged
from weir_router.dialects.neutral.table import Field, refusal
from weir_router.dialects.wire.relay import encode
from weir_router.errors import BadRequest

P = TypeVar("P", bound=Part | Thought | Call)

EXTRAS: dict[str, tuple[Field, Callable[[Any], bool]]] = {
    "n": (Field.ANSWERS, lambda value: value != 1),
    "logprobs": (Field.LOGPROBS, bool),
    "top_logprobs": (Field.TOP_LOGPROBS, bool),
    "audio": (Field.SPEECH, lambda _: True),
    "modalities": (Field.MODALITIES, lambda value: value != ["text"]),
    "web_search_options": (Field.WEB_SEARCH, lambda _: True),
    "moderation": (Field.MODERATION, lambda _: True),
    "seed": (Field.SEED, lambda _: True),
    "logit_bias": (Field.LOGIT_BIAS, bool),
    "frequency_penalty": (Field.FREQUENCY_PENALTY, bool),
    "presence_penalty": (Field.PRESENCE_PENALTY, bool),
    "prediction": (Field.PREDICTION, bool),
    "verbosity": (Field.VERBOSITY, bool),
    "store": (Field.STORE, bool),
    "metadata": (Field.METADATA, bool),
    "prompt_cache_key": (Field.CACHE_HINTS, bool),
}
"""Fields that the neutral form only names, and whether a value that is not null asks for anything."""

_READ = frozenset(
    {
        *(
            "model",
            "messages",
            "stream",
            "stream_options",
            "max_completion_tokens",
            "max_tokens",
            "tools",
            "tool_choice",
        ),
        *("parallel_tool_calls", "temperature", "top_p", "stop", "response_format", "reasoning_effort", "user"),
        *("safety_identifier", "service_tier", "functions", "function_call"),
    }
)
"""Fields that `understand` reads."""

FIELDS = frozenset(
    {
        *_READ,
        *EXTRAS,
        *("name", "detail", "cache_control", "reasoning", "prefill", "prompt_cache_breakpoint", "thinking", "grammar"),
    }
)
"""Names that `x-weir-dropped` may hold for a caller of this format, beside unknown ones."""

_DEPRECATED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("functions", bool, "use tools"),
    ("function_call", lambda _: True, "use tool_choice"),
)

_TIERS = {"auto": "auto", "default": "standard"}  # the others are products of OpenAI's own

_CHOICES = {"auto": Choice("auto"), "none": Choice("none"), "required": Choice("any")}


def understand(body: Checked, model: str) -> Conversation:
    """The request in the neutral form. Raises `BadRequest`."""
    for name, asks, do in _DEPRECATED:
        if body.has(name) and asks(body.raw(name)):
            raise refusal(name, "deprecated, and its answers cannot be given", do)
    extras = list(_extras(body))
    turns = tuple([_turn(message, extras) for message in body.objects("messages")])
    shape = _shape(body)
    tools = tuple([_tool(tool, extras) for tool in body.objects("tools")])
    max_output, max_output_at = _max_output(body)
    return Conversation(
        model=model,
        turns=turns,
        tools=tools,
        choice=_choice(body),
        parallel=body.flag("parallel_tool_calls") if tools else None,
        shape=shape,
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        stops=tuple(body.list_of_text("stop")),
        stops_at="stop",
        max_output=max_output,
        max_output_at=max_output_at,
        effort=_effort(body),
        user=body.maybe_text("safety_identifier") or body.maybe_text("user"),
        tier=_TIERS.get(body.maybe_text("service_tier") or ""),
        extras=tuple(extras),
    )


def _extras(body: Checked) -> Iterator[Extra]:
    for name, value in body.data.items():
        if name in EXTRAS and value is not None:
            field, asks = EXTRAS[name]
            if asks(value):
                yield Extra(field, name, value)
        elif value is not None and (name not in _READ or (name == "service_tier" and value not in _TIERS)):
            yield Extra(Field.UNKNOWN, name)


def _max_output(body: Checked) -> tuple[int | None, str]:
    for name in ("max_completion_tokens", "max_tokens"):
        tokens = body.tokens(name)
        if tokens == 0:
            raise BadRequest(f"{name} must be at least 1", param=name)
        if tokens:
            return tokens, name
    return None, ""


def _shape(body: Checked) -> Shape | None:
    wanted = body.maybe_obj("response_format")
    kind = wanted.text("type") if wanted else "text"
    if kind == "json_object":
        return Shape(None)
    if wanted and kind == "json_schema":
        schema = wanted.obj("json_schema").maybe_obj("schema")
        return Shape(schema.data if schema else {"type": "object"})
    if kind != "text":
        raise BadRequest("response_format.type must be text, json_object or json_schema", param="response_format.type")
    return None


def _effort(body: Checked) -> Effort | None:
    effort = body.maybe_text("reasoning_effort")
    if effort is None:
        return None
    if effort not in EFFORTS:
        raise BadRequest(f"reasoning_effort must be one of {', '.join(EFFORTS)}", param="reasoning_effort")
    return Effort(effort)


def _tool(tool: Checked, extras: list[Extra]) -> Tool | Foreign:
    kind = tool.maybe_text("type") or "function"
    if kind == "custom":
        return _custom_tool(tool.obj("custom"), _cache(tool, extras), extras)
    if kind != "function":
        return Foreign(Unknown.TOOL, kind, tool.at("type"))
    function = tool.obj("function")
    parameters = function.maybe_obj("parameters")
    return Tool(
        function.text("name"),
        function.maybe_text("description"),
        parameters.data if parameters else None,
        function.flag("strict") or False,
        _cache(tool, extras) if tool.has("cache_control") else _cache(function, extras),
    )


def _custom_tool(custom: Checked, cache: str | None, extras: list[Extra]) -> Tool:
    form = custom.maybe_obj("format")
    grammar = None
    if form and form.text("type") == "grammar":
        it = form.obj("grammar")
        grammar = Grammar(it.text("syntax"), it.text("definition"))
        extras.append(Extra(Field.GRAMMAR, form.at("grammar")))
    return Tool(custom.text("name"), custom.maybe_text("description"), None, False, cache, True, grammar)


def _choice(body: Checked) -> Choice | Foreign | None:
    choice = body.raw("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice in _CHOICES:
            return _CHOICES[choice]
        raise BadRequest("tool_choice must be auto, none, required or an object", param="tool_choice")
    named = body.obj("tool_choice")
    kind = named.text("type")
    if kind in ("function", "custom"):
        return Choice("named", named.obj(kind).text("name"))
    if kind == "allowed_tools":
        allowed = named.obj("allowed_tools")
        mode = "any" if allowed.maybe_text("mode") == "required" else "auto"
        tools = [tool.obj(tool.maybe_text("type") or "function") for tool in allowed.objects("tools")]
        return Choice(mode, None, tuple([tool.text("name") for tool in tools]))
    return Foreign(Unknown.CHOICE, kind, "tool_choice.type")


def _turn(message: Checked, extras: list[Extra]) -> Turn:
    role = message.text("role")
    if message.has("name"):
        extras.append(Extra(Field.NAMES, message.at("name")))
    if role == "user":
        return Turn("user", _marked(_user_parts(message, extras), message, extras))
    if role == "assistant":
        return Turn("assistant", _marked(_assistant_parts(message, extras), message, extras))
    if role == "tool":
        parts = _user_parts(message, extras)
        return Turn("user", (Result(message.text("tool_call_id"), parts, cache=_cache(message, extras)),))
    if role in ("system", "developer"):
        said = tuple([_system_part(part, extras) for part in message.parts("content")])
        return Turn("system", _marked(said, message, extras))
    if role == "function":
        raise refusal(message.at("role"), "deprecated, and has no id to refer to a call", "use tools and the role tool")
    raise BadRequest(
        f"{message.at('role')} must be system, developer, user, assistant or tool", param=message.at("role")
    )


def _cache(holder: Checked, extras: list[Extra]) -> str | None:
    """The mark for the cache, as clients of OpenRouter and LiteLLM write it."""
    mark = cache_of(holder) if "cache_control" in holder.data else None
    if mark is not None:
        extras.append(Extra(Field.CACHE, "cache_control"))
    return mark


def _marked(parts: tuple[P, ...], message: Checked, extras: list[Extra]) -> tuple[P, ...]:
    """The parts, the last with the mark of the whole message."""
    mark = _cache(message, extras)
    if mark is None or not parts or isinstance(parts[-1], (Thought, Foreign)):
        return parts
    return (*parts[:-1], replace(parts[-1], cache=mark))


def _user_parts(message: Checked, extras: list[Extra]) -> tuple[Part, ...]:
    content = message.raw("content")
    if isinstance(content, str):
        return (Text(content),)  # nearly always
    return tuple([_user_part(part, extras) for part in message.objects("content")])


def _user_part(part: Checked, extras: list[Extra]) -> Part:
    kind = part.text("type")
    if part.has("prompt_cache_breakpoint"):
        extras.append(Extra(Field.UNKNOWN, part.at("prompt_cache_breakpoint")))
    if kind == "text":
        return Text(part.text("text"), cache=_cache(part, extras))
    if kind == "image_url":
        return _image(part.obj("image_url"), _cache(part, extras), extras)
    if kind == "file":
        return replace(_document(part.obj("file")), cache=_cache(part, extras))
    return Foreign(Unknown.PART, kind, part.at("type"))


def _system_part(part: Checked, extras: list[Extra]) -> Text:
    if part.text("type") != "text":
        raise refusal(part.at("type"), "a system prompt is text", "move it to a user message")
    return Text(part.text("text"), cache=_cache(part, extras))


def _assistant_parts(message: Checked, extras: list[Extra]) -> tuple[Text | Thought | Call | Foreign, ...]:
    parts: list[Text | Thought | Call | Foreign] = [
        Foreign(Unknown.SAID, name, message.at(name)) for name in ("audio", "function_call") if message.has(name)
    ]
    parts += _thoughts(message)
    parts += [_said(part, extras) for part in message.parts("content")]
    if refused := message.maybe_text("refusal"):
        parts.append(Text(refused, refusal=True))
    parts += [_call(call) for call in message.objects("tool_calls")]
    return tuple(parts)


def _thoughts(message: Checked) -> list[Thought]:
    """The thought of an earlier answer: with signatures, if the caller's SDK keeps `reasoning_details`."""
    signed = []
    for detail in as_list(message.raw("reasoning_details")):
        it = as_dict(detail)
        if signature := as_text(it.get("signature")):
            signed.append(Thought(as_text(it.get("text")), untagged(signature)))
        elif it.get("type") == "reasoning.encrypted" and (data := as_text(it.get("data"))):
            signed.append(Thought("", untagged(data, redacted=True)))
    if signed:
        return signed
    thought = as_text(message.raw("reasoning_content")) or as_text(message.raw("reasoning"))
    return [Thought(thought)] if thought else []


def _said(part: Checked, extras: list[Extra]) -> Text:
    kind = part.text("type")
    if kind in ("text", "refusal"):
        return Text(part.text(kind), refusal=kind == "refusal", cache=_cache(part, extras))
    raise refusal(
        part.at("type"), f"an assistant's turn cannot hold a part of type {kind!r}", "send text or refusal parts"
    )


def _call(call: Checked) -> Call | Foreign:
    kind = call.maybe_text("type") or "function"
    if kind == "custom":
        custom = call.obj("custom")
        return Call(call.text("id"), custom.text("name"), custom.text("input"), custom.at("input"), custom=True)
    if kind != "function":
        return Foreign(Unknown.CALL, kind, call.at("type"))
    function = call.obj("function")
    name, given = function.text("name"), function.raw("arguments")
    arguments = encode(given).decode() if isinstance(given, dict) else function.maybe_text("arguments") or ""
    signature = signature_of(call.data)
    return Call(call.text("id"), name, arguments, function.at("arguments"), untagged(signature) if signature else None)


def signature_of(call: dict[str, Any]) -> str:
    """The signature that Gemini's endpoint gives a tool call, and wants back."""
    return as_text(as_dict(as_dict(call.get("extra_content")).get("google")).get("thought_signature"))


def _image(image: Checked, cache: str | None, extras: list[Extra]) -> Image:
    url, at = image.text("url"), image.at("url")
    if image.raw("detail") not in (None, "auto"):
        extras.append(Extra(Field.DETAIL, image.at("detail")))
    if not is_data_url(url):
        return Image(at, url, cache=cache)
    media_type, data = split_data_url(url, at)
    return Image(at, None, image_type(media_type, data), data, cache)


def _document(file: Checked) -> Document:
    if not file.has("file_data"):
        raise refusal(
            file.at("file_id"), "an uploaded file is known to its own provider only", "send it inline as file_data"
        )
    at = file.at("file_data")
    media_type, data = split_data_url(file.text("file_data"), at)
    return Document(at, media_type, data, title=file.maybe_text("filename"))
