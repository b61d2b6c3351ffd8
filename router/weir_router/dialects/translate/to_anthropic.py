"""OpenAI chat-completions request → Anthropic messages request: the parameters. Turns are made in `turns`.

Called by the package's `request` with a body that nobody has checked below its top level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weir_router.dialects.translate.fields import Checked, refusal
from weir_router.dialects.translate.schemas import closed
from weir_router.dialects.translate.tables import (
    DEFAULT_MAX_TOKENS,
    EFFORT_BUDGETS,
    TIER_TO_ANTHROPIC,
)
from weir_router.dialects.translate.turns import conversation
from weir_router.dialects.wire.fit import MIN_THINKING_BUDGET
from weir_router.errors import BadRequest

JSON_INSTRUCTION = "Answer with one valid JSON object and nothing else: no prose and no code fence around it."
"""Stands in for `response_format: json_object`, which Anthropic does not have."""

REFUSED: tuple[tuple[str, Callable[[Any], bool], str, str], ...] = (
    ("n", lambda value: value != 1, "Anthropic models give one answer", "ask several times, or leave n out"),
    ("logprobs", bool, "Anthropic models give no log probabilities", "leave it out"),
    ("top_logprobs", bool, "Anthropic models give no log probabilities", "leave it out"),
    ("audio", lambda _: True, "Anthropic models do not speak", "leave it out"),
    ("modalities", lambda value: value != ["text"], "Anthropic models answer in text", "ask for text only"),
    ("web_search_options", lambda _: True, "OpenAI's web search has no equivalent", "offer a search tool of your own"),
    ("moderation", lambda _: True, "OpenAI's moderation has no equivalent", "leave it out"),
    ("functions", bool, "deprecated, and its answers cannot be given", "use tools"),
    ("function_call", lambda _: True, "deprecated, and its answers cannot be given", "use tool_choice"),
)
"""(parameter, whether a value that is not null is refused, why, what to do)."""


def request(body: Checked, model: str) -> dict[str, Any]:
    """The request in Anthropic's dialect. Raises `BadRequest`."""
    for param, refused, why, do in REFUSED:
        if body.has(param) and refused(body.raw(param)):
            raise refusal(param, why, do)
    system, messages = conversation(body)
    out: dict[str, Any] = {"model": model, "max_tokens": _max_tokens(body), "messages": messages}
    _structure(body, out, system)
    if system:
        out["system"] = "\n\n".join(system)
    _tools(body, out)
    _sampling(body, out)
    _thinking(body, out)
    if user := body.maybe_text("safety_identifier") or body.maybe_text("user"):
        out["metadata"] = {"user_id": user}
    if tier := TIER_TO_ANTHROPIC.get(body.maybe_text("service_tier") or ""):
        out["service_tier"] = tier
    return out


def _max_tokens(body: Checked) -> int:
    for param in ("max_completion_tokens", "max_tokens"):
        tokens = body.tokens(param)
        if tokens == 0:
            raise BadRequest(f"{param} must be at least 1", param=param)
        if tokens:
            return tokens
    return DEFAULT_MAX_TOKENS


def _structure(body: Checked, out: dict[str, Any], system: list[str]) -> None:
    """`response_format`: a schema becomes structured output, JSON mode an instruction."""
    wanted = body.maybe_obj("response_format")
    kind = wanted.text("type") if wanted else "text"
    if kind == "json_object":
        system.append(JSON_INSTRUCTION)
    elif wanted and kind == "json_schema":
        schema = wanted.obj("json_schema").maybe_obj("schema")
        shape = closed(schema.data if schema else {"type": "object"})
        out["output_config"] = {"format": {"type": "json_schema", "schema": shape}}
    elif kind != "text":
        raise BadRequest("response_format.type must be text, json_object or json_schema", param="response_format.type")


def _sampling(body: Checked, out: dict[str, Any]) -> None:
    # 1 is Anthropic's default of both. Said aloud it only does harm: its newest models refuse these parameters, some
    # older ones refuse the two together.
    temperature, top_p = body.number("temperature"), body.number("top_p")
    if temperature is not None and temperature < 1:
        out["temperature"] = max(temperature, 0)
    if top_p is not None and top_p < 1:
        out["top_p"] = top_p
    stops = body.list_of_text("stop")
    if any(not stop.strip() for stop in stops):
        raise refusal("stop", "Anthropic models do not stop at white space alone", "leave that sequence out")
    if stops:
        out["stop_sequences"] = stops


