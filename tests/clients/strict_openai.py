"""A scripted model behind Chat Completions that refuses what OpenAI refuses.

Facts of the API reference and of its error messages; the fields of a request are those of the `openai` SDK.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from openai.types.chat import completion_create_params

from clients.script import Call, Turn
from support.scripted import head, whole

FIELDS = {"stream", *completion_create_params.CompletionCreateParamsBase.__annotations__}

MESSAGE_FIELDS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "annotations", "tool_calls", "audio", "function_call"},
    "tool": {"role", "content", "tool_call_id", "name"},
}

PARTS = {
    "system": {"text"},
    "developer": {"text"},
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "tool": {"text"},
}

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

MAX_ID = 40
"""Characters of a call's id that OpenAI accepts."""


_ids = itertools.count()
"""Numbers of answers: clients put together what has one id."""


class Refused(Exception):
    """A 400 in OpenAI's words."""


def check(body: dict[str, Any], *, reasoning: bool) -> None:
    """Raises `Refused` for a request that OpenAI would refuse; `reasoning`: a model that takes an effort."""
    _no_others(body, FIELDS, "request")
    if "max_tokens" in body and ("max_completion_tokens" in body or reasoning):
        raise Refused("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    if "reasoning_effort" in body and not reasoning:
        raise Refused("Unrecognized request argument supplied: reasoning_effort")
    if "stream_options" in body and not body.get("stream"):
        raise Refused("The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    if len(body.get("user") or "") > 64 or len(body.get("metadata") or {}) > 16:
        raise Refused("user or metadata is too long")
    _check_tools(body)
    _check_messages(body["messages"])


def _no_others(value: dict[str, Any], known: set[str], where: str) -> None:
    others = sorted(value.keys() - known)
    if others:
        raise Refused(f"Additional properties are not allowed ({', '.join(others)} unexpected) - '{where}'")


def _check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools")
    if tools is None:
        if body.keys() & {"tool_choice", "parallel_tool_calls"}:
            raise Refused("'tool_choice' and 'parallel_tool_calls' are only allowed when 'tools' are specified.")
        return
    if not tools or len(tools) > 128:
        raise Refused("Expected 1 to 128 'tools'")
    for place, tool in enumerate(tools):
        where = f"tools.{place}.function"
        if tool.get("type") != "function":
            raise Refused(f"Invalid value: '{tool.get('type')}' - 'tools.{place}.type'")
        _no_others(tool, {"type", "function"}, f"tools.{place}")
        function = tool["function"]
        _no_others(function, {"name", "description", "parameters", "strict"}, where)
        if not NAME.fullmatch(function["name"]):
            raise Refused(f"Invalid '{where}.name': {function['name']}")
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        if parameters.get("type") != "object":
            raise Refused(f"Invalid schema for function '{function['name']}': type must be 'object'")
        if "properties" not in parameters and parameters.keys() - {"type", "additionalProperties", "$schema"}:
            raise Refused(f"Invalid schema for function '{function['name']}': object schema missing properties")
        if function.get("strict"):
            check_strict(parameters, function["name"])


def check_strict(schema: Any, name: str) -> None:
    """Raises `Refused` for a schema that OpenAI does not take with `strict`."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            if schema.get("additionalProperties") is not False:
                raise Refused(f"Invalid schema for function '{name}': 'additionalProperties' is required to be false")
            if set(schema.get("required") or ()) != set(schema.get("properties") or ()):
                raise Refused(f"Invalid schema for function '{name}': 'required' must have every key in properties")
        for inner in schema.values():
            check_strict(inner, name)
    elif isinstance(schema, list):
        for inner in schema:
            check_strict(inner, name)


def _check_messages(messages: list[dict[str, Any]]) -> None:
    if not messages:
        raise Refused("[] is too short - 'messages'")
    open_calls: list[str] = []
    for place, message in enumerate(messages):
        where = f"messages.{place}"
        role = message.get("role")
        if role not in MESSAGE_FIELDS:
            raise Refused(f"Invalid value: '{role}' - '{where}.role'")
        _no_others(message, MESSAGE_FIELDS[role], where)
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise Refused(f"'{where}' with role 'tool' must be a response to a preceding message with 'tool_calls'")
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            raise Refused(f"'tool_call_id's did not have response messages: {', '.join(open_calls)}")
        _check_content(message, role, where)
        if role == "assistant":
            open_calls = [_checked_call(it, f"{where}.tool_calls.{n}") for n, it in enumerate(_calls(message, where))]
            if len(set(open_calls)) < len(open_calls):
                raise Refused(f"Duplicate ids - '{where}.tool_calls'")
    if open_calls:
        raise Refused(f"'tool_call_id's did not have response messages: {', '.join(open_calls)}")


def _calls(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if calls == []:
        raise Refused(f"[] is too short - '{where}.tool_calls'")
    return calls or []


def _checked_call(call: dict[str, Any], where: str) -> str:
    _no_others(call, {"id", "type", "function"}, where)
    _no_others(call["function"], {"name", "arguments"}, f"{where}.function")
    if call.get("type") != "function" or not NAME.fullmatch(call["function"]["name"]):
        raise Refused(f"Invalid call - '{where}'")
    if not isinstance(call["function"]["arguments"], str):
        raise Refused(f"Expected a string - '{where}.function.arguments'")
    if len(call["id"]) > MAX_ID:
        raise Refused(f"string too long. Expected a string with maximum length {MAX_ID} - '{where}.id'")
    return str(call["id"])


def _check_content(message: dict[str, Any], role: str, where: str) -> None:
    content = message.get("content")
    if content is None:
        if role != "assistant" or not message.get("tool_calls"):
            raise Refused(f"Expected a string, got null - '{where}.content'")
    elif isinstance(content, list):
        if not content:
            raise Refused(f"[] is too short - '{where}.content'")
        for part in content:
            if part.get("type") not in PARTS[role]:
                raise Refused(f"Invalid value: '{part.get('type')}' - '{where}.content'")
            if part["type"] == "text":
                _no_others(part, {"type", "text"}, f"{where}.content")
    elif not isinstance(content, str):
        raise Refused(f"Expected a string - '{where}.content'")


def history(body: dict[str, Any]) -> list[list[tuple[Call, str]]]:
    """Calls with their results, a list per turn that had some."""
    turns: list[list[tuple[Call, str]]] = []
    results = {m["tool_call_id"]: _text(m["content"]) for m in body["messages"] if m["role"] == "tool"}
    for message in body["messages"]:
        if message["role"] == "assistant" and message.get("tool_calls"):
            calls = [(it["id"], it["function"]) for it in message["tool_calls"]]
            turns.append(
                [(Call(it["name"], json.loads(it["arguments"] or "{}")), results.get(id, "")) for id, it in calls]
            )
    return turns


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def refusal(words: str) -> bytes:
    """The answer to a refused request."""
    error = {"message": words, "type": "invalid_request_error", "param": None, "code": None}
    return whole({"error": error}, status=400)


USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 20,
    "total_tokens": 1020,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}


def answer(body: dict[str, Any], turn: Turn, number: int) -> Iterable[bytes]:
    """The turn, plain or as a stream."""
    calls = [
        {
            "id": f"call_{number:02}x{place}abcdefghijklmnop",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for place, call in enumerate(turn.calls)
    ]
    finish = "tool_calls" if calls else "stop"
    if body.get("stream"):
        return _stream(body, turn, calls, finish)
    message = {"role": "assistant", "content": turn.text or None, "refusal": None, "annotations": []}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return [whole({**_head(body, "chat.completion", next(_ids)), "choices": [choice], "usage": USAGE})]


def _head(body: dict[str, Any], kind: str, number: int) -> dict[str, Any]:
    id = f"chatcmpl-{number:04}"
    return {"id": id, "object": kind, "created": 1790000000, "model": body["model"], "service_tier": "default"}


def _stream(body: dict[str, Any], turn: Turn, calls: list[dict[str, Any]], finish: str) -> Iterator[bytes]:
    first = _head(body, "chat.completion.chunk", next(_ids))
    wanted = bool((body.get("stream_options") or {}).get("include_usage"))

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({"choices": [choice], **({"usage": None} if wanted else {})})

    def _event(more: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps({**first, **more}).encode() + b"\n\n"

    yield head()
    yield chunk({"role": "assistant", "content": None if calls and not turn.text else "", "refusal": None})
    for word in re.findall(r"\S+\s*", turn.text):
        yield chunk({"content": word})
    for index, call in enumerate(calls):
        start = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        yield chunk({"tool_calls": [start]})
        arguments = call["function"]["arguments"]
        for at in range(0, len(arguments), 7):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + 7]}}]})
    yield chunk({}, finish)
    if wanted:
        yield _event({"choices": [], "usage": USAGE})
    yield b"data: [DONE]\n\n"
