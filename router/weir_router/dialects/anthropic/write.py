"""Writes a neutral request in this format. `turns` writes the turns."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.anthropic import thinking
from weir_router.dialects.anthropic.thinking import DEFAULT_MAX_TOKENS
from weir_router.dialects.anthropic.turns import foreign, marked, messages_of, text_block
from weir_router.dialects.neutral.conversation import Choice, Conversation, Foreign, Shape, Text, Tool
from weir_router.dialects.neutral.custom import as_function
from weir_router.dialects.neutral.ids import user_id
from weir_router.dialects.neutral.schemas import structured, tool_input
from weir_router.dialects.neutral.table import NO_STATE, Fate, Field, Refused, Table, refusal, settle
from weir_router.dialects.neutral.target import ANY, Target

MAX_USER = 256
"""Characters of the longest `metadata.user_id` that Anthropic takes."""

MAX_MARKS = 4
"""Marks for the cache that Anthropic takes in one request."""

JSON_INSTRUCTION = "Answer with one valid JSON object and nothing else: no prose and no code fence around it."
"""Sentence that demands any JSON object, for which this format has no field."""

_NO_LOGPROBS = Refused("Anthropic models give no log probabilities", "leave it out")

TABLE: Table = {
    **dict.fromkeys(Field, Fate.KEPT),
    Field.THOUGHT: Fate.BY_MODEL,
    Field.GRAMMAR: Fate.APPROXIMATED,
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
    Field.DETAIL: Fate.DROPPED,
    Field.NAMES: Fate.DROPPED,
    Field.CACHE_HINTS: Fate.DROPPED,
    Field.TOOL_HINTS: Fate.DROPPED,
    Field.TOOL_SEARCH: Fate.DROPPED,
    Field.SERVER_TOOLS: Fate.DROPPED,
    **NO_STATE,
    Field.HOSTED_TOOLS: Fate.DROPPED,
    Field.TRUNCATION: Fate.DROPPED,
    Field.COMPACTION: Fate.DROPPED,
    Field.INCLUDE: Fate.DROPPED,
    Field.MAX_TOOL_CALLS: Fate.DROPPED,
    Field.PHASE: Fate.DROPPED,
    Field.UNKNOWN: Fate.DROPPED,
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


def write(asked: Conversation, target: Target = ANY, dropped: list[str] | None = None) -> dict[str, Any]:
    """See `base.Write`."""
    dropped = [] if dropped is None else dropped
    settle(TABLE, asked.extras, dropped)
    system, messages = messages_of(asked, target, dropped)
    default = target.output_tokens or DEFAULT_MAX_TOKENS
    out: dict[str, Any] = {
        "model": asked.model,
        "max_tokens": default if asked.max_output is None else asked.max_output,
        "messages": messages,
    }
    if asked.shape:
        _shape(asked.shape, out, system)
    if system:
        cached = any(text.cache is not None for text in system)
        out["system"] = [text_block(it) for it in system] if cached else "\n\n".join([it.text for it in system])
    _tools(asked, out)
    _sampling(asked, target, out, dropped)
    if asked.effort:
        thinking.ask(asked, target, out, dropped)
    if asked.user:
        out["metadata"] = {"user_id": user_id(asked.user, MAX_USER)}
    if tier := _TIERS.get(asked.tier or ""):
        out["service_tier"] = tier
    for extra in asked.extras:
        if extra.field in _NAMES:
            out[_NAMES[extra.field]] = extra.value
    _bound_marks(out, dropped)
    return out


def _bound_marks(out: dict[str, Any], dropped: list[str]) -> None:
    """Leaves the last marks for the cache: each covers what is before it."""
    system = out["system"] if isinstance(out.get("system"), list) else []
    turns = [block for turn in out["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    marks = [block for block in (*out.get("tools", ()), *system, *turns) if "cache_control" in block]
    for block in marks[:-MAX_MARKS]:
        del block["cache_control"]
        dropped.append("cache_control")


def _shape(shape: Shape, out: dict[str, Any], system: list[Text]) -> None:
    """Writes a schema as structured output, and any JSON object as an instruction."""
    if shape.schema is None:
        system.append(Text(JSON_INSTRUCTION))
    else:
        out["output_config"] = {"format": {"type": "json_schema", "schema": structured(shape.schema)}}


def _sampling(asked: Conversation, to: Target, out: dict[str, Any], dropped: list[str]) -> None:
    # 1 is Anthropic's default of both. To send it only does harm: the newest models refuse these parameters, some
    # older ones refuse both together.
    if asked.temperature is not None and asked.temperature < 1:
        out["temperature"] = max(asked.temperature, 0)
    if asked.top_p is not None and asked.top_p < 1:
        if to.traits.one_sampling and "temperature" in out:
            dropped.append("top_p")
        else:
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
    tool = as_function(tool)
    out: dict[str, Any] = {"name": tool.name}
    if tool.description:
        out["description"] = tool.description
    schema = tool_input(tool.parameters or {"properties": {}})
    out["input_schema"] = structured(schema) if tool.strict else schema
    if tool.strict:
        out["strict"] = True
    return marked(out, tool.cache)


def _used(name: str) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object"}}


def _names_used(messages: list[dict[str, Any]]) -> list[str]:
    blocks = (block for turn in messages if isinstance(turn["content"], list) for block in turn["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def _choice(choice: Choice) -> dict[str, Any]:
    if choice.name is not None:
        return {"type": "tool", "name": choice.name}
    return {"type": choice.mode}
