"""OpenAI's Responses API on the wire: a request's body in, an answer's body or stream out.

Called by `weir_cli.sim.exchange`. Shapes follow the public API reference and are tested with the `openai` SDK. The
models are those of chat completions, and answer the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from weir_cli.sim import openai_errors, openai_wire
from weir_cli.sim.answer import Answer, Ask, Stop, Tool, count_tokens, text_of
from weir_cli.sim.faults import FaultKind
from weir_cli.sim.frames import Frame, Part, as_json
from weir_cli.sim.models import SimModel
from weir_cli.sim.refused import Refused

PATH = "/v1/responses"

MARK: bytes | None = None
"""Header that tells a caller of this API on a path that several APIs have; None: no header does."""

PROVIDER = openai_wire.PROVIDER
REQUEST_ID_HEADER = openai_wire.REQUEST_ID_HEADER
ERRORS = openai_errors.ERRORS
ERROR_IN_200 = ERRORS[FaultKind.SERVER_ERROR]
PING = openai_wire.PING

BROKEN = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"cont\n\n'
"""JSON that stops half-way, in an event that is otherwise whole."""

ERROR_NUMBER = 1_000_000
"""Number of an error event, which has no place among the others."""

_INVALID = "invalid_request_error"

listing = openai_wire.listing
described = openai_wire.described
payload = openai_wire.payload
unknown_path = openai_wire.unknown_path
unknown_model = openai_wire.unknown_model
missing_header = openai_wire.missing_header
unreadable = openai_wire.unreadable
wrong_key = openai_wire.wrong_key
caches = openai_wire.caches


def parse(body: dict[str, Any], model: SimModel) -> Ask:
    """The request, as a question to the model. Raises `Refused` as the API would."""
    items = _items(body, model)
    said = [item.get("content", item.get("output")) for item in items]
    choice, limit = body.get("tool_choice"), body.get("max_output_tokens")
    ask = Ask(
        body=body,
        prompt=next((text_of(item.get("content")) for item in reversed(items) if item.get("role") == "user"), ""),
        prompt_tokens=max(1, count_tokens([body.get("instructions"), *said]) + count_tokens(body.get("tools"))),
        limit=limit if isinstance(limit, int) else None,
        tools=tuple(_tools(body.get("tools") or ())),
        forced="*" if choice == "required" else str(choice["name"]) if isinstance(choice, dict) else None,
        may_call=choice != "none" and items[-1].get("role") == "user",
        parallel=body.get("parallel_tool_calls") is not False,
        schema=_schema(body.get("text")),
        thinking_tokens=model.reasoning_tokens,
        stream=bool(body.get("stream")),
    )
    if ask.prompt_tokens > model.context_tokens:
        message = "Your input exceeds the context window of this model. Please adjust your input and try again."
        raise Refused(400, _INVALID, message, code="context_length_exceeded", param="input")
    return ask


def choices(body: dict[str, Any]) -> int:
    """How many answers the request asks for: this API gives one."""
    return 1


def render(ask: Ask, model: SimModel, answers: list[Answer]) -> bytes:
    """The whole answer."""
    return as_json(_ended(ask, model, answers[0]))


def stream(ask: Ask, model: SimModel, answers: list[Answer]) -> list[Frame]:
    """The answer as a stream."""
    ended = _ended(ask, model, answers[0])
    numbers = itertools.count()

    def frame(part: Part, kind: str, /, **data: Any) -> Frame:
        return _frame(part, {"type": f"response.{kind}", "sequence_number": next(numbers), **data})

    begun = {**ended, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    frames = [frame(Part.LEAD, "created", response=begun), frame(Part.LEAD, "in_progress", response=begun)]
    for index, item in enumerate(ended["output"]):
        at = {"item_id": item["id"], "output_index": index}
        frames.append(frame(Part.LEAD, "output_item.added", output_index=index, item=_emptied(item)))
        frames += [frame(part, kind, **at, **data) for part, kind, data in _body(item, answers[0])]
        frames.append(frame(Part.LEAD, "output_item.done", output_index=index, item=item))
    frames.append(frame(Part.FINISH, ended["status"], response=ended))
    return frames


def error_event(error: dict[str, Any]) -> bytes:
    """An error in the middle of a stream."""
    stated = error["error"]
    event = {name: stated[name] for name in ("code", "message", "param")}
    event |= {"type": "error", "sequence_number": ERROR_NUMBER}
    return b"event: error\ndata: %b\n\n" % as_json(event)


def failed_event(error: dict[str, Any], begun: bytes, number: int) -> bytes:
    """The end of a stream that failed. `begun` is its first event, and `number` that of the new one."""
    response = _data(begun)["response"]
    response |= {"status": "failed", "error": {name: error["error"][name] for name in ("code", "message")}}
    event = {"type": "response.failed", "sequence_number": number, "response": response}
    return b"event: response.failed\ndata: %b\n\n" % as_json(event)


def unfinished(frames: list[Frame]) -> list[Frame]:
    """The stream without the ends of its items; its last event does not know them either."""
    kept = [(frame.part, _data(frame.data)) for frame in frames if b".done\n" not in frame.data]
    kept[-1][1]["response"]["output"] = []
    return [_frame(part, {**data, "sequence_number": number}) for number, (part, data) in enumerate(kept)]


def _frame(part: Part, event: dict[str, Any]) -> Frame:
    return Frame(part, b"event: %b\ndata: %b\n\n" % (event["type"].encode(), as_json(event)))


def _data(event: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(event.partition(b"\ndata: ")[2])
    return found


def _items(body: dict[str, Any], model: SimModel) -> list[dict[str, Any]]:
    for field in model.refuses:
        if field in body:
            message = f"Unsupported parameter: '{field}' is not supported with this model."
            raise Refused(400, _INVALID, message, code="unsupported_parameter", param=field)
    given = body.get("input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
        message = "Invalid 'input': expected a text or a non-empty array of items."
        raise Refused(400, _INVALID, message, code="invalid_type", param="input")
    return given


def _tools(tools: Any) -> Iterator[Tool]:
    for tool in tools:
        if isinstance(tool, dict) and tool.get("type") == "function":
            yield Tool(str(tool.get("name")), tool.get("parameters") or {"type": "object"})


def _schema(text: Any) -> dict[str, Any] | None:
    form = text.get("format") if isinstance(text, dict) else None
    if not isinstance(form, dict):
        return None
    kind = form.get("type")
    if kind == "json_schema":
        return form.get("schema") or {"type": "object"}
    return {"properties": {"answer": {"type": "string"}}} if kind == "json_object" else None


def _ended(ask: Ask, model: SimModel, answer: Answer) -> dict[str, Any]:
    cut = answer.stop is Stop.LENGTH
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": openai_wire.CREATED,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": ask.body.get("instructions"),
        "metadata": ask.body.get("metadata") or {},
        "model": model.name,
        "output": _output(answer),
        "parallel_tool_calls": ask.parallel,
        "previous_response_id": ask.body.get("previous_response_id"),
        "service_tier": "default",
        "store": ask.body.get("store") is not False,
        "temperature": ask.body.get("temperature", 1.0),
        "tool_choice": ask.body.get("tool_choice") or "auto",
        "tools": ask.body.get("tools") or [],
        "top_p": ask.body.get("top_p", 1.0),
        "usage": _usage(ask, model, answer),
        **model.extra,
    }


def _output(answer: Answer) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = []
    if answer.thinking:
        summary = {"type": "summary_text", "text": "".join(answer.thinking)}
        output.append({"id": f"rs_{answer.id}", "type": "reasoning", "summary": [summary]})
    if answer.text:
        status = "incomplete" if answer.stop is Stop.LENGTH else "completed"
        message = {"id": f"msg_{answer.id}", "type": "message", "status": status, "role": "assistant"}
        output.append({**message, "content": [_part(answer, "".join(answer.text))]})
    for call in answer.calls:
        shown = {"call_id": f"call_{call.id}", "name": call.name, "arguments": call.arguments}
        output.append({"id": f"fc_{call.id}", "type": "function_call", "status": "completed", **shown})
    return output


def _part(answer: Answer, text: str) -> dict[str, Any]:
    if answer.stop is Stop.REFUSAL:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _emptied(item: dict[str, Any]) -> dict[str, Any]:
    field = {"message": "content", "reasoning": "summary"}.get(item["type"], "arguments")
    status = {"status": "in_progress"} if "status" in item else {}
    return {**item, field: "" if field == "arguments" else [], **status}


def _body(item: dict[str, Any], answer: Answer) -> Iterator[tuple[Part, str, dict[str, Any]]]:
    """The events between the begin of an item and its end."""
    if item["type"] == "reasoning":
        at, part = {"summary_index": 0}, item["summary"][0]
        yield Part.LEAD, "reasoning_summary_part.added", {**at, "part": {**part, "text": ""}}
        for token in answer.thinking:
            yield Part.THOUGHT, "reasoning_summary_text.delta", {**at, "delta": token}
        yield Part.LEAD, "reasoning_summary_text.done", {**at, "text": part["text"]}
        yield Part.LEAD, "reasoning_summary_part.done", {**at, "part": part}
    elif item["type"] == "message":
        refused = answer.stop is Stop.REFUSAL
        kind, field = ("refusal", "refusal") if refused else ("output_text", "text")
        more: dict[str, Any] = {} if refused else {"logprobs": []}
        at, part = {"content_index": 0}, item["content"][0]
        yield Part.LEAD, "content_part.added", {**at, "part": _part(answer, "")}
        for token in answer.text:
            yield Part.CONTENT, f"{kind}.delta", {**at, "delta": token, **more}
        yield Part.LEAD, f"{kind}.done", {**at, field: part[field], **more}
        yield Part.LEAD, "content_part.done", {**at, "part": part}
    else:
        call = next(call for call in answer.calls if item["id"] == f"fc_{call.id}")
        for fragment in call.fragments:
            yield Part.CONTENT, "function_call_arguments.delta", {"delta": fragment}
        yield Part.LEAD, "function_call_arguments.done", {"name": call.name, "arguments": call.arguments}


def _usage(ask: Ask, model: SimModel, answer: Answer) -> dict[str, Any]:
    cached = min(max(model.cached_tokens, ask.cached_tokens), ask.prompt_tokens)
    return {
        "input_tokens": ask.prompt_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": len(answer.thinking)},
        "total_tokens": ask.prompt_tokens + answer.output_tokens,
    }
