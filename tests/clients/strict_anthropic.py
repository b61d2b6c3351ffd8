"""A scripted model behind the Messages API that refuses what Anthropic refuses.

Facts of the API reference and of its error messages; the fields of a request are those of the `anthropic` SDK.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_params

from clients.script import Call, Turn
from support.scripted import head, whole

SAMPLING = {"temperature", "top_p", "top_k"}
"""Fields of older models, which the SDK has no more."""

FIELDS = {"stream", *SAMPLING, *message_create_params.MessageCreateParamsBase.__annotations__}
BETA_FIELDS = {"stream", *SAMPLING, *beta_params.MessageCreateParamsBase.__annotations__} - {"betas"}

BLOCK_FIELDS = {
    "text": {"text", "citations", "cache_control"},
    "image": {"source", "cache_control"},
    "document": {"source", "title", "context", "citations", "cache_control"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
    "tool_use": {"id", "name", "input", "cache_control", "caller"},
    "tool_result": {"tool_use_id", "content", "is_error", "cache_control"},
    "tool_reference": {"tool_name", "cache_control"},
}

TOOL_FIELDS = {
    "type", "name", "description", "input_schema", "cache_control", "strict", "input_examples", "allowed_callers",
    "defer_loading", "eager_input_streaming",
}  # fmt: skip

IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")

NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
ID = re.compile(r"[a-zA-Z0-9_-]+")

MAX_BREAKPOINTS = 4
"""Parts of a request that may have `cache_control`."""


_ids = itertools.count()
"""Numbers of answers: clients put together what has one id."""


class Refused(Exception):
    """A 400 in Anthropic's words."""


