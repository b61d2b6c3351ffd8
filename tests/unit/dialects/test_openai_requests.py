"""OpenAI chat completions as callers send them: known fields, unknown fields, and refusals."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.pairings import FORMATS
from weir_router.contract import Capability
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.openai_chat import request as openai
from weir_router.dialects.registry import record_of
from weir_router.errors import BadRequest
from weir_router.estimate.prompt import Turn

HELLO = [{"role": "user", "content": "Hello"}]


def ask(headers: dict[str, str] | None = None, **fields: Any) -> Ask:
    body = {"model": "auto", "messages": HELLO, **fields}
    return openai.read(json.dumps(body).encode(), headers or {})


def refusal(body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        openai.read(body, {})
    return caught.value


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def test_the_least_request() -> None:
    found = ask()
    assert (found.format, found.model, found.stream, found.streamable) == (Format.OPENAI_CHAT, "auto", False, True)
    assert found.prompt.turns == (Turn("user", "Hello"),)
    assert found.prompt.needs == frozenset()


def test_read_picks_the_dialect() -> None:
    body = b'{"model":"m","max_tokens":1,"input":"x","messages":[{"role":"user","content":"x"}]}'
    assert [record_of(dialect).read(body, {}).format for dialect in FORMATS] == list(FORMATS)


def test_fields_are_kept_byte_for_byte() -> None:
    found = openai.read(b'{"model":"m","messages":[{"role":"user"}],"new":{"a" : 1.00, "b":"\\u00e9"}}', {})
    assert bytes(found.raw["new"]) == b'{"a" : 1.00, "b":"\\u00e9"}'
    assert found.body["new"] == {"a": 1.0, "b": "é"}


def test_text_parts_are_joined() -> None:
    found = ask(messages=user({"type": "text", "text": "a"}, {"type": "text", "text": "b"}))
    assert found.prompt.turns == (Turn("user", "a\nb"),)


def test_developer_is_system_and_unknown_roles_pass() -> None:
    found = ask(messages=[{"role": "developer", "content": "x"}, {"role": "critic", "content": None}])
    assert found.prompt.turns == (Turn("system", "x"), Turn("critic", ""))


def test_tool_results_are_counted() -> None:
    found = ask(messages=[*HELLO, {"role": "tool", "content": "1"}, {"role": "function", "name": "f", "content": "2"}])
    assert found.prompt.tool_results == 2
    assert found.prompt.turns[1] == Turn("tool", "1")


@pytest.mark.parametrize(
    ("fields", "need"),
    [
        ({"tools": [{"type": "function"}]}, Capability.TOOLS),
        ({"functions": [{"name": "f"}]}, Capability.TOOLS),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, Capability.JSON_SCHEMA),
        ({"messages": user({"type": "image_url", "image_url": {"url": "data:"}})}, Capability.VISION),
        ({"messages": user({"type": "input_audio", "input_audio": {}})}, Capability.AUDIO),
        ({"modalities": ["text", "audio"]}, Capability.AUDIO),
        ({"messages": user({"type": "file", "file": {}})}, Capability.DOCUMENTS),
        ({"reasoning_effort": "high"}, Capability.REASONING),
    ],
)
def test_what_a_request_needs(fields: dict[str, Any], need: Capability) -> None:
    assert ask(**fields).prompt.needs == {need}


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tools": None},
        {"response_format": {"type": "json_object"}},
        {"modalities": ["text"]},
        {"reasoning_effort": "minimal"},
        {"reasoning_effort": "none"},
    ],
)
def test_what_needs_nothing(fields: dict[str, Any]) -> None:
    assert ask(**fields).prompt.needs == frozenset()


def test_tools_and_schemas_are_measured() -> None:
    body = b'{"model":"m","messages":[{"role":"user"}],"tools":[{"name":"f"}],"response_format":{}}'
    assert openai.read(body, {}).prompt.extra_chars == len('[{"name":"f"}]{}')
    assert ask().prompt.extra_chars == 0


def test_the_newer_limit_wins() -> None:
    assert ask(max_tokens=5, max_completion_tokens=7).prompt.max_output == 7
    assert ask(max_tokens=5).prompt.max_output == 5
    assert ask().prompt.max_output is None


@pytest.mark.parametrize(
    "fields", [{"n": 2}, {"n": "1"}, {"logprobs": True}, {"top_logprobs": 0}, {"modalities": ["audio"]}, {"audio": {}}]
)
def test_what_cannot_be_put_together_from_a_stream(fields: dict[str, Any]) -> None:
    assert not ask(**fields).streamable


@pytest.mark.parametrize(
    "fields", [{"n": 1}, {"n": None}, {"logprobs": False}, {"logprobs": None}, {"modalities": ["text"]}]
)
def test_what_can_be_put_together_from_a_stream(fields: dict[str, Any]) -> None:
    assert ask(**fields).streamable


def test_usage_is_shown_where_it_was_asked_for() -> None:
    assert ask().include_usage
    assert not ask(stream=True).include_usage
    assert not ask(stream=True, stream_options={"include_usage": False}).include_usage
    assert ask(stream=True, stream_options={"include_usage": True}).include_usage


def test_credentials_are_never_passed_on() -> None:
    headers = {
        "authorization": "Bearer weir_x",
        "x-api-key": "weir_x",
        "cookie": "a",
        "openai-organization": "org",
        "x-request-id": "7",
    }
    assert ask(headers).headers == {"openai-organization": "org", "x-request-id": "7"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"{", "too early, after 1 bytes"),
        (b'{"model": "m",}', "byte 14"),
        (b"[]", "a JSON object, not a list"),
        (b"null", "a JSON object, not null"),
        (b'{"a":"\xff"}', "UTF-8"),
        (rb'{"a":"\ud83d"}', "pair"),
        (rb'{"a":"\ude00 and more"}', "pair"),
        (b'{"a":' + b"[" * 100_000, "far more than 128 levels"),
        (b'{"a":1e999}', "out of range"),
        (b'{"a":NaN}', "byte 5"),
        (b"\xef\xbb\xbf{}", "byte 0"),
    ],
)
def test_what_is_no_json_is_explained(body: bytes, says: str) -> None:
    assert says in refusal(body).message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"model": " "}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": 1}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"tools": {}}, "tools"),
        ({"response_format": "json"}, "response_format"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"modalities": "audio"}, "modalities"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    refused = refusal(json.dumps({"model": "m", "messages": HELLO, **fields}).encode())
    assert refused.param == param
    assert param in refused.message


def test_a_megabyte_of_unicode_is_read() -> None:
    text = "señor 木 🜁 " * 60_000
    assert ask(messages=[{"role": "user", "content": text}]).prompt.turns[0].text == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("model", "messages", "stream", "stream_options", "tools", "functions", "max_tokens", "modalities", "n",
         "response_format", "reasoning_effort", "logprobs", "system", "thinking", "output_config")  # fmt: skip
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "tool_result", "image"]) | JSON},
    optional={"text": JSON, "content": JSON},
)
MESSAGE = st.fixed_dictionaries({"role": st.just("user") | JSON, "content": st.lists(PART, max_size=2) | JSON})
BODY = st.fixed_dictionaries({"model": st.just("m"), "messages": st.lists(MESSAGE, max_size=2)}) | st.dictionaries(
    st.sampled_from(NAMES), JSON, max_size=5
)


@settings(max_examples=300, deadline=None)
@given(BODY, st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3), st.sampled_from(FORMATS))
def test_any_json_is_understood_or_refused(body: dict[str, Any], extra: dict[str, Any], dialect: Format) -> None:
    with contextlib.suppress(BadRequest):  # and nothing else may be raised
        found = record_of(dialect).read(json.dumps({"max_tokens": 1, **body, **extra}).encode(), {})
        assert found.raw.keys() == found.body.keys()


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ud8e0 1', max_size=40).map(str.encode), st.sampled_from(FORMATS)
)
def test_any_bytes_are_understood_or_refused(body: bytes, dialect: Format) -> None:
    with contextlib.suppress(BadRequest):  # and nothing else may be raised
        found = record_of(dialect).read(body, {})
        assert found.body == json.loads(body)
