"""Events of a stream: the commit point, the end, usage; and nonsense is only ever malformed."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.contract import Dialect
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Signal
from weir_router.dialects.openai_chat import usage as openai_usage
from weir_router.dialects.registry import caller_named, record_of
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptFailed, FailureKind

openai, anthropic = record_of(Format.OPENAI_CHAT), record_of(Format.ANTHROPIC_MESSAGES)


def chunk(delta: Any = None, finish: Any = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta or {}, "finish_reason": finish}], **more}


def block_delta(**delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def block_start(**block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": block}


def stop(reason: Any = "end_turn", **more: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, **more}


def test_each_dialect_has_its_provider() -> None:
    assert caller_named(Dialect.OPENAI) is openai
    assert caller_named(Dialect.ANTHROPIC) is anthropic


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "Hi"},
        {"content": " "},
        {"role": "assistant", "content": "Hi"},
        {"content": [{"type": "thinking"}]},
        {"refusal": "No."},
        {"reasoning_content": "Hm"},
        {"content": "", "reasoning": "Hm"},
        {"content": None, "reasoning_details": [{"type": "reasoning.text"}]},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
        {"function_call": {"name": "f"}},
        {"audio": {"id": "a"}},
    ],
)
def test_openai_content_is_the_commit_point(delta: dict[str, Any]) -> None:
    reader = openai.reader()
    assert reader.read(chunk(delta)) == Signal.CONTENT
    assert reader.content_events == 1


@pytest.mark.parametrize(
    "payload",
    [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"role": "assistant"}),
        chunk({"content": ""}),
        chunk({"content": None}),
        chunk({}),
        chunk({"content": ""}, finish=""),
        {"choices": [], "prompt_filter_results": []},
        {"choices": None},
        {"id": "x", "error": None},
        {},
    ],
)
def test_openai_events_without_content(payload: dict[str, Any]) -> None:
    reader = openai.reader()
    assert reader.read(payload) == Signal.NONE
    assert (reader.content_events, reader.stop_reason) == (0, None)


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_openai_finish_reason_is_a_stop(reason: str) -> None:
    reader = openai.reader()
    assert reader.read(chunk({}, finish=reason)) == Signal.STOP
    assert reader.stop_reason == reason


def test_openai_content_and_stop_in_one_chunk() -> None:
    assert openai.reader().read(chunk({"content": "Hi"}, finish="stop")) == Signal.CONTENT | Signal.STOP


def test_openai_stops_when_every_choice_has_stopped() -> None:
    reader = openai.reader()
    for index in (0, 1):
        reader.read(chunk({"content": "a"}, index=index))
    assert reader.read(chunk(finish="stop", index=0)) == Signal.NONE
    assert reader.stop_reason is None
    assert reader.read(chunk(finish="length", index=1)) == Signal.STOP


def test_openai_choice_that_opens_late_takes_the_stop_back() -> None:
    reader = openai.reader()
    reader.read(chunk({"content": "a"}, finish="stop", index=0))
    reader.read(chunk({"content": "b"}, index=1))
    assert reader.stop_reason is None


def test_openai_usage_only_chunk_is_hidden_from_who_did_not_ask() -> None:
    reader = openai.reader()
    assert reader.read({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}) == Signal.HIDE
    assert reader.usage == Usage(input=3, output=2)


@pytest.mark.parametrize("choice", [{"finish_reason": "error"}, {"finish_reason": "insufficient_system_resource"}])
def test_openai_finish_reason_that_says_broken(choice: dict[str, Any]) -> None:
    with pytest.raises(AttemptFailed) as caught:
        openai.reader().read({"choices": [{"index": 0, "delta": {}, **choice}]})
    assert caught.value.kind in (FailureKind.SERVER, FailureKind.OVERLOAD)


def test_openai_error_inside_a_choice() -> None:
    payload = {
        "choices": [{"delta": {"content": ""}, "finish_reason": "error", "error": {"code": 429, "message": "x"}}]
    }
    with pytest.raises(AttemptFailed) as caught:
        openai.reader().read(payload)
    assert caught.value.kind is FailureKind.RATE_LIMIT


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(input=10, cached_input=4, output=5, reasoning=3),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4},
            Usage(input=10, cached_input=6, output=5),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": None}, Usage(input=10, output=5)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 18,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(input=10, output=8, reasoning=3),
        ),
        ({"prompt_tokens": "10", "completion_tokens": -5, "prompt_tokens_details": []}, Usage()),
        ({"prompt_tokens": 10.0, "completion_tokens": True}, Usage(input=10)),
    ],
)
def test_openai_usage(usage: dict[str, Any], expected: Usage) -> None:
    assert openai_usage.usage_of({"usage": usage}) == expected


@pytest.mark.parametrize(
    "payload",
    [
        block_delta(type="text_delta", text="Hi"),
        block_delta(type="thinking_delta", thinking="Hm"),
        block_delta(type="input_json_delta", partial_json="{"),
        block_delta(type="signature_delta", signature="x"),
        block_delta(type="citations_delta", citation={"cited_text": "x"}),
        block_delta(type="new_delta", new="x"),
        block_start(type="tool_use", id="t", name="f", input={}),
        block_start(type="server_tool_use", id="t", name="f", input={}),
        block_start(type="redacted_thinking", data="x"),
        block_start(type="text", text="Hi"),
        {"type": "message_start", "message": {"content": [{"type": "text", "text": "Hi"}]}},
    ],
)
def test_anthropic_content_is_the_commit_point(payload: dict[str, Any]) -> None:
    reader = anthropic.reader()
    assert reader.read(payload) == Signal.CONTENT
    assert reader.content_events == 1


@pytest.mark.parametrize(
    "payload",
    [
        block_delta(type="text_delta", text=""),
        block_delta(type="input_json_delta", partial_json=""),
        block_start(type="text", text=""),
        block_start(type="thinking", thinking="", signature=""),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 3}}},
        {"type": "ping"},
        {"type": "something_new", "x": 1},
        stop(None),
    ],
)
def test_anthropic_events_without_content(payload: dict[str, Any]) -> None:
    reader = anthropic.reader()
    assert reader.read(payload) == Signal.NONE
    assert (reader.content_events, reader.stop_reason) == (0, None)


def test_anthropic_stop_and_done() -> None:
    reader = anthropic.reader()
    assert reader.read(stop("tool_use")) == Signal.STOP
    assert reader.stop_reason == "tool_use"
    assert reader.read({"type": "message_stop"}) == Signal.DONE


def test_anthropic_end_without_a_stop_reason_is_truncated() -> None:
    with pytest.raises(AttemptFailed) as caught:
        anthropic.reader().read({"type": "message_stop"})
    assert caught.value.kind is FailureKind.TRUNCATED


def test_anthropic_usage_is_summed_and_the_last_count_stands() -> None:
    reader = anthropic.reader()
    start = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5, "output_tokens": 1}
    reader.read({"type": "message_start", "message": {"usage": start}})
    reader.read(stop(usage={"output_tokens": 9, "input_tokens": None}))
    assert reader.usage == Usage(input=12, cached_input=4, cache_write=5, output=9)


@pytest.mark.parametrize(
    ("provider", "payload"),
    [
        (openai, []),
        (openai, "x"),
        (openai, {"choices": "x"}),
        (openai, {"choices": {"a": 1}}),
        (openai, {"choices": [1]}),
        (openai, chunk("text")),
        (openai, chunk({"content": 5})),
        (openai, chunk(finish=5)),
        (openai, {"choices": [{"index": [], "delta": {}}]}),
        (anthropic, []),
        (anthropic, {}),
        (anthropic, {"type": []}),
        (anthropic, {"type": "message_start"}),
        (anthropic, {"type": "content_block_start", "content_block": {}}),
        (anthropic, {"type": "content_block_delta", "delta": "x"}),
        (anthropic, block_delta(type="text_delta", text=5)),
        (anthropic, stop(5)),
    ],
)
def test_nonsense_is_malformed(provider: Any, payload: Any) -> None:
    with pytest.raises(AttemptFailed) as caught:
        provider.reader().read(payload)
    assert caught.value.kind is FailureKind.MALFORMED


@pytest.mark.parametrize(
    ("provider", "payload"),
    [
        (openai, []),
        (openai, {}),
        (openai, {"choices": []}),
        (openai, {"choices": [{}]}),
        (openai, {"choices": [{"message": {}, "finish_reason": 5}]}),
        (anthropic, None),
        (anthropic, {"type": "message"}),
        (anthropic, {"content": ["x"]}),
        (anthropic, {"content": [], "stop_reason": 5}),
    ],
)
def test_a_whole_answer_that_is_none_is_malformed(provider: Any, payload: Any) -> None:
    with pytest.raises(AttemptFailed) as caught:
        provider.read_whole(payload)
    assert caught.value.kind is FailureKind.MALFORMED


def test_whole_answers_are_understood() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    found = openai.read_whole({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage})
    assert found == (Usage(input=3, output=2), "stop", False)
    found = anthropic.read_whole({"content": [], "stop_reason": "refusal", "usage": {"input_tokens": 1}})
    assert found == (Usage(input=1), "refusal", False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
OPENAI_NAMES = (
    "choices",
    "delta",
    "content",
    "index",
    "finish_reason",
    "usage",
    "error",
    "tool_calls",
    "message",
    "object",
)
ANTHROPIC_NAMES = ("message", "delta", "content_block", "usage", "index", "text", "stop_reason", "error", "content")
TYPES = (
    "message_start",
    "content_block_start",
    "content_block_delta",
    "message_delta",
    "message_stop",
    "error",
    "ping",
    "text",
)


def payloads(names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Payloads with the field names of the format and random values."""
    typed = {"type": st.sampled_from(TYPES) | JSON}
    return st.recursive(
        JSON,
        lambda inner: st.fixed_dictionaries(
            typed, optional={name: inner | st.lists(inner, max_size=2) for name in names}
        ),
        max_leaves=8,
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(payloads(OPENAI_NAMES), max_size=4))
def test_openai_reader_raises_nothing_but_attempt_failed(events: list[Any]) -> None:
    exercise(openai, events)


@settings(max_examples=300, deadline=None)
@given(st.lists(payloads(ANTHROPIC_NAMES), max_size=4))
def test_anthropic_reader_raises_nothing_but_attempt_failed(events: list[Any]) -> None:
    exercise(anthropic, events)


def exercise(provider: Any, events: list[Any]) -> None:
    reader = provider.reader()
    for event in events:
        for understand, expected in ((reader.read, Signal), (provider.read_whole, tuple)):
            with contextlib.suppress(AttemptFailed):  # and nothing else may be raised
                assert isinstance(understand(event), expected)


@pytest.mark.parametrize("content", [None, ""])
def test_a_whole_answer_of_nothing_without_a_reason_is_no_success(content: str | None) -> None:
    with pytest.raises(AttemptFailed) as caught:
        openai.read_whole({"choices": [{"message": {"content": content}, "finish_reason": None}]})
    assert caught.value.kind is FailureKind.TRUNCATED


def test_a_whole_answer_of_nothing_with_a_reason_is_one() -> None:
    """An empty answer with a stop reason is whole: reasoning may have used up `max_tokens`."""
    assert (
        openai.read_whole({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}).stop_reason
        == "length"
    )
