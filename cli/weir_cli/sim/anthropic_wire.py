"""Anthropic's Messages API on the wire: a request's body in, an answer's body or stream out.

Called by `weir_cli.sim.exchange`. Shapes follow the public API reference and are tested with the `anthropic` SDK.
"""

from __future__ import annotations

from typing import Any

import msgspec

from weir_cli.sim import anthropic_errors
from weir_cli.sim.answer import Answer, Ask, Stop, Tool, count_tokens, text_of
from weir_cli.sim.faults import FaultKind
from weir_cli.sim.frames import Frame, Part, as_json
from weir_cli.sim.models import SimModel
from weir_cli.sim.refused import Refused
from weir_router.contract import Dialect

PATH = "/v1/messages"

PROVIDER = Dialect.ANTHROPIC
"""Kind of the models that are known here."""

MARK: bytes | None = b"anthropic-version"
"""Header that tells a caller of this API on a path that both APIs have."""

REQUEST_ID_HEADER = "request-id"

PING = b'event: ping\ndata: {"type": "ping"}\n\n'

BROKEN = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_de\n\n'
"""JSON that stops half-way, in an event that is otherwise whole."""

ERRORS = anthropic_errors.ERRORS

ERROR_IN_200 = ERRORS[FaultKind.OVERLOADED]
"""The error of an error event, and of a 200 whose body is an error."""

SIGNATURE = "c2ltdWxhdGVkIHNpZ25hdHVyZQ=="
"""Stands at the end of a thinking block; callers send it back unread."""

THINKING_TOKENS = 12
"""Default length of a thinking block; never more than its budget."""

_STOP = {
    Stop.END: "end_turn",
    Stop.SEQUENCE: "stop_sequence",
    Stop.REFUSAL: "refusal",
    Stop.LENGTH: "max_tokens",
    Stop.TOOLS: "tool_use",
}

_INVALID = "invalid_request_error"


def parse(body: dict[str, Any], model: SimModel) -> Ask:
    """The request, as a question to the model. Raises `Refused` as the API would."""
    _check_fields(body, model)
    messages = body["messages"]
    choice = body.get("tool_choice") or {}
    content = [body.get("system"), [m.get("content") for m in messages], body.get("tools")]
    ask = Ask(
        body=body,
        prompt=next((text_of(m.get("content")) for m in reversed(messages) if m.get("role") == "user"), ""),
        prompt_tokens=max(1, count_tokens(content)),
        limit=body["max_tokens"],
        stops=tuple(s for s in body.get("stop_sequences") or () if isinstance(s, str)),
        tools=tuple(_tools(body.get("tools") or ())),
        forced={"any": "*", "tool": choice.get("name")}.get(str(choice.get("type"))),
        may_call=choice.get("type") != "none" and not _answers_a_tool(messages[-1]),
        parallel=not choice.get("disable_parallel_tool_use"),
        schema=_schema(body),
        thinking_tokens=_thinking_tokens(body.get("thinking"), model),
        stream=bool(body.get("stream")),
    )
    _check_sizes(ask, model)
    return ask


def caches(body: dict[str, Any]) -> bool:
    """Whether a prompt cache takes the request: one that has a mark for it anywhere."""
    return _is_marked(body)


def _is_marked(content: Any) -> bool:
    if isinstance(content, dict):
        return "cache_control" in content or any(_is_marked(value) for value in content.values())
    return isinstance(content, list) and any(_is_marked(item) for item in content)


def render(ask: Ask, model: SimModel, answers: list[Answer]) -> bytes:
    """The whole answer."""
    answer = answers[0]
    message = _message(ask, model, answer)
    message |= {
        "content": [block for block, _ in _blocks(answer, whole=True)],
        "stop_reason": _STOP[answer.stop],
        "stop_sequence": answer.stop_sequence,
        "usage": _usage(ask, model, answer.output_tokens, len(answer.thinking)),
    }
    return as_json({**message, **model.extra})


