"""A scripted model behind the Responses API that refuses what OpenAI refuses.

Facts of the API reference and of its error messages; the fields of a request are those of the `openai` SDK.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from openai.types.responses import ResponseIncludable, response_create_params

from clients.script import Call, Turn
from clients.strict_openai import NAME, Refused, check_strict, refusal
from support.scripted import head, whole

__all__ = ["Refused", "answer", "check", "history", "refusal"]

FIELDS = {"stream", "client_metadata", *response_create_params.ResponseCreateParamsBase.__annotations__}
"""Fields of a request: those of the SDK, and one that Codex sends."""

ITEM_FIELDS = {
    "message": {"type", "role", "content", "id", "status", "phase"},
    "function_call": {"type", "id", "call_id", "name", "arguments", "status", "namespace"},
    "function_call_output": {"type", "id", "call_id", "output", "status"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
}

PARTS = {
    "system": {"input_text"},
    "developer": {"input_text"},
    "user": {"input_text", "input_image", "input_file"},
    "assistant": {"output_text", "refusal"},
}

PREFIXES = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
"""Beginnings of ids of items."""

OTHER_TOOLS = ("custom", "namespace", "web_search")
"""Tools besides functions that Codex offers."""

MAX_ID = 64
"""Characters of a call's or an item's id that OpenAI accepts."""

MIN_OUTPUT = 16
"""Tokens of the smallest `max_output_tokens` that OpenAI accepts."""

EFFORTS = ("none", "low", "medium", "high")
"""Efforts that the model knows."""

_answers: dict[str, list[dict[str, Any]]] = {}
"""Items of stored conversations up to an answer, by its id."""

_items: dict[str, dict[str, Any]] = {}
"""Stored items by their ids."""

_ids = itertools.count()
_sealed: set[str] = set()
"""Encrypted reasoning that models have given."""


def check(body: dict[str, Any]) -> None:
    """Raises `Refused` for a request that OpenAI would refuse."""
    others = sorted(body.keys() - FIELDS)
    if others:
        raise Refused(f"Unknown parameter: '{others[0]}'.")
    if (body.get("max_output_tokens") or MIN_OUTPUT) < MIN_OUTPUT:
        raise Refused("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.")
    if "stream_options" in body and not body.get("stream"):
        raise Refused("The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    if len(body.get("user") or "") > 64 or len(body.get("metadata") or {}) > 16:
        raise Refused("user or metadata is too long")
    for name in body.get("include") or ():
        if name not in get_args(ResponseIncludable):
            raise Refused(f"Invalid value: '{name}' - 'include'")
    if (body.get("reasoning") or {}).get("effort") not in (None, *EFFORTS):
        raise Refused(f"Unsupported value: '{body['reasoning']['effort']}' - 'reasoning.effort'")
    _check_tools(body)
    if not body.get("input"):
        raise Refused("Missing required parameter: 'input'.")
    _check_items(conversation(body), body["model"], stored=body.get("store") is not False)


def conversation(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The items of the whole conversation, also those that the request only refers to."""
    given, before = body["input"], body.get("previous_response_id")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    referred = [it["id"] for it in items if it.get("type") == "item_reference"]
    if lost := [id for id in referred if id not in _items]:
        raise Refused(f"Item with id '{lost[0]}' not found.")
    if before is not None and before not in _answers:
        raise Refused(f"Previous response with id '{before}' not found.")
    found = [_items[it["id"]] if it.get("type") == "item_reference" else it for it in items]
    return [*_answers.get(before, ()), *found] if before else found


def _check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools") or ()
    if not tools and body.get("tool_choice") not in (None, "auto", "none"):
        raise Refused("Tool choice must be 'auto' or 'none' when no tools are given.")
    for place, tool in enumerate(tools):
        if tool.get("type") in OTHER_TOOLS:
            continue
        if tool.get("type") != "function":
            raise Refused(f"Invalid value: '{tool.get('type')}' - 'tools[{place}].type'")
        others = tool.keys() - {"type", "name", "description", "parameters", "strict"}
        if others or not NAME.fullmatch(tool.get("name", "")):
            raise Refused(f"Invalid 'tools[{place}]': {others or tool.get('name')}")
        parameters = tool.get("parameters") or {"type": "object", "properties": {}}
        if parameters.get("type") != "object":
            raise Refused(f"Invalid schema for function '{tool['name']}': type must be 'object'")
        if tool.get("strict"):
            check_strict(parameters, tool["name"])


