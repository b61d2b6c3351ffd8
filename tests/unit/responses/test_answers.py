"""Answers in this format: the stream that is written passes the grammar and the SDK, and its items make the answer that
is written as a whole; what is written can be read again.
"""

from __future__ import annotations

import contextlib
import json
import re
import string
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from support import translate
from support.drawn_answers import answers, events_of
from support.responses_grammar import events_of as read_events
from support.responses_grammar import violation
from weir_router.dialects.anthropic.assemble import AnthropicAssembler
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Event, Signal
from weir_router.dialects.neutral.answer import Answer, CallArguments, CallBegin, Start, Stop, Usage
from weir_router.dialects.neutral.conversation import Call, Text, Thought
from weir_router.dialects.neutral.opaque import Opaque
from weir_router.dialects.openai_responses.answers import read_answer, write_answer
from weir_router.dialects.openai_responses.assemble import ResponsesAssembler
from weir_router.dialects.openai_responses.events import ResponseEvents
from weir_router.dialects.openai_responses.items import Items
from weir_router.dialects.openai_responses.order import Order
from weir_router.dialects.openai_responses.sealed import sealed
from weir_router.dialects.openai_responses.stream import ResponsesReader
from weir_router.dialects.wire.relay import encode
from weir_router.errors import AttemptFailed
from weir_router.estimate.prompt import Prompt

CREATED, REALM = 1_700_000_000, "0a1b2c3d"
MANY = settings(max_examples=100, deadline=None)


def ask_of(**body: Any) -> Ask:
    return Ask(Format.OPENAI_RESPONSES, "auto", True, {"model": "auto", "input": "hi", **body}, {}, Prompt(()))


def written(events: list[Any], **body: Any) -> bytes:
    writer = Items(ask_of(**body), CREATED, REALM)
    return b"".join([writer.write(event) for event in events]) + writer.end()


def payloads(stream: bytes) -> list[dict[str, Any]]:
    return [event.data for event in read_events(stream)]


def assembled(stream: bytes) -> dict[str, Any]:
    assembler = ResponsesAssembler()
    for payload in payloads(stream):
        assembler.feed(payload)
    return assembler.answer()


def streamed_by_sdk(stream: bytes) -> Response:
    """The response that the SDK makes of a stream. It raises for sequences that are not right."""
    answer = lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    client = openai.OpenAI(
        base_url="http://weir/v1", api_key="x", http_client=httpx2.Client(transport=httpx2.MockTransport(answer))
    )
    with client, client.responses.stream(model="auto", input="hi") as found:
        for event in found:
            assert event.type
        return found.get_final_response()


def without_parsed(value: Any) -> Any:
    """The SDK's own form of an answer without the fields that it adds."""
    if isinstance(value, dict):
        return {name: without_parsed(it) for name, it in value.items() if name not in ("parsed", "parsed_arguments")}
    return [without_parsed(it) for it in value] if isinstance(value, list) else value


@MANY
@given(answers(), st.integers(1, 5))
def test_a_stream_passes_the_grammar_and_makes_the_whole_answer(answer: Answer, size: int) -> None:
    stream = written(events_of(answer, size))
    assert violation(read_events(stream)) is None
    order = Order()
    for payload in payloads(stream):
        order.check(payload)
    whole = write_answer(answer, ask_of(), CREATED, REALM)
    assert assembled(stream) == whole == payloads(stream)[-1]["response"]
    Response.model_validate(whole, strict=True)


@settings(max_examples=40, deadline=None)
@given(answers())
def test_the_sdk_takes_every_stream(answer: Answer) -> None:
    stream = written(events_of(answer))
    if answer.stop in ("stop", "tools"):
        made = streamed_by_sdk(stream)
        assert without_parsed(made.to_dict()["output"]) == write_answer(answer, ask_of(), CREATED, REALM)["output"]
    else:
        with pytest.raises(
            RuntimeError, match=r"response\.completed"
        ):  # it has no final response for an incomplete one
            streamed_by_sdk(stream)