def stream(ask: Ask, model: SimModel, answers: list[Answer]) -> list[Frame]:
    """The answer as a stream."""
    answer = answers[0]
    frames = [_event(Part.LEAD, "message_start", message={**_message(ask, model, answer), **model.extra})]
    for index, (block, deltas) in enumerate(_blocks(answer, whole=False)):
        # A tool call's name is content: a stream that broke after it cannot start again unseen.
        part = Part.CONTENT if block["type"] == "tool_use" else Part.LEAD
        frames.append(_event(part, "content_block_start", index=index, content_block=block))
        if index == 0:
            frames.append(Frame(Part.LEAD, PING))
        frames += _deltas(index, deltas)
        frames.append(_event(Part.LEAD, "content_block_stop", index=index))
    usage = _usage(ask, model, answer.output_tokens, len(answer.thinking))
    del usage["cache_creation"], usage["service_tier"]
    delta = {"stop_reason": _STOP[answer.stop], "stop_sequence": answer.stop_sequence}
    frames.append(_event(Part.FINISH, "message_delta", delta=delta, usage=usage))
    frames.append(_event(Part.END, "message_stop"))
    return frames


def listing(models: list[SimModel]) -> bytes:
    """The body of `GET /v1/models`."""
    data = [described(model) for model in models]
    first, last = (models[0].name, models[-1].name) if models else (None, None)
    return as_json({"data": data, "has_more": False, "first_id": first, "last_id": last})


def described(model: SimModel) -> dict[str, Any]:
    """One model in a listing."""
    return {"type": "model", "id": model.name, "display_name": model.name, "created_at": "2026-01-01T00:00:00Z"}


def choices(body: dict[str, Any]) -> int:
    """How many answers the request asks for: one, always."""
    return 1


def payload(refused: Refused, request_id: str) -> dict[str, Any]:
    """The error object, in an answer's body or in an event of a stream."""
    return {"type": "error", "error": {"type": refused.type, "message": refused.message}, "request_id": request_id}


def unknown_path(method: str, path: str) -> Refused:
    """404 for a path that the API does not have."""
    return Refused(404, "not_found_error", f"Invalid URL ({method} {path})")


def missing_header(marked: bool) -> Refused | None:
    """400 for a request without the header that names the API's version."""
    return None if marked else Refused(400, _INVALID, "anthropic-version: header is required")


def unknown_model(name: str) -> Refused:
    """404 in Anthropic's words."""
    return Refused(404, "not_found_error", f"model: {name}")


def extra_field(field: str) -> Refused:
    """400 for a field that the request does not have."""
    return Refused(400, _INVALID, f"{field}: Extra inputs are not permitted")


def unreadable() -> Refused:
    """400 for a body that is not a JSON object."""
    return Refused(400, _INVALID, "The request body is not valid JSON: expected an object")


def wrong_key(given: str | None) -> Refused:
    """401 for a missing or a wrong key, which the message does not repeat."""
    return Refused(
        401, "authentication_error", "x-api-key header is required" if given is None else "invalid x-api-key"
    )


def error_event(error: dict[str, Any]) -> bytes:
    """An error in the middle of a stream."""
    return b"event: error\ndata: " + as_json(error) + b"\n\n"


def failed_event(error: dict[str, Any], begun: bytes, number: int) -> bytes:
    """The end of a stream that failed: an error, as in its middle."""
    return error_event(error)


def unfinished(frames: list[Frame]) -> list[Frame]:
    """The stream without the ends of its items, which this format has not."""
    return frames


def _check_fields(body: dict[str, Any], model: SimModel) -> None:
    for field in model.refuses:
        if field in body:
            raise extra_field(field)
    limit = body.get("max_tokens")
    if limit is None:
        raise Refused(400, _INVALID, "max_tokens: Field required")
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise Refused(400, _INVALID, "max_tokens: Input should be a valid integer")
    if limit < 1:
        raise Refused(400, _INVALID, "max_tokens: Input should be greater than or equal to 1")
    messages = body.get("messages")
    if messages is None:
        raise Refused(400, _INVALID, "messages: Field required")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise Refused(400, _INVALID, "messages: Input should be a valid list")
    if not messages:
        raise Refused(400, _INVALID, "messages: at least one message is required")
    for index, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant"):
            raise Refused(400, _INVALID, f"messages.{index}.role: Input should be 'user' or 'assistant'")
    _check_choice_and_thinking(body)