def _check_items(items: list[dict[str, Any]], model: str, *, stored: bool) -> None:
    called: dict[str, bool] = {}  # whether its output has come, by the id of the call
    for place, item in enumerate(items):
        where, kind = f"input[{place}]", item.get("type", "message")
        if kind not in ITEM_FIELDS:
            raise Refused(f"Invalid value: '{kind}' - '{where}'")
        others = item.keys() - ITEM_FIELDS[kind]
        if others:
            raise Refused(f"Unknown parameter: '{where}.{sorted(others)[0]}'.")
        _check_id(item, kind, where)
        if kind == "message":
            _check_message(item, where)
        elif kind == "function_call":
            if item["call_id"] in called or len(item["call_id"]) > MAX_ID or not NAME.fullmatch(item["name"]):
                raise Refused(f"Invalid call - '{where}'")
            if not isinstance(item["arguments"], str):
                raise Refused(f"Expected a string - '{where}.arguments'")
            called[item["call_id"]] = False
        elif kind == "function_call_output":
            if item["call_id"] not in called:
                raise Refused(f"No tool call found for function call output with call_id {item['call_id']}.")
            called[item["call_id"]] = True
        else:
            _check_reasoning(item, items[place + 1 :], where, model, stored=stored)
    for call, done in called.items():
        if not done:
            raise Refused(f"No tool output found for function call {call}.")


def _check_id(item: dict[str, Any], kind: str, where: str) -> None:
    id = item.get("id")
    if id is not None and kind in PREFIXES and (not id.startswith(PREFIXES[kind]) or len(id) > MAX_ID):
        raise Refused(f"Invalid '{where}.id': '{id}'. Expected an ID that begins with '{PREFIXES[kind]}'.")


def _check_message(item: dict[str, Any], where: str) -> None:
    role, content = item.get("role"), item.get("content")
    if role not in PARTS:
        raise Refused(f"Invalid value: '{role}' - '{where}.role'")
    if isinstance(content, str):
        return
    for part in content or ():
        if part.get("type") not in PARTS[role]:
            raise Refused(f"Invalid value: '{part.get('type')}' - '{where}.content'")
        if part["type"] == "output_text" and part.keys() - {"type", "text", "annotations", "logprobs"}:
            raise Refused(f"Unknown parameter - '{where}.content'")


def _check_reasoning(
    item: dict[str, Any], following: list[dict[str, Any]], where: str, model: str, *, stored: bool
) -> None:
    blob = item.get("encrypted_content")
    if blob is None and not (stored and item.get("id")):
        raise Refused(f"Item '{where}' not found. Items are not persisted when `store` is set to false.")
    if blob is not None and (blob not in _sealed or not blob.startswith(_seal(model))):
        raise Refused(f"The encrypted content for item {where} could not be verified.")
    if not following or following[0].get("type") == "function_call_output" or following[0].get("role") == "user":
        raise Refused(f"Item '{where}' of type 'reasoning' was provided without its required following item.")


def _seal(model: str) -> str:
    """The beginning of a model's encrypted reasoning, which no other model reads."""
    return f"gAAAA{model}."


def history(body: dict[str, Any]) -> list[list[tuple[Call, str]]]:
    """Calls with their results, a list per turn that had some."""
    items = conversation(body)
    results = {it["call_id"]: _text(it["output"]) for it in items if it.get("type") == "function_call_output"}
    turns: list[list[tuple[Call, str]]] = []
    open_turn = False
    for item in items:
        if item.get("type") == "function_call":
            if not open_turn:
                turns.append([])
            open_turn = True
            call = Call(item["name"], json.loads(item["arguments"] or "{}"))
            turns[-1].append((call, results.get(item["call_id"], "")))
        elif item.get("type") == "function_call_output":
            open_turn = False
    return turns


def _text(output: Any) -> str:
    return output if isinstance(output, str) else "".join(part["text"] for part in output)


