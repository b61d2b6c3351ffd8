"""Anthropic messages request → OpenAI chat-completions request.

Called by the package's `request` with a body that nobody has checked below its top level.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.translate.fields import Checked, refusal
from weir_router.dialects.translate.media import document_parts, image_part, text_part
from weir_router.dialects.translate.schemas import is_strict
from weir_router.dialects.translate.tables import TIER_TO_OPENAI, WIDELY_KNOWN_EFFORTS, effort_of
from weir_router.dialects.wire.relay import encode
from weir_router.errors import BadRequest

MAX_STOPS = 4
"""OpenAI takes no more stop sequences than this."""

ERROR_PREFIX = "Error: "
"""Says `is_error` of a tool's result, for which OpenAI has no field."""

SCHEMA_NAME = "answer"
"""OpenAI wants a name for a schema, Anthropic has none."""

REFUSED = (
    ("container", "containers run at Anthropic only", "leave it out"),
    ("mcp_servers", "Anthropic's MCP connector has no equivalent", "call the servers yourself and offer their tools"),
    (
        "inference_geo",
        "OpenAI models cannot promise where they run",
        "leave it out, or route by the label of a backend",
    ),
)
"""(parameter, why, what to do)."""


def request(body: Checked, model: str) -> dict[str, Any]:
    """The request in OpenAI's dialect. Raises `BadRequest`."""
    for param, why, do in REFUSED:
        if body.raw(param):
            raise refusal(param, why, do)
    out: dict[str, Any] = {"model": model, "messages": _messages(body)}
    if (max_tokens := body.tokens("max_tokens")) == 0:
        raise refusal("max_tokens", "OpenAI models cannot be asked to fill their cache only", "ask for at least 1")
    if max_tokens:
        # The older name, which every compatible server knows; `parameters.rename` serves those that want the newer.
        out["max_tokens"] = max_tokens
    _tools(body, out)
    _sampling(body, out)
    _structure_and_effort(body, out)
    metadata = body.maybe_obj("metadata")
    if metadata and (user := metadata.maybe_text("user_id")):
        out["user"] = user
    if tier := TIER_TO_OPENAI.get(body.maybe_text("service_tier") or ""):
        out["service_tier"] = tier
    return out


def _sampling(body: Checked, out: dict[str, Any]) -> None:
    for param in ("temperature", "top_p"):
        if (value := body.number(param)) is not None:
            out[param] = value
    stops = body.list_of_text("stop_sequences")
    if len(stops) > MAX_STOPS:
        raise refusal("stop_sequences", f"OpenAI models take at most {MAX_STOPS}", "leave some out")
    if stops:
        out["stop"] = stops


def _structure_and_effort(body: Checked, out: dict[str, Any]) -> None:
    config = body.maybe_obj("output_config")
    wanted = config.maybe_obj("format") if config else None
    if wanted:
        if wanted.text("type") != "json_schema":
            raise BadRequest(f"{wanted.at('type')} must be json_schema", param=wanted.at("type"))
        schema = wanted.obj("schema").data
        shape = {"name": SCHEMA_NAME, "schema": schema, "strict": is_strict(schema)}
        out["response_format"] = {"type": "json_schema", "json_schema": shape}
    if effort := _effort(body, config):
        out["reasoning_effort"] = effort


def _effort(body: Checked, config: Checked | None) -> str | None:
    """None leaves it to the model, as `adaptive` without an effort does."""
    thinking = body.maybe_obj("thinking")
    if thinking and thinking.text("type") == "disabled":
        return None
    if config and (effort := config.maybe_text("effort")):
        return effort if effort in WIDELY_KNOWN_EFFORTS else WIDELY_KNOWN_EFFORTS[-1]
    if thinking and (budget := thinking.tokens("budget_tokens")):
        return effort_of(budget)
    return None


def _tools(body: Checked, out: dict[str, Any]) -> None:
    tools = [_tool(tool) for tool in body.objects("tools")]
    choice = body.maybe_obj("tool_choice")
    if not tools:
        return
    out["tools"] = tools
    if choice:
        out["tool_choice"] = _tool_choice(choice)
        if choice.flag("disable_parallel_tool_use"):
            out["parallel_tool_calls"] = False