def meaning(answer: Answer) -> list[Any]:
    """The parts of an answer, with neighbours that no format keeps apart as one, and without their ids."""
    out: list[Any] = []
    for part in answer.parts:
        last = out[-1] if out else None
        if isinstance(part, Call):
            out.append((part.id, part.name, part.arguments, part.custom))
        elif isinstance(part, Text):
            if isinstance(last, Text) and last.refusal is part.refusal:
                out[-1] = Text(last.text + part.text, part.refusal)
            else:
                out.append(part)
        elif part.text or part.opaque:
            redacted = part.opaque is not None and not part.text
            if isinstance(last, Thought) and last.opaque is None and not (part.opaque and part.opaque.redacted):
                part = Thought(last.text + part.text, part.opaque)
                out.pop()
                redacted = False
            blob = part.opaque and part.opaque.blob.removeprefix(sealed(REALM, ""))
            out.append(Thought(part.text, Opaque("", blob, redacted) if blob else None))
    return out


@MANY
@given(answers())
def test_what_is_written_is_read_again(answer: Answer) -> None:
    back = read_answer(write_answer(answer, ask_of(), CREATED, REALM))
    assert meaning(back) == meaning(answer)
    assert back.usage == answer.usage
    calls = any(isinstance(part, Call) for part in answer.parts)
    normal = "tools" if calls else "stop"
    assert back.stop == (answer.stop if answer.stop in ("length", "filter") else normal)


@MANY
@given(answers(), st.integers(1, 5), st.booleans())
def test_a_stream_that_is_read_and_written_is_the_same(answer: Answer, size: int, hollow: bool) -> None:
    """Also where the last event has no output."""
    stream = written(events_of(answer, size))
    events = payloads(stream)
    if hollow:
        events[-1]["response"]["output"] = []
    reader = ResponseEvents()
    found = [event for payload in events for event in reader.read(payload)]
    assert reader.over
    again = Items(ask_of(), CREATED, "")
    out = b"".join([again.write(event) for event in found]) + again.end()
    assert violation(read_events(out)) is None
    first, second = payloads(stream)[-1]["response"], payloads(out)[-1]["response"]
    mark = sealed("", sealed(REALM, "")).encode()  # it is marked once more
    assert json.loads(encode(second).replace(mark, sealed(REALM, "").encode())) == first


@MANY
@given(answers())
def test_the_reader_sees_content_usage_and_the_end(answer: Answer) -> None:
    reader = ResponsesReader()
    for payload in payloads(written(events_of(answer))):
        reader.read(payload)
    visible = [part for part in answer.parts if isinstance(part, Call) or part.text]
    assert (reader.content_events > 0) == bool(visible)
    reasons = {"length": "max_output_tokens", "filter": "content_filter"}
    assert reader.stop_reason == reasons.get(answer.stop, "completed")
    assert reader.usage is not None
    assert (reader.usage.input, reader.usage.output) == (answer.usage.input, answer.usage.output)


# ---- sequences that other servers send ----


def item(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.output_item.{kind}", "output_index": index, "item": fields}


def neutral(*events: dict[str, Any]) -> list[Any]:
    """The neutral events of a stream, without its start, end and usage."""
    reader = ResponseEvents()
    found = [event for payload in [*events, END] for event in reader.read(payload)]
    return [event for event in found if not isinstance(event, (Start, Stop, Usage))]


END = {"type": "response.completed", "response": {"id": "r", "model": "m", "status": "completed", "output": []}}
CALL = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": ""}
DONE = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": "{}"}
BEGIN = CallBegin(0, "c", "f")


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([item(0, "added", **CALL), DONE], [BEGIN, CallArguments(0, "{}")]),
        ([item(0, "added", **CALL), item(0, "done", **CALL)], [BEGIN]),
        ([item(0, "added", **CALL), item(0, "done", **{**CALL, "arguments": "{}"})], [BEGIN, CallArguments(0, "{}")]),
        ([item(0, "done", **{**CALL, "arguments": "{}"})], [BEGIN, CallArguments(0, "{}")]),
        ([item(0, "done", **{**CALL, "arguments": {"a": 1}})], [BEGIN, CallArguments(0, '{"a":1}')]),
        ([item(0, "added", **{**CALL, "name": None}), DONE, item(0, "done", **CALL | {"arguments": "{}"})],
         [BEGIN, CallArguments(0, "{}")]),
        ([item(0, "done", type="message", content=[{"type": "output_text", "text": "Hi"}])], [Text("Hi")]),
        ([item(0, "done", type="message", content=[{"type": "refusal", "refusal": "no"}])], [Text("no", True)]),
        ([item(0, "done", type="reasoning", summary=[], content=[{"type": "reasoning_text", "text": "hm"}])],
         [Thought("hm"), "reasoning_text"]),
        ([item(0, "done", type="reasoning", summary=[{"text": "a"}, {"text": "b"}])], [Thought("a\n\nb")]),
        ([item(0, "done", type="web_search_call", id="w", status="completed")], []),
        ([{"type": "response.reasoning_summary_part.added", "summary_index": 0},
          {"type": "response.reasoning_summary_text.delta", "delta": "a"},
          {"type": "response.reasoning_summary_part.added", "summary_index": 1},
          {"type": "response.reasoning_summary_text.delta", "delta": "b"}],
         [Thought("a"), Thought("\n\n"), Thought("b")]),
    ],
)  # fmt: skip
def test_items_count_however_they_come(events: Any, found: Any) -> None:
    shown = [getattr(event, "blob", None) or event for event in neutral(*events)]
    assert shown == found


