"""Writes a neutral request in this format. `turns` writes the turns."""

from __future__ import annotations

from typing import Any

from weir_router.contract import Traits
from weir_router.dialects.neutral.conversation import Choice, Conversation, Effort, Foreign, Shape, Tool
from weir_router.dialects.neutral.custom import as_function
from weir_router.dialects.neutral.efforts import WIDELY_KNOWN_EFFORTS, effort_of, nearest
from weir_router.dialects.neutral.ids import user_id
from weir_router.dialects.neutral.schemas import is_strict, parameters
from weir_router.dialects.neutral.table import NO_STATE, Fate, Field, Refused, Table, refusal, settle
from weir_router.dialects.neutral.target import ANY, Target
from weir_router.dialects.openai_chat.turns import foreign, messages_of
from weir_router.dialects.openai_chat.understand import EXTRAS

MAX_USER = 64
"""Characters of the longest `user` that OpenAI takes; Claude Code's `metadata.user_id` is longer."""

MAX_STOPS = 4
"""Stop sequences that OpenAI accepts, at most."""

SCHEMA_NAME = "answer"
"""Name of a schema, which this format demands and the neutral form does not have."""

TABLE: Table = {
    **dict.fromkeys(Field, Fate.KEPT),
    Field.THOUGHT: Fate.BY_MODEL,
    Field.GRAMMAR: Fate.APPROXIMATED,
    Field.CACHE: Fate.DROPPED,
    Field.DETAIL: Fate.DROPPED,
    Field.NAMES: Fate.DROPPED,
    Field.TOOL_HINTS: Fate.DROPPED,
    Field.TOOL_SEARCH: Fate.DROPPED,
    Field.SERVER_TOOLS: Fate.DROPPED,
    Field.UNKNOWN: Fate.DROPPED,
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
    **NO_STATE,
    Field.HOSTED_TOOLS: Fate.DROPPED,
    Field.TRUNCATION: Fate.DROPPED,
    Field.COMPACTION: Fate.DROPPED,
    Field.INCLUDE: Fate.DROPPED,
    Field.MAX_TOOL_CALLS: Fate.DROPPED,
    Field.PHASE: Fate.DROPPED,
}

_NAMES = {field: name for name, (field, _) in EXTRAS.items()}
_TIERS = {"auto": "auto", "standard": "default"}
_MODES = {"auto": "auto", "any": "required", "none": "none"}


def write(asked: Conversation, target: Target = ANY, dropped: list[str] | None = None) -> dict[str, Any]:
    """See `base.Write`."""
    dropped = [] if dropped is None else dropped
    settle(TABLE, asked.extras, dropped)
    out: dict[str, Any] = {"model": asked.model, "messages": messages_of(asked, target, dropped)}
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
    if effort := _effort(asked.effort, target.traits):
        out["reasoning_effort"] = effort
    if asked.user:
        out["user"] = user_id(asked.user, MAX_USER)
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


def _effort(effort: Effort | None, traits: Traits) -> str | None:
    """An effort that the model knows, or every model of this format; None leaves it to the model."""
    if effort is None:
        return None
    if effort.name == "none":
        return "none" if "none" in traits.efforts else None
    if effort.name is None and not effort.budget:
        return None
    return nearest(effort.name or effort_of(effort.budget or 0), traits.efforts or WIDELY_KNOWN_EFFORTS)


def _tools(asked: Conversation, out: dict[str, Any]) -> None:
    tools = [_tool(tool) for tool in asked.tools]
    choice = asked.choice
    if isinstance(choice, Foreign):
        raise foreign(choice)
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
        raise foreign(tool)
    tool = as_function(tool)
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = parameters(tool.parameters)
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choice(choice: Choice) -> Any:
    if choice.name is not None:
        return {"type": "function", "function": {"name": choice.name}}
    return _MODES[choice.mode]
