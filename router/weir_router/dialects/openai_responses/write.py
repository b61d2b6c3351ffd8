"""Writes a neutral request in this format. `turns` writes the turns."""

from __future__ import annotations

from typing import Any

from weir_router.contract import Traits
from weir_router.dialects.neutral.conversation import Choice, Conversation, Effort, Foreign, Shape, Tool
from weir_router.dialects.neutral.efforts import WIDELY_KNOWN_EFFORTS, effort_of, nearest
from weir_router.dialects.neutral.ids import user_id
from weir_router.dialects.neutral.schemas import is_strict, parameters
from weir_router.dialects.neutral.table import Fate, Field, Refused, Table, refusal, settle
from weir_router.dialects.neutral.target import ANY, Target
from weir_router.dialects.openai_chat.turns import foreign
from weir_router.dialects.openai_responses.turns import items_of
from weir_router.dialects.openai_responses.understand import EXTRAS, SEALED_REASONING

MAX_USER = 64
"""Characters of the longest `user` that OpenAI takes; Claude Code's `metadata.user_id` is longer."""

MIN_OUTPUT = 16
"""Tokens of the smallest `max_output_tokens` that OpenAI takes. A smaller limit becomes this one."""

SCHEMA_NAME = "answer"
"""Name of a schema, which this format demands and the neutral form does not have."""

_NO_LOGPROBS = Refused("log probabilities are not translated", "leave it out")

TABLE: Table = {
    **dict.fromkeys(Field, Fate.KEPT),
    Field.THOUGHT: Fate.BY_MODEL,
    Field.STOPS: Fate.DROPPED,  # as for models of chat completions that refuse them
    Field.ANSWERS: Refused("the Responses API gives one answer", "ask several times, or leave n out"),
    Field.LOGPROBS: _NO_LOGPROBS,
    Field.TOP_LOGPROBS: _NO_LOGPROBS,
    Field.SPEECH: Refused("the Responses API does not speak", "leave it out"),
    Field.MODALITIES: Refused("the Responses API answers in text", "ask for text only"),
    Field.WEB_SEARCH: Refused("the Responses API searches by a tool of its own", "offer a search tool of your own"),
    Field.SEED: Fate.DROPPED,
    Field.LOGIT_BIAS: Fate.DROPPED,
    Field.FREQUENCY_PENALTY: Fate.DROPPED,
    Field.PRESENCE_PENALTY: Fate.DROPPED,
    Field.PREDICTION: Fate.DROPPED,
    Field.STORE: Fate.DROPPED,
    Field.TOP_K: Fate.DROPPED,
    Field.CITATIONS: Refused("OpenAI models do not cite documents", "leave citations out"),
    Field.CONTAINER: Refused("containers run at Anthropic only", "leave it out"),
    Field.MCP_SERVERS: Refused(
        "Anthropic's MCP connector has no equivalent", "call the servers yourself and offer their tools"
    ),
    Field.PLACE: Refused(
        "OpenAI models cannot promise where they run", "leave it out, or route by the label of a backend"
    ),
    Field.CACHE: Fate.DROPPED,
    Field.SPEED: Fate.DROPPED,
    Field.CONTEXT_MANAGEMENT: Fate.DROPPED,
    Field.DETAIL: Fate.DROPPED,
    Field.NAMES: Fate.DROPPED,
    Field.TOOL_HINTS: Fate.DROPPED,
    Field.TOOL_SEARCH: Fate.DROPPED,
    Field.SERVER_TOOLS: Fate.DROPPED,
    Field.PHASE: Fate.DROPPED,
    Field.UNKNOWN: Fate.DROPPED,
}

_NAMES = {field: name for name, (field, _) in EXTRAS.items() if TABLE[field] is Fate.KEPT}
_TIERS = {"auto": "auto", "standard": "default"}
_MODES = {"auto": "auto", "any": "required", "none": "none"}


def write(asked: Conversation, target: Target = ANY, dropped: list[str] | None = None) -> dict[str, Any]:
    """See `base.Write`. Nothing is stored, since Weir keeps no way back to an answer."""
    dropped = [] if dropped is None else dropped
    settle(TABLE, asked.extras, dropped)
    out: dict[str, Any] = {"model": asked.model, "input": items_of(asked, target, dropped), "store": False}
    if instructions := "\n\n".join([text.text for text in asked.instructions]):
        out["instructions"] = instructions
    if asked.max_output == 0:
        raise refusal(
            asked.max_output_at, "OpenAI models cannot be asked to fill their cache only", "ask for at least 1"
        )
    if asked.max_output:
        out["max_output_tokens"] = max(asked.max_output, MIN_OUTPUT)
    if asked.stops:
        dropped.append(asked.stops_at)
    _tools(asked, out)
    if asked.temperature is not None:
        out["temperature"] = asked.temperature
    if asked.top_p is not None:
        out["top_p"] = asked.top_p
    if asked.user:
        out["user"] = user_id(asked.user, MAX_USER)
    if tier := _TIERS.get(asked.tier or ""):
        out["service_tier"] = tier
    text = {"format": _shape(asked.shape)} if asked.shape else {}
    for extra in asked.extras:
        if extra.field is Field.VERBOSITY:
            text["verbosity"] = extra.value
        elif extra.field in _NAMES:
            out[_NAMES[extra.field]] = extra.value
    if text:
        out["text"] = text
    _reason(asked.effort, target.traits, out)
    return out


def _shape(shape: Shape) -> dict[str, Any]:
    if shape.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "name": SCHEMA_NAME, "schema": shape.schema, "strict": is_strict(shape.schema)}


def _reason(effort: Effort | None, traits: Traits, out: dict[str, Any]) -> None:
    """Asks a model that reasons for its effort, for a summary, and for the state of its reasoning, which the next turn
    brings back.
    """
    name = _effort(effort, traits)
    if name is not None:
        out["reasoning"] = {"effort": name} if name == "none" else {"effort": name, "summary": "auto"}
    if (name or traits.efforts) and name != "none":
        others = out.get("include")
        out["include"] = [SEALED_REASONING, *(others if isinstance(others, list) else ())]


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
    choice = asked.choice
    if isinstance(choice, Foreign):
        raise foreign(choice)
    tools = [_tool(tool) for tool in asked.tools]
    if choice and choice.allowed:
        tools = [tool for tool in tools if tool["name"] in choice.allowed]
    if not tools:
        return
    out["tools"] = [*tools, *[extra.value for extra in asked.extras if extra.field is Field.HOSTED_TOOLS]]
    if choice:
        out["tool_choice"] = _choice(choice, asked)
    if asked.parallel is False:
        out["parallel_tool_calls"] = False


def _tool(tool: Tool | Foreign) -> dict[str, Any]:
    if isinstance(tool, Foreign):
        raise foreign(tool)
    out: dict[str, Any] = {"type": "custom" if tool.custom else "function", "name": tool.name}
    if tool.description:
        out["description"] = tool.description
    if not tool.custom:
        # Without `strict`, OpenAI takes it for true.
        return {**out, "parameters": parameters(tool.parameters or {}), "strict": tool.strict}
    if tool.grammar is not None:
        grammar = {"syntax": tool.grammar.syntax, "definition": tool.grammar.definition}
        out["format"] = {"type": "grammar", **grammar}
    return out


def _choice(choice: Choice, asked: Conversation) -> Any:
    if choice.name is None:
        return _MODES[choice.mode]
    custom = any(isinstance(tool, Tool) and tool.custom and tool.name == choice.name for tool in asked.tools)
    return {"type": "custom" if custom else "function", "name": choice.name}