def test_an_answer_that_comes_only_at_the_end_is_read() -> None:
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]
    end = {**END, "response": {**END["response"], "output": output}}  # type: ignore[dict-item]
    reader, events = ResponsesReader(), ResponseEvents()
    reader.read(end)
    assert reader.content_events == 1
    assert Text("Hi") in events.read(end)


def test_calls_whose_arguments_interleave_are_each_whole() -> None:
    events = [
        Start("r", "m"),
        *[CallBegin(at, f"c{at}", "f") for at in range(2)],
        *[CallArguments(at, piece) for piece in ('{"a"', ":1}") for at in range(2)],
        Text("Both."),
        Stop("tools"),
    ]
    stream = written(events)
    assert violation(read_events(stream)) is None
    output = payloads(stream)[-1]["response"]["output"]
    assert [it.get("arguments") for it in output] == ['{"a":1}', '{"a":1}', None]


def test_arguments_after_a_call_has_ended_are_malformed() -> None:
    writer = Items(ask_of(), CREATED)
    for event in (CallBegin(0, "c", "f"), CallArguments(0, "{}"), CallBegin(1, "d", "f"), CallArguments(0, "  ")):
        writer.write(event)
    with pytest.raises(AttemptFailed, match="after those of the next"):
        writer.write(CallArguments(0, "{}"))


def test_the_response_repeats_what_was_asked() -> None:
    asked: dict[str, Any] = {
        "instructions": "Be brief",
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}],
        "tool_choice": "required",
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "max_output_tokens": 100,
        "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "low"},
        "parallel_tool_calls": False,
    }
    answer = Answer("x", "m", (Text("Hi"),), "stop", Usage())
    whole = write_answer(answer, ask_of(**asked), CREATED)
    assert {name: whole[name] for name in asked} == asked
    assert (whole["store"], whole["created_at"], whole["id"]) == (False, CREATED, "resp_x")
    for payload in payloads(written([Start("x", "m"), Text("Hi"), Stop("stop")], **asked)):
        if "response" in payload:
            assert {name: payload["response"][name] for name in asked} == asked


@pytest.mark.parametrize("given", ["resp_abc", "chatcmpl-9", "x" * 256, "a/b c", "gen-1"])
def test_ids_are_those_that_openai_takes_back(given: str) -> None:
    parts = (Thought("hm"), Text("Hi"), Call("c1", "f", "{}"), Call("c2", "p", "x", custom=True))
    whole = write_answer(Answer(given, "m", parts, "tools", Usage()), ask_of(), 0)
    for shown in (whole["id"], *[it["id"] for it in whole["output"]]):
        assert re.fullmatch(r"(resp|rs|msg|fc|ctc)_[A-Za-z0-9_-]{1,58}", shown)


def test_an_answer_without_an_id_has_one() -> None:
    whole = write_answer(Answer("", "m", (Call("", "f", "{}"), Call("", "f", "{}")), "tools", Usage()), ask_of(), 0)
    assert whole["id"] == "resp_unknown"
    assert len({it["id"] for it in whole["output"]}) == len({it["call_id"] for it in whole["output"]}) == 2


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(string.ascii_lowercase, max_size=4)
    | st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "completed", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "content", "text", "refusal", "summary", "name", "arguments", "input", "call_id", "id", "status",
         "output", "usage", "input_tokens", "input_tokens_details", "incomplete_details", "reason", "error",
         "encrypted_content", "response", "item", "output_index", "delta", "part", "summary_index", "model"]),
        inner, max_size=6), max_leaves=20,
)  # fmt: skip
KINDS = [
    "created", "in_progress", "output_item.added", "output_item.done", "output_text.delta", "refusal.delta",
    "reasoning_summary_text.delta", "reasoning_text.delta", "reasoning_summary_part.added", "completed", "incomplete",
    "function_call_arguments.delta", "function_call_arguments.done", "custom_tool_call_input.done", "failed",
]  # fmt: skip
any_event = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    st.sampled_from([f"response.{kind}" for kind in KINDS] + ["error"]),
    st.dictionaries(
        st.sampled_from(["response", "item", "output_index", "delta", "arguments", "summary_index"]), anything
    ),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(any_event, max_size=6))
