"""Properties of every request and answer: no meaning is lost there and back, and no exception but our own is raised."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import translate
from support.pairings import FORMATS
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Event, Signal
from weir_router.dialects.neutral.schemas import structured
from weir_router.errors import AttemptFailed, BadRequest, FailureKind
from weir_router.estimate.prompt import Prompt

FAST = settings(max_examples=100, deadline=None)

# ---- requests there and back ----

words = st.text(string.ascii_letters + "äß👋", min_size=1, max_size=8)
names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8)
objects = st.dictionaries(words, st.one_of(st.integers(-(2**40), 2**40), words, st.lists(st.booleans())), max_size=3)
images = st.sampled_from(["https://x/y.png", "data:image/png;base64,AAAA"])
parts = st.one_of(
    words.map(lambda text: {"type": "text", "text": text}),
    images.map(lambda url: {"type": "image_url", "image_url": {"url": url}}),
    st.just({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}),
)
contents = st.one_of(words, st.lists(parts, min_size=1, max_size=3))


@st.composite
def exchanges(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A user's turn and its continuation: an answer, or tool calls with their results."""
    turns = [{"role": "user", "content": draw(contents)}]
    if draw(st.booleans()):
        return [*turns, {"role": "assistant", "content": draw(words)}]
    ids = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    function = lambda: {"name": draw(names), "arguments": json.dumps(draw(objects))}
    calls = [{"id": name, "type": "function", "function": function()} for name in ids]
    results = [{"role": "tool", "tool_call_id": name, "content": draw(words)} for name in ids]
    return [*turns, {"role": "assistant", "content": draw(st.none() | words), "tool_calls": calls}, *results]


functions = st.fixed_dictionaries(
    {"name": names, "parameters": objects.map(lambda properties: {"type": "object", "properties": properties})},
    optional={"description": words, "strict": st.just(True)},
)
choices = st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "f"}}])
bodies = st.fixed_dictionaries(
    {
        "model": st.just("auto"),
        "messages": st.lists(exchanges(), min_size=1, max_size=3).map(lambda all_: list(chain.from_iterable(all_))),
        "max_tokens": st.integers(1, 9999),
        "tools": st.lists(
            functions.map(lambda function: {"type": "function", "function": function}), min_size=1, max_size=2
        ),
    },
    optional={
        "tool_choice": choices,
        "temperature": st.floats(0, 0.99),
        "top_p": st.floats(0.01, 0.99),
        "stop": st.lists(words, min_size=1, max_size=4),
        "user": words,
        "service_tier": st.sampled_from(["auto", "default"]),
    },
)