def _tool(tool: Checked) -> dict[str, Any]:
    if (kind := tool.maybe_text("type") or "custom") != "custom":
        raise refusal(
            tool.at("type"), f"the tool {kind!r} is Anthropic's own", "offer a tool of your own with an input_schema"
        )
    function: dict[str, Any] = {"name": tool.text("name")}
    if description := tool.maybe_text("description"):
        function["description"] = description
    function["parameters"] = tool.obj("input_schema").data
    if tool.flag("strict"):
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(choice: Checked) -> Any:
    kind = choice.text("type")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.text("name")}}
    if named := {"auto": "auto", "any": "required", "none": "none"}.get(kind):
        return named
    raise BadRequest("tool_choice.type must be auto, any, tool or none", param="tool_choice.type")


def _messages(body: Checked) -> list[dict[str, Any]]:
    messages = []
    if system := _joined(body, "system", "\n\n"):
        messages.append({"role": "system", "content": system})
    for turn in body.objects("messages"):
        role = turn.text("role")
        if role == "user":
            messages.extend(_user(turn))
        elif role == "assistant":
            messages.append(_assistant(turn))
        elif role == "system":
            messages.append({"role": "system", "content": _joined(turn, "content", "\n\n")})
        else:
            raise BadRequest(f"{turn.at('role')} must be user, assistant or system", param=turn.at("role"))
    if not messages:
        raise BadRequest("messages must hold at least one message", param="messages")
    return messages


def _joined(holder: Checked, key: str, separator: str) -> str:
    texts = []
    for block in holder.parts(key):
        if block.text("type") != "text":
            raise refusal(block.at("type"), "only text can stand here", "move it to a user turn")
        texts.append(block.text("text"))
    return separator.join(texts)


def _user(turn: Checked) -> list[dict[str, Any]]:
    """The results of tools as messages of their own, first, as OpenAI wants them; then the rest of the turn."""
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for block in turn.parts("content"):
        if block.raw("type") == "tool_result":
            result, media = _tool_result(block)
            results.append(result)
            parts.extend(media)
        else:
            parts.extend(_user_parts(block))
    if parts or not results:
        results.append({"role": "user", "content": _collapsed(parts)})
    return results


def _user_parts(block: Checked) -> list[dict[str, Any]]:
    kind = block.text("type")
    if kind == "text":
        return [text_part(block.text("text"))]
    if kind == "image":
        return [image_part(block)]
    if kind == "document":
        return document_parts(block)
    if kind == "search_result":
        heading = f"{block.text('title')} ({block.text('source')})"
        return [text_part(heading + "\n" + _joined(block, "content", "\n"))]
    raise refusal(
        block.at("type"), f"OpenAI models cannot read a block of type {kind!r}", "send text, images or documents"
    )


def _tool_result(block: Checked) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The tool message, and what OpenAI takes from a user only: images and files."""
    call = block.text("tool_use_id")
    parts = [part for inner in block.parts("content") for part in _user_parts(inner)]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    media = [part for part in parts if part["type"] != "text"]
    if block.flag("is_error"):
        text = ERROR_PREFIX + text
    if media:
        media.insert(0, text_part(f"From the result of tool call {call}:"))
    return {"role": "tool", "tool_call_id": call, "content": text}, media


def _assistant(turn: Checked) -> dict[str, Any]:
    """Text and tool calls. Thinking is left out: OpenAI's dialect has no place for it."""
    texts, calls = [], []
    for block in turn.parts("content"):
        kind = block.text("type")
        if kind == "text":
            texts.append(block.text("text"))
        elif kind == "tool_use":
            calls.append(_tool_call(block))
        elif kind not in ("thinking", "redacted_thinking"):
            raise refusal(
                block.at("type"), f"a block of type {kind!r} is Anthropic's own", "leave it out of the history"
            )
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if calls:
        message["content"] = message["content"] or None
        message["tool_calls"] = calls
    return message


def _tool_call(block: Checked) -> dict[str, Any]:
    function = {"name": block.text("name"), "arguments": encode(block.obj("input").data).decode()}
    return {"id": block.text("id"), "type": "function", "function": function}


def _collapsed(parts: list[dict[str, Any]]) -> Any:
    if not parts:
        return ""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