def test_any_stream_is_read_or_malformed(events: list[dict[str, Any]]) -> None:
    reader, neutral_events, writer = ResponsesReader(), ResponseEvents(), Items(ask_of(), 0)
    out = b""
    with contextlib.suppress(AttemptFailed):
        for event in events:
            reader.read(event)
            out += b"".join([writer.write(found) for found in neutral_events.read(event)])
    assert violation(read_events(out + writer.end())) is None


@settings(max_examples=400, deadline=None)
@given(anything)
def test_any_answer_is_read_or_malformed(payload: Any) -> None:
    from weir_router.dialects.openai_responses.whole import read_whole

    try:
        read_whole(payload)
        msgspec.json.encode(read_answer(payload))
    except AttemptFailed:
        pass
    except UnicodeEncodeError:
        assert "\\ud800" in json.dumps(payload)


# ---- callers of other formats ----

SEALED_STEPS = (
    Thought("first", Opaque("", "blob1")),
    Thought("", Opaque("", "blob2", redacted=True)),
    Thought("second", Opaque("", "blob3")),
    Text("Hello"),
    Call("c1", "f", "{}"),
)


def shown_to(format: Format, *, stream: bool, **body: Any) -> Any:
    """The answer of a Responses upstream with encrypted reasoning for a caller of another format."""
    answer = Answer("resp_1", "m", SEALED_STEPS, "tools", Usage())
    ask = Ask(format, "auto", stream, {"model": "auto", **body}, {}, Prompt(()))
    if not stream:
        upstream = write_answer(answer, ask_of(), CREATED, REALM)
        return translate.response(upstream, format, ask, upstream=Format.OPENAI_RESPONSES, realm=REALM)
    renderer = translate.stream(format, ask, upstream=Format.OPENAI_RESPONSES, realm=REALM)
    out = b""
    for payload in payloads(written(events_of(answer))):
        out += renderer.feed(Event(b"", None, b""), payload, Signal.NONE)
    return [event.data for event in read_events(out + renderer.end())]


def test_claude_code_gets_each_step_of_reasoning_with_its_state() -> None:
    plain = shown_to(Format.ANTHROPIC_MESSAGES, stream=False, thinking={"type": "adaptive"})
    mark = sealed(REALM, "")  # the upstream of this test is a router itself
    steps = [(block["type"], block.get("signature") or block.get("data")) for block in plain["content"][:3]]
    assert steps == [
        ("thinking", f"w1.{REALM}.{mark}blob1"),
        ("redacted_thinking", f"w1.{REALM}.{mark}blob2"),
        ("thinking", f"w1.{REALM}.{mark}blob3"),
    ]
    assert [block["type"] for block in plain["content"][3:]] == ["text", "tool_use"]
    events = shown_to(Format.ANTHROPIC_MESSAGES, stream=True, thinking={"type": "adaptive"})
    assembler = AnthropicAssembler()
    for event in events:
        assembler.feed(event)
    assert assembler.answer()["content"] == plain["content"]
    assert all(
        it["type"] in ("text", "tool_use") for it in shown_to(Format.ANTHROPIC_MESSAGES, stream=False)["content"]
    )


def test_a_caller_of_chat_completions_gets_it_in_reasoning_details() -> None:
    plain = shown_to(Format.OPENAI_CHAT, stream=False)["choices"][0]["message"]
    blobs = [it.get("signature") or it.get("data") for it in plain["reasoning_details"]]
    assert [blob[-5:] for blob in blobs] == ["blob1", "blob2", "blob3"]
    assert all(blob.startswith(f"w1.{REALM}.") for blob in blobs)
    chunks = shown_to(Format.OPENAI_CHAT, stream=True)
    found = [it for chunk in chunks if chunk != "[DONE]" for choice in chunk["choices"]
             for it in choice["delta"].get("reasoning_details", ())]  # fmt: skip
    assert found == plain["reasoning_details"]