def meaning(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its content as parts, decoded arguments, and no nulls."""
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls") or ()
    ]
    return {**{key: message[key] for key in ("role", "tool_call_id") if key in message}, "calls": calls, "parts": parts}


def meanings(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with consecutive ones of one role put together, which changes nothing."""
    out: list[dict[str, Any]] = []
    for message in map(meaning, messages):
        if out and message["role"] == out[-1]["role"] == "user":
            out[-1]["parts"] = [*out[-1]["parts"], *message["parts"]]
        else:
            out.append(message)
    return out


def with_own_ids(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with calls numbered throughout, since ids that come again are made unique."""
    numbers, out, count = {}, [], 0
    for message in messages:
        if calls := message.get("tool_calls"):
            numbers = {call["id"]: f"call_{count + at}" for at, call in enumerate(calls)}
            count += len(calls)
            message = {**message, "tool_calls": [{**call, "id": numbers[call["id"]]} for call in calls]}
        if "tool_call_id" in message:
            message = {**message, "tool_call_id": numbers[message["tool_call_id"]]}
        out.append(message)
    return out


def ask_of(dialect: Format, body: dict[str, Any]) -> Ask:
    return Ask(dialect, "auto", True, body, {}, Prompt(()))


def there_and_back(body: dict[str, Any]) -> dict[str, Any]:
    there = translate.request(ask_of(Format.OPENAI_CHAT, body), Format.ANTHROPIC_MESSAGES)
    return translate.request(ask_of(Format.ANTHROPIC_MESSAGES, there), Format.OPENAI_CHAT)


@FAST
@given(bodies)
def test_an_openai_request_keeps_its_meaning_there_and_back(body):
    back = there_and_back(body)
    for tool in body["tools"]:
        if tool["function"].get("strict"):  # strict schemas are closed
            tool["function"]["parameters"] = structured(tool["function"]["parameters"])
    asked = with_own_ids(body["messages"])
    assert meanings(with_own_ids(back.pop("messages"))) == meanings(asked)
    assert back == {key: value for key, value in body.items() if key != "messages"}


@FAST
@given(bodies)
def test_translation_never_changes_the_callers_body(body):
    before = json.dumps(body)
    there_and_back(body)
    assert json.dumps(body) == before


@FAST
@given(bodies)
def test_anthropics_turns_alternate_and_every_call_has_its_result_next(body):
    turns = translate.request(ask_of(Format.OPENAI_CHAT, body), Format.ANTHROPIC_MESSAGES)["messages"]
    assert all(before["role"] != after["role"] for before, after in pairwise(turns))
    for turn, following in pairwise(turns):
        blocks, after = (turn["content"], following["content"])
        used = [block["id"] for block in blocks if isinstance(block, dict) and block["type"] == "tool_use"]
        assert used == [block.get("tool_use_id") for block in after[: len(used)] if used]


# ---- anything at all ----

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=6))
KEYS = [
    "role", "content", "type", "text", "messages", "tools", "tool_calls", "function", "name", "arguments", "id",
    "input", "source", "data", "media_type", "url", "image_url", "file", "file_data", "tool_use_id", "tool_call_id",
    "tool_choice", "thinking", "budget_tokens", "response_format", "json_schema", "schema", "output_config", "format",
    "system", "stop", "stop_sequences", "max_tokens", "reasoning_effort", "input_schema", "parameters", "metadata",
    "choices", "delta", "index", "usage", "finish_reason", "message", "content_block", "stop_reason", "partial_json",
    "prompt_tokens", "prompt_tokens_details", "cached_tokens", "stop_details", "refusal", "reasoning_content",
]  # fmt: skip
VALUES = [
    "user", "assistant", "system", "tool", "text", "image", "image_url", "document", "file", "function", "base64",
    "tool_use", "tool_result", "data:image/png;base64,AA", "data:text/plain;base64,AA==", "{}", "{", "auto", "any",
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "thinking",
    "message_stop", "text_delta", "input_json_delta", "thinking_delta", "stop", "length", "end_turn", "json_schema",
    "\ud800",
]  # fmt: skip
anything = st.recursive(
    st.one_of(scalars, st.sampled_from(VALUES)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)),
    max_leaves=25,
)
any_object = st.dictionaries(st.sampled_from(KEYS), anything, max_size=8)
any_turn = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"])},
    optional={
        "content": st.one_of(anything, st.lists(any_object, max_size=3)),
        "tool_calls": st.lists(any_object, max_size=2),
        "tool_call_id": anything,
    },
)
any_body = st.builds(
    lambda body, messages: {**body, "messages": messages}, any_object, st.lists(any_turn, max_size=4) | anything
)
dialects = pytest.mark.parametrize("dialect", FORMATS)


def other(dialect: Format) -> Format:
    return Format.OPENAI_CHAT if dialect is Format.ANTHROPIC_MESSAGES else Format.ANTHROPIC_MESSAGES


def outcome(call: Callable[[], Any]) -> tuple[Any, BadRequest | AttemptFailed | None]:
    """Result of a call, or the one of our own exceptions that it raised; any other is a failed test."""
    try:
        return call(), None
    except (BadRequest, AttemptFailed) as error:
        return None, error


@dialects
@FAST
@given(body=any_body)
def test_any_body_gives_a_request_or_a_bad_request(dialect, body):
    ask = ask_of(dialect, body)
    made, error = outcome(lambda: translate.request(ask, other(dialect)))
    assert made["messages"] if error is None else isinstance(error, BadRequest)
    assert translate.untranslatable(ask, other(dialect)) == (error and error.message)


@dialects
@FAST
@given(payload=any_object)
def test_any_answer_gives_an_answer_or_a_failed_attempt(dialect, payload):
    made, error = outcome(lambda: translate.response(payload, dialect, ask_of(dialect, {})))
    assert made["id"] if error is None else error.kind is FailureKind.MALFORMED


@dialects
@FAST
@given(payloads=st.lists(any_object | st.none(), max_size=6))
def test_any_stream_gives_bytes_or_a_failed_attempt(dialect, payloads):
    renderer = translate.stream(dialect, ask_of(dialect, {"thinking": {"type": "adaptive"}}))
    event = Event(b"", None, b"")
    fed = lambda: b"".join(renderer.feed(event, payload, Signal.NONE) for payload in payloads) + renderer.end()
    made, error = outcome(fed)
    assert isinstance(made, bytes) if error is None else error.kind is FailureKind.MALFORMED
