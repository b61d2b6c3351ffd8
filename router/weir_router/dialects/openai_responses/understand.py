"""Reads a request of this format into the neutral form. Errors name the malformed field. `history` reads the items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from weir_router.dialects.neutral.checked import Checked
from weir_router.dialects.neutral.conversation import (
    EFFORTS,
    Choice,
    Conversation,
    Effort,
    Extra,
    Foreign,
    Grammar,
    Shape,
    Text,
    Tool,
    Turn,
    Unknown,
)
from weir_router.dialects.neutral.table import Field, refusal
from weir_router.dialects.openai_responses.history import TOOLS_ITEM, History
from weir_router.dialects.openai_responses.namespaces import joined
from weir_router.errors import BadRequest

SEALED_REASONING = "reasoning.encrypted_content"
"""Value of `include` that asks for the state of reasoning. A translated answer has it in any case."""

EXTRAS: dict[str, tuple[Field, Callable[[Any], bool]]] = {
    "previous_response_id": (Field.PREVIOUS_RESPONSE, bool),
    "conversation": (Field.STORED_CONVERSATION, bool),
    "prompt": (Field.STORED_PROMPT, bool),
    "background": (Field.BACKGROUND, bool),
    "include": (Field.INCLUDE, bool),
    "store": (Field.STORE, bool),
    "truncation": (Field.TRUNCATION, lambda value: value != "disabled"),
    "context_management": (Field.COMPACTION, bool),
    "max_tool_calls": (Field.MAX_TOOL_CALLS, lambda _: True),
    "moderation": (Field.MODERATION, lambda _: True),
    "metadata": (Field.METADATA, bool),
    "prompt_cache_key": (Field.CACHE_HINTS, bool),
}
"""Fields that the neutral form only names, and whether a value that is not null asks for anything."""

_READ = frozenset(
    {
        *("model", "input", "instructions", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls"),
        *("text", "temperature", "top_p", "max_output_tokens", "reasoning", "user", "safety_identifier"),
        *("service_tier", "top_logprobs"),
    }
)
"""Fields that `understand` reads."""

TOOL_HINTS = ("defer_loading", "allowed_callers", "output_schema")
"""Fields of a tool that other formats do not have."""

OFFERED = ("web_search", "image_generation", "tool_search")
"""Beginnings of the types of tools that run at OpenAI, and that agents offer beside their own: Codex always does."""

FIELDS = frozenset(
    {
        *_READ,
        *EXTRAS,
        *TOOL_HINTS,
        *OFFERED,
        *("phase", "detail", "grammar", "verbosity", "server_tools", "prompt_cache_breakpoint", "summary"),
        *("reasoning_effort", "thinking", "prefill", "context", "mode"),
    }
)
"""Names that `x-weir-dropped` may hold for a caller of this format, beside unknown ones."""

_TIERS = {"auto": "auto", "default": "standard"}  # the others are products of OpenAI's own
_CHOICES = {"auto": Choice("auto"), "none": Choice("none"), "required": Choice("any")}
_SUMMARIES = ("auto", "concise", "detailed")


def understand(body: Checked, model: str) -> Conversation:
    """The request in the neutral form. Raises `BadRequest`."""
    if body.raw("top_logprobs"):
        raise refusal("top_logprobs", "log probabilities are not translated", "leave it out")
    extras = list(_extras(body))
    text = body.maybe_obj("text")
    if text and (verbosity := text.maybe_text("verbosity")):
        extras.append(Extra(Field.VERBOSITY, text.at("verbosity"), verbosity))
    tools = _tools(body, extras)
    instructions = body.maybe_text("instructions")
    return Conversation(
        model=model,
        instructions=(Text(instructions),) if instructions else (),
        turns=_turns(body, extras),
        tools=tools,
        choice=_choice(body) if tools else None,
        parallel=body.flag("parallel_tool_calls") if tools else None,
        shape=_shape(text.maybe_obj("format") if text else None),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        max_output=_max_output(body),
        max_output_at="max_output_tokens",
        effort=_effort(body.maybe_obj("reasoning"), extras),
        user=body.maybe_text("safety_identifier") or body.maybe_text("user"),
        tier=_TIERS.get(body.maybe_text("service_tier") or ""),
        extras=tuple(extras),
    )


def _extras(body: Checked) -> Iterator[Extra]:
    for name, value in body.data.items():
        if value is None:
            continue
        if name == "include" and isinstance(value, list):
            value = [it for it in value if it != SEALED_REASONING]
        if name in EXTRAS:
            field, asks = EXTRAS[name]
            if asks(value):
                yield Extra(field, name, value)
        elif name not in _READ or (name == "service_tier" and value not in _TIERS):
            yield Extra(Field.UNKNOWN, name)


def _turns(body: Checked, extras: list[Extra]) -> tuple[Turn, ...]:
    given = body.raw("input")
    if isinstance(given, str):
        return (Turn("user", (Text(given),)),)
    history = History(extras)
    for item in body.objects("input"):
        history.read(item)
    return history.finish()


def _max_output(body: Checked) -> int | None:
    tokens = body.tokens("max_output_tokens")
    if tokens == 0:
        raise BadRequest("max_output_tokens must be at least 1", param="max_output_tokens")
    return tokens


def _shape(wanted: Checked | None) -> Shape | None:
    kind = wanted.text("type") if wanted else "text"
    if wanted and kind == "json_schema":
        return Shape(wanted.obj("schema").data)
    if kind == "json_object":
        return Shape(None)
    if kind != "text":
        raise BadRequest("text.format.type must be text, json_object or json_schema", param="text.format.type")
    return None


def _effort(reasoning: Checked | None, extras: list[Extra]) -> Effort | None:
    if reasoning is None:
        return None
    # A summary is what other formats give by themselves.
    summary = reasoning.maybe_text("summary")
    if summary is not None and summary not in _SUMMARIES:
        raise BadRequest(f"{reasoning.at('summary')} must be one of {', '.join(_SUMMARIES)}", param="reasoning.summary")
    extras += [Extra(Field.UNKNOWN, reasoning.at(name)) for name in ("context", "mode") if reasoning.has(name)]
    effort = reasoning.maybe_text("effort")
    if effort is None:
        return None
    if effort not in EFFORTS:
        raise BadRequest(f"{reasoning.at('effort')} must be one of {', '.join(EFFORTS)}", param="reasoning.effort")
    return Effort(effort)


def _tools(body: Checked, extras: list[Extra]) -> tuple[Tool | Foreign, ...]:
    """The tools, those of namespaces as any other. A search that is offered beside them is left out: without it, the
    model answers as well as it can. A search alone is what the caller wants.
    """
    own: list[Tool | Foreign] = []
    offered: list[Checked] = []
    for tool in _given_tools(body):
        kind = tool.text("type")
        if kind == "namespace":
            own += [_tool(inner, extras, tool.text("name")) for inner in tool.objects("tools")]
        elif kind.startswith(OFFERED):
            offered.append(tool)
        else:
            own.append(_tool(tool, extras))
    if not own:
        return tuple([Foreign(Unknown.TOOL, tool.text("type"), tool.at("type")) for tool in offered])
    extras += [Extra(Field.HOSTED_TOOLS, tool.at(tool.text("type")), tool.data) for tool in offered]
    return tuple(own)


def _given_tools(body: Checked) -> Iterator[Checked]:
    """All tools of a request: its own field, and those that stand among the items, where Codex puts them."""
    yield from body.objects("tools")
    if isinstance(body.raw("input"), list):
        for item in body.objects("input"):
            if item.raw("type") == TOOLS_ITEM:
                yield from item.objects("tools")


def _tool(tool: Checked, extras: list[Extra], namespace: str = "") -> Tool | Foreign:
    kind = tool.text("type")
    if kind not in ("function", "custom"):
        return Foreign(Unknown.TOOL, kind, tool.at("type"))
    extras += [Extra(Field.TOOL_HINTS, tool.at(hint)) for hint in TOOL_HINTS if tool.raw(hint)]
    name, description = joined(tool, namespace), tool.maybe_text("description")
    if kind == "custom":
        grammar = _grammar(tool.maybe_obj("format"), extras)
        return Tool(name, description, None, False, custom=True, grammar=grammar, namespace=namespace)
    parameters = tool.maybe_obj("parameters")
    schema, strict = parameters.data if parameters else None, tool.flag("strict") or False
    return Tool(name, description, schema, strict, namespace=namespace)


def _grammar(form: Checked | None, extras: list[Extra]) -> Grammar | None:
    if form is None or form.text("type") != "grammar":
        return None
    extras.append(Extra(Field.GRAMMAR, f"{form.where}.grammar"))
    return Grammar(form.text("syntax"), form.text("definition"))


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
        return Choice("named", joined(named))
    if kind == "allowed_tools":
        mode = "any" if named.maybe_text("mode") == "required" else "auto"
        return Choice(mode, None, tuple([joined(tool) for tool in named.objects("tools") if tool.has("name")]))
    return Foreign(Unknown.CHOICE, kind, "tool_choice.type")
