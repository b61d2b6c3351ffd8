"""Streams for a caller of the upstream's own dialect: its bytes, or for a plain caller the whole answer."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.pairings import pairing_at
from weir_router.contract import Backend, Dialect
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Pairing, Signal
from weir_router.dialects.registry import caller_named, record_of
from weir_router.dialects.wire import sse
from weir_router.dialects.wire.relay import encode
from weir_router.errors import AttemptFailed, FailureKind

openai, anthropic = record_of(Format.OPENAI_CHAT), record_of(Format.ANTHROPIC_MESSAGES)

BACKEND = Backend(name="b", provider=Dialect.OPENAI, base_url="http://127.0.0.1/v1", model="m")
CLAUDE = Backend(name="c", provider=Dialect.ANTHROPIC, base_url="https://api.anthropic.com", model="m")
"""A backend whose signatures no relay changes."""


def pairing_to(provider: Any, ask: Ask) -> Pairing:
    return pairing_at(ask.format, Dialect.OPENAI if provider is openai else Dialect.ANTHROPIC)


def ask_of(dialect: Dialect, **fields: Any) -> Ask:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], **fields}
    return caller_named(dialect).read(json.dumps(body).encode(), {})


def render(provider: Any, stream: bytes, /, **fields: Any) -> bytes:
    """The stream for a caller of the same format whose request has these fields."""
    return render_for(Dialect.OPENAI if provider is openai else Dialect.ANTHROPIC, provider, stream, **fields)


def render_for(caller: Dialect, provider: Any, stream: bytes, /, **fields: Any) -> bytes:
    renderer = provider.renderer(ask := ask_of(caller, **fields), pairing_to(provider, ask), CLAUDE, created=7)
    reader, out = provider.reader(), []
    for event in sse.Splitter().feed(stream):
        payload = sse.decode(event)
        signal = Signal.DONE if sse.is_done(event) else Signal.NONE
        out.append(renderer.feed(event, payload, signal if payload is None else reader.read(payload)))
    return b"".join([*out, renderer.end()])


def chunks(*payloads: dict[str, Any], done: bool = True) -> bytes:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "real"}
    lines = [b"data: " + json.dumps({**head, **payload}).encode() + b"\n\n" for payload in payloads]
    return b"".join([*lines, b"data: [DONE]\n\n" if done else b""])


def delta(finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def messages(*payloads: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (p["type"].encode(), json.dumps(p).encode()) for p in payloads)


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ASKS_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def test_a_stream_is_relayed_byte_for_byte() -> None:
    stream = b": hm\n\n" + chunks(delta(content="Hi"), delta("stop"), {"choices": [], "usage": USAGE})
    assert render(openai, stream, **ASKS_USAGE) == stream


def test_usage_that_was_not_asked_for_is_hidden() -> None:
    content = chunks(delta(content="Hi"), delta("stop"), done=False)
    found = render(openai, content + chunks({"choices": [], "usage": USAGE}), stream=True)
    assert found == content + b"data: [DONE]\n\n"


def test_usage_beside_content_is_cut_out() -> None:
    found = render(openai, chunks({**delta("stop", content="Hi"), "usage": USAGE}), stream=True)
    (event, _) = sse.Splitter().feed(found)
    assert sse.decode(event) == {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "real",
        **delta("stop", content="Hi"),
    }


def test_the_null_usage_that_asking_for_it_brings_is_cut_out() -> None:
    stream = b'data: {"choices":[{"index":0,"delta":{"content":",\\"usage\\":null"}}],"usage":null}\n\ndata: [DONE]\n\n'
    assert render(openai, stream, stream=True) == stream.replace(b',"usage":null', b"")


def test_a_missing_end_is_added() -> None:
    stream = chunks(delta("stop", content="Hi"), done=False)
    assert render(openai, stream, **ASKS_USAGE) == stream + b"data: [DONE]\n\n"
    stream = messages({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    assert render(anthropic, stream, stream=True) == stream + messages({"type": "message_stop"}).replace(
        b': "m', b':"m'
    )


def test_an_anthropic_stream_is_relayed_byte_for_byte() -> None:
    stream = messages(
        {"type": "ping"},
        {"type": "new"},
        {"type": "message_delta", "delta": {"stop_reason": "x"}},
        {"type": "message_stop"},
    )
    assert render(anthropic, stream, stream=True) == stream


def whole(*payloads: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(render(openai, chunks(*payloads)))
    return answer


def message(*payloads: dict[str, Any]) -> Any:
    return whole(*payloads)["choices"][0]["message"]


def test_an_openai_stream_becomes_the_plain_answer() -> None:
    empty = {"service_tier": "default", "system_fingerprint": "fp", "usage": None, "obfuscation": "xyz"}
    first = {
        "choices": [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "", "refusal": None},
                "logprobs": None,
                "finish_reason": None,
            }
        ]
    }
    found = whole(
        {**first, **empty},
        {**delta(content="He"), **empty},
        {**delta(content="llo"), **empty},
        {**delta("stop"), **empty},
        {"choices": [], "usage": USAGE},
    )
    assert found == {
        "id": "c1",
        "object": "chat.completion",
        "created": 7,
        "model": "real",
        "service_tier": "default",
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }


def test_tool_calls_are_merged_by_index() -> None:
    def call(index: int, **more: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, **more}])

    found = message(
        call(0, id="a", type="function", function={"name": "f", "arguments": ""}),
        call(0, function={"arguments": '{"x"'}),
        call(1, id="b", function={"name": "g", "arguments": "{}"}),
        call(0, id="a", function={"name": "f", "arguments": ":1}"}),
        delta("tool_calls"),
    )
    assert found == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_tool_calls_without_an_index_continue_the_last_one() -> None:
    found = message(
        delta(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "{"}}]),
        delta(tool_calls=[{"function": {"arguments": "}"}}]),
        delta("tool_calls", tool_calls=[{"id": "b", "function": {"name": "g", "arguments": "{}"}}]),
    )
    assert [call["function"]["arguments"] for call in found["tool_calls"]] == ["{}", "{}"]


@pytest.mark.parametrize("field", ["refusal", "reasoning_content", "reasoning", "something_new"])
def test_texts_are_joined(field: str) -> None:
    assert message(delta(**{field: "a"}), delta(**{field: "b"}), delta("stop"))[field] == "ab"


def test_what_a_filter_found_is_said_once() -> None:
    results = {"hate": {"filtered": False, "severity": "safe"}}
    parts = [delta(content=text) for text in ("a", "b")]
    for part in parts:
        part["choices"][0]["content_filter_results"] = results  # Azure repeats them with each text
    assert whole(*parts, delta("stop"))["choices"][0]["content_filter_results"] == results


def test_the_older_function_call_is_joined() -> None:
    found = message(delta(function_call={"name": "f", "arguments": "{"}), delta(function_call={"arguments": "}"}))
    assert found["function_call"] == {"name": "f", "arguments": "{}"}


def test_annotations_are_collected_and_reasoning_details_merged() -> None:
    part = {"type": "reasoning.text", "index": 0, "format": "v1"}
    found = message(
        delta(annotations=[{"url": "a"}], reasoning_details=[{**part, "text": "x"}]),
        delta(annotations=[{"url": "b"}], reasoning_details=[{**part, "text": "y", "signature": "s"}]),
    )
    assert found["annotations"] == [{"url": "a"}, {"url": "b"}]
    assert found["reasoning_details"] == [{**part, "text": "xy", "signature": "s"}]


def test_what_stands_beside_the_delta_is_kept() -> None:
    first = {"index": 0, "delta": {"content": "a"}, "native_finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop", "native_finish_reason": "STOP"}
    found = whole({"choices": [first], "provider": "P"}, {"choices": [last], "id": "", "model": ""})
    assert found["choices"][0]["native_finish_reason"] == "STOP"
    assert (found["provider"], found["id"], found["model"]) == ("P", "c1", "real")


def test_several_choices_stay_apart() -> None:
    found = whole(delta("stop", 1, content="b"), delta("length", 0, content="a"))
    assert [(choice["message"]["content"], choice["finish_reason"]) for choice in found["choices"]] == [
        ("a", "length"),
        ("b", "stop"),
    ]


def test_an_answer_without_usage_has_none() -> None:
    assert "usage" not in whole(delta("stop", content="a"), {"choices": [], "usage": None})


def test_an_emoji_cut_in_two_is_whole_again() -> None:
    assert (
        message(delta(content="\ud83d"), delta(content="\ude00"), delta("stop", content="\ud83d"))["content"]
        == "😀\ufffd"
    )


def test_encode_replaces_only_what_is_no_character() -> None:
    assert json.loads(encode({"k\ud83d": ["\ud83d\ude00", 1]})) == {"k\ufffd": ["😀", 1]}


START = {
    "type": "message",
    "id": "m1",
    "role": "assistant",
    "model": "real",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 1, "service_tier": "standard"},
}


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": each} for each in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def content_of(*events: dict[str, Any], reason: str = "end_turn") -> dict[str, Any]:
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None, "container": {"id": "c"}},
        "usage": {"output_tokens": 20},
    }
    stream = messages({"type": "message_start", "message": START}, *events, end, {"type": "message_stop"})
    answer: dict[str, Any] = json.loads(render(anthropic, stream))
    return answer


def test_an_anthropic_stream_becomes_the_plain_answer() -> None:
    text = block(
        0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "He"}, {"type": "text_delta", "text": "llo"}
    )
    assert content_of(*text) == {
        **START,
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "container": {"id": "c"},
        "usage": {"input_tokens": 9, "output_tokens": 20, "service_tier": "standard"},
    }


def test_thinking_keeps_its_signature() -> None:
    start = {"type": "thinking", "thinking": "", "signature": ""}
    found = content_of(
        *block(0, start, {"type": "thinking_delta", "thinking": "Hm"}, {"type": "signature_delta", "signature": "abc"})
    )
    assert found["content"] == [{"type": "thinking", "thinking": "Hm", "signature": "abc"}]


def test_tool_input_is_parsed() -> None:
    start = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"x": ', "1}")]
    assert content_of(*block(0, start, *pieces))["content"] == [{**start, "input": {"x": 1}}]
    assert content_of(*block(0, start))["content"] == [start]


def test_tool_input_that_was_cut_off_stays_as_it_started() -> None:
    start = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    cut = block(0, start, {"type": "input_json_delta", "partial_json": '{"x": '})
    assert content_of(*cut, reason="max_tokens")["content"] == [start]


def test_citations_are_collected() -> None:
    cites = [{"type": "citations_delta", "citation": {"cited_text": text}} for text in "ab"]
    found = content_of(
        *block(0, {"type": "text", "text": "", "citations": []}, {"type": "text_delta", "text": "x"}, *cites)
    )
    assert found["content"] == [{"type": "text", "text": "x", "citations": [{"cited_text": "a"}, {"cited_text": "b"}]}]


def test_blocks_that_come_whole_are_kept() -> None:
    result = {"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"url": "x"}]}
    found = content_of(*block(1, result), *block(0, {"type": "redacted_thinking", "data": "x"}))
    assert found["content"] == [{"type": "redacted_thinking", "data": "x"}, result]


def test_a_stream_with_a_delta_without_its_block_cannot_be_put_together() -> None:
    with pytest.raises(AttemptFailed) as caught:
        content_of({"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "x"}})
    assert caught.value.kind is FailureKind.LOSSY


ANSWERS = [
    (openai, Dialect.ANTHROPIC, chunks(delta(content="Hello"), delta("stop"))),
    (
        anthropic,
        Dialect.OPENAI,
        messages(
            {"type": "message_start", "message": START},
            *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"}),
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ),
    ),
]


@pytest.mark.parametrize(("provider", "caller", "stream"), ANSWERS)
def test_a_plain_caller_of_the_other_dialect_gets_the_whole_answer(
    provider: Any, caller: Dialect, stream: bytes
) -> None:
    answer = json.loads(render_for(caller, provider, stream))
    kind = {"type": "message"} if caller is Dialect.ANTHROPIC else {"object": "chat.completion", "created": 7}
    assert kind.items() <= answer.items()
    assert "Hello" in json.dumps(answer)


@pytest.mark.parametrize(("provider", "caller", "stream"), ANSWERS)
def test_a_streaming_caller_of_the_other_dialect_gets_its_stream(provider: Any, caller: Dialect, stream: bytes) -> None:
    found = render_for(caller, provider, stream, stream=True)
    assert b"Hello" in found
    assert (b"message_stop" if caller is Dialect.ANTHROPIC else b"data: [DONE]") in found


@pytest.mark.parametrize(("provider", "caller", "stream"), ANSWERS)
def test_a_whole_answer_is_translated_only_for_the_other_dialect(provider: Any, caller: Dialect, stream: bytes) -> None:
    own = Dialect.OPENAI if provider is openai else Dialect.ANTHROPIC
    raw = render_for(own, provider, stream)
    assert provider.render_whole(ask_of(own), pairing_to(provider, ask_of(own)), CLAUDE, raw, json.loads(raw)) is raw
    assert b"Hello" in provider.render_whole(
        ask_of(caller), pairing_to(provider, ask_of(caller)), CLAUDE, raw, json.loads(raw)
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
DELTA = st.dictionaries(
    st.sampled_from(["content", "tool_calls", "function", "index", "role", "text"]), JSON, max_size=3
)
CHOICE = st.fixed_dictionaries(
    {"delta": DELTA | JSON}, optional={"index": JSON, "finish_reason": JSON, "logprobs": JSON}
)
ANTHROPIC_TYPE = st.sampled_from(["message_start", "content_block_start", "content_block_delta", "message_delta"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({"choices": st.lists(CHOICE, max_size=2) | JSON}, optional={"usage": JSON}), max_size=4
    )
)
def test_any_openai_events_make_an_answer_or_are_malformed(events: list[dict[str, Any]]) -> None:
    assembles_or_fails(openai, events)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": ANTHROPIC_TYPE},
            optional={
                "message": JSON | DELTA,
                "index": st.integers(0, 1) | JSON,
                "content_block": DELTA | JSON,
                "delta": DELTA | JSON,
                "usage": JSON,
            },
        ),
        max_size=5,
    )
)
def test_any_anthropic_events_make_an_answer_or_are_malformed(events: list[dict[str, Any]]) -> None:
    assembles_or_fails(anthropic, events)


def assembles_or_fails(provider: Any, events: list[dict[str, Any]]) -> None:
    with contextlib.suppress(AttemptFailed):  # and nothing else may be raised
        stream = chunks(*events) if provider is openai else messages(*events)
        assert isinstance(json.loads(render(provider, stream)), dict)