USAGE = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 1020,
}


def answer(body: dict[str, Any], turn: Turn, number: int, *, terse: bool = False) -> Iterable[bytes]:
    """The turn, plain or as a stream; the last event of a `terse` stream has no items, as OpenAI has sent it."""
    id = f"{next(_ids):04}"
    output = _output(body, turn, number, id)
    response = {
        "id": f"resp_{id}",
        "object": "response",
        "created_at": 1790000000,
        "status": "completed",
        "model": body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "error": None,
        "incomplete_details": None,
        "usage": USAGE,
        **{name: body.get(name) for name in ("instructions", "metadata", "temperature", "top_p")},
        "store": body.get("store") is not False,
    }
    if response["store"]:
        _answers[response["id"]] = [*conversation(body), *output]
        _items.update({item["id"]: item for item in output})
    return _stream(response, terse=terse) if body.get("stream") else [whole(response)]


def _output(body: dict[str, Any], turn: Turn, number: int, id: str) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = []
    reasoning = body.get("reasoning") or {}
    if reasoning.get("effort") not in (None, "none"):
        summary = [{"type": "summary_text", "text": turn.thought}] if reasoning.get("summary") else []
        item: dict[str, Any] = {"id": f"rs_{id}", "type": "reasoning", "summary": summary}
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            item["encrypted_content"] = f"{_seal(body['model'])}{id}=="
            _sealed.add(item["encrypted_content"])
        output.append(item)
    if turn.text:
        part = {"type": "output_text", "text": turn.text, "annotations": [], "logprobs": []}
        message = {"id": f"msg_{id}", "type": "message", "role": "assistant", "status": "completed"}
        output.append({**message, "content": [part]})
    for place, call in enumerate(turn.calls):
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        shown = {"call_id": f"call_{number:02}x{place}abcdefghijklmnop", "name": call.name, "arguments": arguments}
        output.append({"id": f"fc_{id}_{place}", "type": "function_call", "status": "completed", **shown})
    return output


def _stream(response: dict[str, Any], *, terse: bool) -> Iterator[bytes]:
    numbers = itertools.count()

    def event(kind: str, **data: Any) -> bytes:
        fields = {"type": f"response.{kind}", "sequence_number": next(numbers), **data}
        return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()

    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield head()
    yield event("created", response=begun)
    yield event("in_progress", response=begun)
    for index, item in enumerate(response["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        yield event("output_item.added", output_index=index, item=_emptied(item))
        for kind, data in _body(item):
            yield event(kind, **at, **data)
        yield event("output_item.done", output_index=index, item=item)
    yield event("completed", response={**response, "output": []} if terse else response)


def _emptied(item: dict[str, Any]) -> dict[str, Any]:
    field = {"message": "content", "reasoning": "summary", "function_call": "arguments"}[item["type"]]
    status = {"status": "in_progress"} if "status" in item else {}
    return {**item, field: "" if field == "arguments" else [], **status}


def _body(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events between the begin of an item and its end."""
    if item["type"] == "message":
        part, at = item["content"][0], {"content_index": 0}
        yield "content_part.added", {**at, "part": {**part, "text": ""}}
        for word in re.findall(r"\S+\s*", part["text"]):
            yield "output_text.delta", {**at, "delta": word, "logprobs": [], "obfuscation": "x"}
        yield "output_text.done", {**at, "text": part["text"], "logprobs": []}
        yield "content_part.done", {**at, "part": part}
    elif item["type"] == "reasoning":
        for index, part in enumerate(item["summary"]):
            at = {"summary_index": index}
            yield "reasoning_summary_part.added", {**at, "part": {**part, "text": ""}}
            yield "reasoning_summary_text.delta", {**at, "delta": part["text"]}
            yield "reasoning_summary_text.done", {**at, "text": part["text"]}
            yield "reasoning_summary_part.done", {**at, "part": part}
    else:
        arguments = item["arguments"]
        for at in range(0, len(arguments), 7):
            yield "function_call_arguments.delta", {"delta": arguments[at : at + 7]}
        yield "function_call_arguments.done", {"name": item["name"], "arguments": arguments}
