"""Writes a neutral request in this format. `turns` writes the turns."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.anthropic.turns import foreign, messages_of
from weir_router.dialects.neutral.conversation import Choice, Conversation, Foreign, Shape, Tool
from weir_router.dialects.neutral.efforts import EFFORT_BUDGETS
from weir_router.dialects.neutral.schemas import closed
from weir_router.dialects.neutral.table import Fate, Field, Refused, Table, refusal, refuse
from weir_router.dialects.wire.fit import MIN_THINKING_BUDGET

DEFAULT_MAX_TOKENS = 8192
"""Tokens of an answer for a caller without a limit, which this format demands. 8192 is the smallest output limit
among Claude models from 3.5 on, so no model refuses it; a known limit of a backend replaces it.
"""

JSON_INSTRUCTION = "Answer with one valid JSON object and nothing else: no prose and no code fence around it."
"""Sentence that demands any JSON object, for which this format has no field."""

_NO_LOGPROBS = Refused("Anthropic models give no log probabilities", "leave it out")

TABLE: Table = {
    **dict.fromkeys(Field, Fate.KEPT),
    Field.THOUGHT: Fate.DROPPED,  # Anthropic only accepts it with its own signature
    Field.ANSWERS: Refused("Anthropic models give one answer", "ask several times, or leave n out"),
    Field.LOGPROBS: _NO_LOGPROBS,
    Field.TOP_LOGPROBS: _NO_LOGPROBS,
    Field.SPEECH: Refused("Anthropic models do not speak", "leave it out"),
    Field.MODALITIES: Refused("Anthropic models answer in text", "ask for text only"),
    Field.WEB_SEARCH: Refused("OpenAI's web search has no equivalent", "offer a search tool of your own"),
    Field.MODERATION: Refused("OpenAI's moderation has no equivalent", "leave it out"),
    Field.SEED: Fate.DROPPED,
    Field.LOGIT_BIAS: Fate.DROPPED,
    Field.FREQUENCY_PENALTY: Fate.DROPPED,
    Field.PRESENCE_PENALTY: Fate.DROPPED,
    Field.PREDICTION: Fate.DROPPED,
    Field.VERBOSITY: Fate.DROPPED,
    Field.STORE: Fate.DROPPED,
    Field.METADATA: Fate.DROPPED,
    Field.CITATIONS: Fate.DROPPED,
}

_NAMES = {
    Field.CONTAINER: "container",
    Field.MCP_SERVERS: "mcp_servers",
    Field.PLACE: "inference_geo",
    Field.TOP_K: "top_k",
    Field.SPEED: "speed",
    Field.CONTEXT_MANAGEMENT: "context_management",
}
_TIERS = {"auto": "auto", "standard": "standard_only"}


def write(asked: Conversation) -> dict[str, Any]:
    """The request's fields. Raises `BadRequest` for values that this format cannot express."""
    refuse(TABLE, asked.extras)
    system, messages = messages_of(asked)
    out: dict[str, Any] = {
        "model": asked.model,
        "max_tokens": DEFAULT_MAX_TOKENS if asked.max_output is None else asked.max_output,
        "messages": messages,
    }
    if asked.shape:
        _shape(asked.shape, out, system)
    if system:
        out["system"] = "\n\n".join(system)
    _tools(asked, out)
    _sampling(asked, out)
    if asked.effort:
        _thinking(asked, out)
    if asked.user:
        out["metadata"] = {"user_id": asked.user}
    if tier := _TIERS.get(asked.tier or ""):
        out["service_tier"] = tier
    for extra in asked.extras:
        if extra.field in _NAMES:
            out[_NAMES[extra.field]] = extra.value
    return out


def _shape(shape: Shape, out: dict[str, Any], system: list[str]) -> None:
    """Writes a schema as structured output, and any JSON object as an instruction."""
    if shape.schema is None:
        system.append(JSON_INSTRUCTION)
    else:
        out["output_config"] = {"format": {"type": "json_schema", "schema": closed(shape.schema)}}


def _sampling(asked: Conversation, out: dict[str, Any]) -> None:
    # 1 is Anthropic's default of both. To send it only does harm: the newest models refuse these parameters, some
    # older ones refuse both together.
    if asked.temperature is not None and asked.temperature < 1:
        out["temperature"] = max(asked.temperature, 0)
    if asked.top_p is not None and asked.top_p < 1:
        out["top_p"] = asked.top_p
    if any(not stop.strip() for stop in asked.stops):
        raise refusal(asked.stops_at, "Anthropic models do not stop at white space alone", "leave that sequence out")
    if asked.stops:
        out["stop_sequences"] = list(asked.stops)


def _tools(asked: Conversation, out: dict[str, Any]) -> None:
    tools = [_tool(tool) for tool in asked.tools]
    if isinstance(asked.choice, Foreign):
        raise foreign(asked.choice)
    choice = _choice(asked.choice) if asked.choice else None
    if asked.choice and (allowed := asked.choice.allowed):
        tools = [tool for tool in tools if tool["name"] in allowed]
    if not tools:
        # Anthropic demands a list of the tools that the conversation has used, even if none may be used now.
        tools, choice = [_used(name) for name in _names_used(out["messages"])], {"type": "none"}
    elif asked.parallel is False and (choice or {}).get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if tools:
        out["tools"] = tools
        if choice:
            out["tool_choice"] = choice


def _tool(tool: Tool | Foreign) -> dict[str, Any]:
    if isinstance(tool, Foreign):
        raise foreign(tool)
    out: dict[str, Any] = {"name": tool.name}
    if tool.description:
        out["description"] = tool.description
    out["input_schema"] = {"type": "object", **(tool.parameters or {"properties": {}})}
    if tool.strict:
        out["strict"] = True
    return out


def _used(name: str) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object"}}


def _names_used(messages: list[dict[str, Any]]) -> list[str]:
    blocks = (block for turn in messages if isinstance(turn["content"], list) for block in turn["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def _choice(choice: Choice) -> dict[str, Any]:
    if choice.name is not None:
        return {"type": "tool", "name": choice.name}
    return {"type": choice.mode}


def _thinking(asked: Conversation, out: dict[str, Any]) -> None:
    """Writes an effort as a thinking budget, if Anthropic allows the model to think."""
    effort = asked.effort
    assert effort is not None
    if effort.name == "none":
        out["thinking"] = {"type": "disabled"}
        return
    if not _may_think(out):
        return
    budget = effort.budget or EFFORT_BUDGETS.get(effort.name or "", EFFORT_BUDGETS["high"])
    if asked.max_output is not None:
        # The caller's limit counts for thought and answer together: at least half of it remains for the answer.
        budget = min(budget, out["max_tokens"] // 2)
    else:
        out["max_tokens"] = DEFAULT_MAX_TOKENS + budget
    if budget >= MIN_THINKING_BUDGET:
        out["thinking"] = {"type": "enabled", "budget_tokens": budget}
        # Anthropic refuses both together with thinking.
        out.pop("temperature", None)
        out.pop("top_p", None)


def _may_think(out: dict[str, Any]) -> bool:
    """Whether thinking is allowed: not with a forced tool, in a prefill or amid tool calls. There Anthropic demands the
    earlier thought with its signature, which the neutral form does not have."""
    if out.get("tool_choice", {}).get("type") in ("any", "tool"):
        return False
    last = out["messages"][-1]
    amid_tools = isinstance(last["content"], list) and any(block["type"] == "tool_result" for block in last["content"])
    return last["role"] == "user" and not amid_tools