def _tools(body: Checked, out: dict[str, Any]) -> None:
    tools = [_tool(tool) for tool in body.objects("tools")]
    choice = _tool_choice(body)
    if allowed := _allowed(body):
        tools = [tool for tool in tools if tool["name"] in allowed]
    if not tools:
        # Anthropic wants the tools named that the conversation has used, though none may be used now.
        tools, choice = [_used(name) for name in _names_used(out["messages"])], {"type": "none"}
    elif body.flag("parallel_tool_calls") is False and (choice or {}).get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if tools:
        out["tools"] = tools
        if choice:
            out["tool_choice"] = choice


def _tool(tool: Checked) -> dict[str, Any]:
    if (kind := tool.maybe_text("type") or "function") != "function":
        raise refusal(tool.at("type"), f"Anthropic models know no tool of type {kind!r}", "use a function")
    function = tool.obj("function")
    parameters = function.maybe_obj("parameters")
    out: dict[str, Any] = {"name": function.text("name")}
    if description := function.maybe_text("description"):
        out["description"] = description
    out["input_schema"] = {"type": "object", **(parameters.data if parameters else {"properties": {}})}
    if function.flag("strict"):
        out["strict"] = True
    return out


def _used(name: str) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object"}}


def _names_used(messages: list[dict[str, Any]]) -> list[str]:
    blocks = (block for turn in messages if isinstance(turn["content"], list) for block in turn["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def _tool_choice(body: Checked) -> dict[str, Any] | None:
    choice = body.raw("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        if kind := {"auto": "auto", "none": "none", "required": "any"}.get(choice):
            return {"type": kind}
        raise BadRequest("tool_choice must be auto, none, required or an object", param="tool_choice")
    named = body.obj("tool_choice")
    kind = named.text("type")
    if kind == "function":
        return {"type": "tool", "name": named.obj("function").text("name")}
    if kind == "allowed_tools":
        return {"type": "any" if named.obj("allowed_tools").maybe_text("mode") == "required" else "auto"}
    raise refusal("tool_choice.type", f"Anthropic models know no choice of type {kind!r}", "name a function")


def _allowed(body: Checked) -> set[str]:
    """The names of `tool_choice: allowed_tools`; empty: all of them."""
    if not isinstance(body.raw("tool_choice"), dict) or body.obj("tool_choice").raw("type") != "allowed_tools":
        return set()
    allowed = body.obj("tool_choice").obj("allowed_tools")
    return {tool.obj("function").text("name") for tool in allowed.objects("tools")}


def _thinking(body: Checked, out: dict[str, Any]) -> None:
    """`reasoning_effort` as a thinking budget, where Anthropic lets the model think at all."""
    effort = body.maybe_text("reasoning_effort")
    if effort is None:
        return
    if effort == "none":
        out["thinking"] = {"type": "disabled"}
        return
    if effort not in EFFORT_BUDGETS:
        names = ", ".join(("none", *EFFORT_BUDGETS))
        raise BadRequest(f"reasoning_effort must be one of {names}", param="reasoning_effort")
    if not _may_think(out):
        return
    budget = EFFORT_BUDGETS[effort]
    if body.has("max_completion_tokens") or body.has("max_tokens"):
        # The caller's limit holds for thought and answer together: at least half of it stays for the answer.
        budget = min(budget, out["max_tokens"] // 2)
    else:
        out["max_tokens"] = DEFAULT_MAX_TOKENS + budget
    if budget >= MIN_THINKING_BUDGET:
        out["thinking"] = {"type": "enabled", "budget_tokens": budget}
        # Anthropic refuses both beside thinking.
        out.pop("temperature", None)
        out.pop("top_p", None)


def _may_think(out: dict[str, Any]) -> bool:
    """Not when a tool is forced, nor in a prefill, nor amid tool calls: there Anthropic wants the earlier thought back,
    signed, and OpenAI's dialect has no place for a signature."""
    if out.get("tool_choice", {}).get("type") in ("any", "tool"):
        return False
    last = out["messages"][-1]
    amid_tools = isinstance(last["content"], list) and any(block["type"] == "tool_result" for block in last["content"])
    return last["role"] == "user" and not amid_tools