def _check_choice_and_thinking(body: dict[str, Any]) -> None:
    choice, thinking = body.get("tool_choice"), body.get("thinking")
    if choice is not None and not isinstance(choice, dict):
        raise Refused(400, _INVALID, "tool_choice: Input should be a valid dictionary")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if isinstance(budget, int) and budget < 0:
        raise Refused(400, _INVALID, "thinking.budget_tokens: Input should be greater than or equal to 1024")
    if isinstance(budget, int) and budget >= body["max_tokens"]:
        raise Refused(400, _INVALID, "`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_sizes(ask: Ask, model: SimModel) -> None:
    limit = ask.body["max_tokens"]
    if model.output_tokens is not None and limit > model.output_tokens:
        bound = f"max_tokens: {limit} > {model.output_tokens}, which is the maximum allowed number of output tokens"
        raise Refused(400, _INVALID, f"{bound} for {model.name}")
    if ask.prompt_tokens > model.context_tokens:
        raise Refused(400, _INVALID, f"prompt is too long: {ask.prompt_tokens} tokens > {model.context_tokens} maximum")


def _answers_a_tool(message: dict[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(isinstance(p, dict) and p.get("type") == "tool_result" for p in content)


def _tools(tools: Any) -> list[Tool]:
    return [
        Tool(str(t["name"]), t.get("input_schema") or {"type": "object"})
        for t in tools
        if isinstance(t, dict) and "name" in t
    ]


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    config = body.get("output_config")
    form = config.get("format") if isinstance(config, dict) else None
    return form.get("schema") if isinstance(form, dict) and form.get("type") == "json_schema" else None


def _thinking_tokens(thinking: Any, model: SimModel) -> int:
    if not isinstance(thinking, dict) or thinking.get("type") not in ("enabled", "adaptive"):
        return 0
    wanted = model.reasoning_tokens or THINKING_TOKENS
    budget = thinking.get("budget_tokens")
    return min(wanted, budget) if isinstance(budget, int) else wanted


def _message(ask: Ask, model: SimModel, answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": model.name,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(ask, model, 1, 0),
    }


def _usage(ask: Ask, model: SimModel, output_tokens: int, thinking_tokens: int) -> dict[str, Any]:
    read = min(max(model.cached_tokens, ask.cached_tokens), ask.prompt_tokens)
    written = min(model.cache_write_tokens, ask.prompt_tokens - read)
    return {
        # Anthropic counts cached tokens beside the input's, never in it.
        "input_tokens": ask.prompt_tokens - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": thinking_tokens},
        "service_tier": "standard",
    }


def _blocks(answer: Answer, *, whole: bool) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each content block, whole or as a stream opens it, with the deltas that fill it."""
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if answer.thinking:
        opened = {
            "type": "thinking",
            "thinking": "".join(answer.thinking) if whole else "",
            "signature": SIGNATURE if whole else "",
        }
        deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": token} for token in answer.thinking]
        blocks.append((opened, [*deltas, {"type": "signature_delta", "signature": SIGNATURE}]))
    if answer.text:
        text = {"type": "text", "text": "".join(answer.text) if whole else ""}
        blocks.append((text, [{"type": "text_delta", "text": token} for token in answer.text]))
    for call in answer.calls:
        use = {
            "type": "tool_use",
            "id": f"toolu_{call.id}",
            "name": call.name,
            "input": msgspec.Raw(call.arguments.encode()) if whole else {},
        }
        blocks.append((use, [{"type": "input_json_delta", "partial_json": part} for part in ("", *call.fragments)]))
    return blocks


def _deltas(index: int, deltas: list[dict[str, Any]]) -> list[Frame]:
    parts = {
        "text_delta": Part.CONTENT,
        "thinking_delta": Part.THOUGHT,
        "input_json_delta": Part.CONTENT,
    }
    return [_event(parts.get(d["type"], Part.LEAD), "content_block_delta", index=index, delta=d) for d in deltas]


def _event(part: Part, name: str, **fields: Any) -> Frame:
    data = as_json({"type": name, **fields})
    return Frame(part, b"event: " + name.encode() + b"\ndata: " + data + b"\n\n")