def check(body: dict[str, Any], headers: dict[str, str], *, adaptive: bool) -> None:
    """Raises `Refused` for a request that Anthropic would refuse; an `adaptive` model takes no budget of thought."""
    if "anthropic-version" not in headers:
        raise Refused("anthropic-version: header is required")
    beta = "anthropic-beta" in headers
    _no_others(body, BETA_FIELDS if beta else FIELDS, "")
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        raise Refused("max_tokens: Field required")
    thinking = _check_thinking(body, adaptive)
    _check_tools(body)
    _check_messages(body, thinking and not adaptive, ("user", "assistant", "system") if beta else ("user", "assistant"))
    if json.dumps(body).count('"cache_control": {') > MAX_BREAKPOINTS:
        raise Refused(f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided.")
    if (body.get("metadata") or {}).keys() - {"user_id"}:
        raise Refused("metadata: Extra inputs are not permitted")
    if not 0 <= body.get("temperature", 1) <= 1:
        raise Refused("temperature: range: 0..1")
    if any(not stop.strip() for stop in body.get("stop_sequences") or ()):
        raise Refused("stop_sequences: each stop sequence must contain non-whitespace")


def _no_others(value: dict[str, Any], known: set[str], where: str) -> None:
    for name in value.keys() - known:
        raise Refused(f"{where}{name}: Extra inputs are not permitted")


def _check_thinking(body: dict[str, Any], adaptive: bool) -> bool:
    """Whether the model thinks."""
    thinking = body.get("thinking") or {}
    if adaptive and (thinking.get("type") == "enabled" or body.keys() & SAMPLING):
        raise Refused('"thinking.type.enabled" and sampling are not supported for this model. Use "adaptive".')
    if not adaptive and thinking.get("type") == "adaptive":
        raise Refused("adaptive thinking is not supported on this model")
    if not adaptive and "effort" in (body.get("output_config") or {}):
        raise Refused("This model does not support the effort parameter.")
    if thinking.get("type") not in ("enabled", "adaptive"):
        return False
    if thinking["type"] == "enabled" and not 1024 <= thinking.get("budget_tokens", 0) < body["max_tokens"]:
        raise Refused("thinking.enabled.budget_tokens: must be at least 1024 and less than max_tokens")
    if body.get("temperature", 1) != 1 or "top_k" in body or not 0.95 <= body.get("top_p", 1) <= 1:
        raise Refused("`temperature` may only be set to 1 when thinking is enabled.")
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")
    return True


def _check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools") or []
    if not tools and body.get("tool_choice"):
        raise Refused("tool_choice: may only be specified while providing tools")
    names = [tool.get("name") for tool in tools]
    if len(set(names)) < len(names):
        raise Refused("tools: Tool names must be unique.")
    for place, tool in enumerate(tools):
        if tool.get("type") not in (None, "custom"):
            continue
        _no_others(tool, TOOL_FIELDS, f"tools.{place}.custom.")
        if not NAME.fullmatch(tool["name"]):
            raise Refused(f"tools.{place}.custom.name: String should match pattern '{NAME.pattern}'")
        schema = tool.get("input_schema", {})
        if schema.get("type") != "object":
            raise Refused(f"tools.{place}.custom.input_schema.type: Field required")
        if schema.keys() & {"anyOf", "allOf", "oneOf"}:
            raise Refused(
                f"tools.{place}.custom.input_schema: does not support oneOf, allOf, or anyOf at the top level"
            )


def _blocks(content: Any, where: str) -> list[dict[str, Any]]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not blocks:
        raise Refused(f"{where}: all messages must have non-empty content")
    for place, block in enumerate(blocks):
        inner = f"{where}.content.{place}."
        if block.get("type") not in BLOCK_FIELDS:
            raise Refused(f"{inner}type: Input tag '{block.get('type')}' does not match any of the expected tags")
        _no_others(block, BLOCK_FIELDS[block["type"]] | {"type"}, inner)
        if block["type"] == "image" and block["source"].get("media_type", "image/png") not in IMAGES:
            raise Refused(f"{inner}image.source.base64.media_type: Input should be one of {IMAGES}")
        if block["type"] == "text" and not block["text"].strip():
            raise Refused(f"{where}: text content blocks must be non-empty and contain non-whitespace text")
        if block["type"] == "tool_result" and block.get("content"):
            _blocks(block["content"], f"{inner}tool_result")
    return list(blocks)


def _check_messages(body: dict[str, Any], demands_thought: bool, roles: tuple[str, ...]) -> None:
    messages = body["messages"]
    if not messages or messages[0]["role"] != "user":
        raise Refused("messages: first message must use the user role")
    if body.get("system"):
        _blocks(body["system"], "system")
    waiting: list[str] = []
    seen: set[str] = set()
    for place, message in enumerate(messages):
        where = f"messages.{place}"
        _no_others(message, {"role", "content"}, f"{where}.")
        if message["role"] not in roles:
            raise Refused(f"{where}.role: Input should be one of {roles}")
        blocks = _blocks(message["content"], where)
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if set(waiting) - set(results):
            raise Refused(f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after")
        if set(results) - set(waiting) or len(set(results)) < len(results):
            raise Refused(f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {results}")
        if results and any(b["type"] == "tool_result" for b in blocks[len(results) :]):
            raise Refused(f"{where}: `tool_result` blocks must come first")
        waiting = _checked_uses(blocks, message["role"], where, seen)
        _check_thoughts(blocks, message["role"], where)
    if seen and not body.get("tools"):
        raise Refused("Requests which include `tool_use` or `tool_result` blocks must define tools")
    if waiting:
        raise Refused("messages: `tool_use` ids were found without `tool_result` blocks immediately after")
    last = messages[-1]
    if last["role"] == "assistant" and str(_blocks(last["content"], "last")[-1].get("text", "")).endswith((" ", "\n")):
        raise Refused("messages: final assistant content cannot end with trailing whitespace")
    if demands_thought:
        _check_tool_loop(messages)


def _checked_uses(blocks: list[dict[str, Any]], role: str, where: str, seen: set[str]) -> list[str]:
    uses = [b for b in blocks if b["type"] == "tool_use"]
    for use in uses:
        if role != "assistant" or not isinstance(use["input"], dict):
            raise Refused(f"{where}.content.tool_use.input: Input should be a valid dictionary")
        if not ID.fullmatch(use["id"]) or not NAME.fullmatch(use["name"]):
            raise Refused(f"{where}.content.tool_use.id: String should match pattern")
        if use["id"] in seen:
            raise Refused(f"{where}: `tool_use` ids must be unique")
        seen.add(use["id"])
    return [use["id"] for use in uses]


def _check_thoughts(blocks: list[dict[str, Any]], role: str, where: str) -> None:
    for place, block in enumerate(blocks):
        if block["type"] == "thinking" and (role != "assistant" or block["signature"] != signature(block["thinking"])):
            raise Refused(f"{where}.content.{place}: Invalid `signature` in `thinking` block")
    if role == "assistant" and blocks[-1]["type"] in ("thinking", "redacted_thinking"):
        raise Refused(f"{where}: The final block in an assistant message cannot be `thinking`.")


def _check_tool_loop(messages: list[dict[str, Any]]) -> None:
    """The last turn with calls must begin with its thinking, while its results are given."""
    if not any(b.get("type") == "tool_result" for b in messages[-1]["content"] if isinstance(b, dict)):
        return
    first = next(m for m in reversed(messages) if m["role"] == "assistant")["content"][0]
    if first["type"] not in ("thinking", "redacted_thinking"):
        raise Refused(f"Expected `thinking` or `redacted_thinking`, but found `{first['type']}`.")


def signature(thought: str) -> str:
    """The signature of this server for a thought."""
    return "Er" + hashlib.sha256(thought.encode()).hexdigest()


def history(body: dict[str, Any]) -> list[list[tuple[Call, str]]]:
    """Calls with their results, a list per turn that had some."""
    results = {
        b["tool_use_id"]: _text(b.get("content") or "")
        for m in body["messages"]
        if isinstance(m["content"], list)
        for b in m["content"]
        if b["type"] == "tool_result"
    }
    turns = []
    for message in body["messages"]:
        if message["role"] == "assistant" and isinstance(message["content"], list):
            uses = [b for b in message["content"] if b["type"] == "tool_use"]
            if uses:
                turns.append([(Call(b["name"], b["input"]), results.get(b["id"], "")) for b in uses])
    return turns


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def refusal(words: str) -> bytes:
    """The answer to a refused request."""
    error = {"type": "invalid_request_error", "message": words}
    return whole({"type": "error", "error": error, "request_id": "req_1"}, status=400)


def answer(body: dict[str, Any], turn: Turn, number: int) -> Iterable[bytes]:
    """The turn, plain or as a stream; it begins with a thought if the request asks for that."""
    content: list[dict[str, Any]] = []
    if (body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
        content.append({"type": "thinking", "thinking": turn.thought, "signature": signature(turn.thought)})
    if turn.text:
        content.append({"type": "text", "text": turn.text})
    content += [
        {"type": "tool_use", "id": f"toolu_01{number:02}x{place}ABCDEFGHI", "name": it.name, "input": it.arguments}
        for place, it in enumerate(turn.calls)
    ]
    reason = "tool_use" if turn.calls else "end_turn"
    message = {
        "id": f"msg_01{next(_ids):04}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 20, "cache_read_input_tokens": 0, "service_tier": "standard"},
    }
    return _stream(message) if body.get("stream") else [whole(message)]


def _stream(message: dict[str, Any]) -> Iterator[bytes]:
    def event(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    start = {"content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield head()
    yield event("message_start", message={**message, **start})
    yield event("ping")
    for index, block in enumerate(message["content"]):
        empty, deltas = _deltas(block)
        yield event("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=delta, usage={"output_tokens": 20})
    yield event("message_stop")


def _deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as its stream begins it, and its deltas."""
    if block["type"] == "tool_use":
        text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        parts = ["", *(text[at : at + 7] for at in range(0, len(text), 7))]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": it} for it in parts]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": it} for it in re.findall(r"\S+\s*", block["thinking"])]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {**block, "thinking": "", "signature": ""}, [*deltas, signed]
    return {**block, "text": ""}, [{"type": "text_delta", "text": it} for it in re.findall(r"\S+\s*", block["text"])]
