"""Whole answers and streams: the caller's SDK gets the same result from both."""

from __future__ import annotations

import msgspec
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion

from support import translate
from support.pairings import FORMATS
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Event, Signal
from weir_router.errors import AttemptFailed, FailureKind

CREATED = 1_700_000_000


def message(*content, stop="end_turn", usage=None, **more):
    """An Anthropic answer."""
    usage = {"input_tokens": 5, "output_tokens": 7, **(usage or {})}
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": list(content),
            "stop_reason": stop, "stop_sequence": None, "usage": usage, **more}  # fmt: skip


def events(answer):
    """The same answer as Anthropic streams it, in small pieces."""
    empty = {**answer, "content": [], "stop_reason": None, "usage": {**answer["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": empty}
    yield {"type": "ping"}
    for index, block in enumerate(answer["content"]):
        field, delta, part = {
            "text": ("text", "text_delta", "text"),
            "thinking": ("thinking", "thinking_delta", "thinking"),
            "tool_use": ("input", "input_json_delta", "partial_json"),
            "redacted_thinking": ("data", "", ""),
        }[block["type"]]
        whole = msgspec.json.encode(block[field]).decode() if field == "input" else block[field]
        blank = {"input": {}, "data": whole}.get(field, "")
        yield {"type": "content_block_start", "index": index, "content_block": {**block, field: blank}}
        # An empty input streams as one empty delta.
        pieces = [""] if whole == "{}" else [whole[at : at + 3] for at in range(0, len(whole), 3)] if delta else []
        for piece in pieces:
            yield {"type": "content_block_delta", "index": index, "delta": {"type": delta, part: piece}}
        yield {"type": "content_block_stop", "index": index}
    delta = {key: answer.get(key) for key in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": answer["usage"]["output_tokens"]}}
    yield {"type": "message_stop"}


def completion(finish="stop", usage=None, **message):
    """An OpenAI answer."""
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, **(usage or {})}
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": None, **message}}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [choice],
            "usage": usage}  # fmt: skip


def chunks(answer):
    """The same answer as OpenAI streams it, in small pieces, `[DONE]` last."""
    head = {"id": answer["id"], "object": "chat.completion.chunk", "created": 1, "model": answer["model"]}
    chunk = lambda delta, finish=None: {
        **head,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        "usage": None,
    }
    whole = answer["choices"][0]["message"]
    yield chunk({"role": "assistant", "content": ""})
    for field in ("reasoning_content", "content", "refusal"):
        for at in range(0, len(whole.get(field) or ""), 3):
            yield chunk({field: whole[field][at : at + 3]})
    for index, call in enumerate(whole.get("tool_calls") or ()):
        arguments = call["function"]["arguments"]
        yield chunk({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]})
        for at in range(0, len(arguments), 3):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + 3]}}]})
    yield chunk({}, answer["choices"][0]["finish_reason"])
    yield {**head, "choices": [], "usage": answer["usage"]}
    yield None


TEXT = {"type": "text", "text": "Hello, wörld 👋"}
THOUGHT = {"type": "thinking", "thinking": "Let me think", "signature": "sig"}
USES = [
    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"at": "Zürich", "days": 3}},
    {"type": "tool_use", "id": "t2", "name": "now", "input": {}},
]
EXPLAINED = {"type": "refusal", "category": "bio", "explanation": "Not that."}
CACHE = {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "service_tier": "priority"}
MESSAGES = {
    "text": message(TEXT),
    "blocks of text": message(TEXT, TEXT),
    "thinking": message(THOUGHT, {"type": "redacted_thinking", "data": "x"}, TEXT),
    "tools": message(TEXT, *USES, stop="tool_use"),
    "tools only": message(*USES, stop="tool_use"),
    "nothing": message(stop="max_tokens"),
    "refusal": message(TEXT, stop="refusal", stop_details=EXPLAINED),
    "usage": message(TEXT, usage={**CACHE, "output_tokens_details": {"thinking_tokens": 3}}),
}
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"at": "Zürich", "days": 3}'}},
    {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
]
DETAILS = {
    "prompt_tokens": 125,
    "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
COMPLETIONS = {
    "text": completion(content="Hello, wörld 👋"),
    "reasoning": completion(content="Hello", reasoning_content="Let me think"),
    "tools": completion("tool_calls", content="Looking", tool_calls=CALLS),
    "tools only": completion("tool_calls", tool_calls=CALLS),
    "tools that stop": completion("stop", tool_calls=CALLS),
    "nothing": completion("length"),
    "refusal": completion(refusal="I cannot."),
    "filtered": completion("content_filter", content="Some"),
    "usage": completion(content="Hello", usage=DETAILS),
}


def unset(value):
    """The value without nulls and empty texts, and with decoded arguments: neither SDK shows a difference in use."""
    if isinstance(value, dict):
        read = {key: msgspec.json.decode(item) if key == "arguments" else unset(item) for key, item in value.items()}
        return {key: item for key, item in read.items() if item is not None and item != ""}
    return [unset(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_becomes_a_completion_of_the_openai_sdk(openai_ask, name):
    out = translate.response(MESSAGES[name], Format.OPENAI_CHAT, openai_ask(), created=CREATED)
    read = ChatCompletion.model_validate(out, strict=True)
    assert (read.id, read.model, read.created) == ("msg_1", "claude", CREATED)
    assert read.usage.total_tokens == read.usage.prompt_tokens + read.usage.completion_tokens


@pytest.mark.parametrize("name", MESSAGES)
def test_the_openai_sdk_reads_a_translated_stream_as_the_whole_answer(openai_ask, kit, name):
    whole = translate.response(MESSAGES[name], Format.OPENAI_CHAT, openai_ask(), created=CREATED)
    read = kit.read_by_openai(kit.rendered(openai_ask(), events(MESSAGES[name])))
    for call in read["choices"][0]["message"].get("tool_calls") or ():
        call["function"].pop("parsed_arguments", None)
        call.pop("index", None)
    assert unset(read) == unset(whole)


@pytest.mark.parametrize("name", COMPLETIONS)
def test_a_completion_becomes_a_message_of_the_anthropic_sdk(anthropic_ask, name):
    out = translate.response(COMPLETIONS[name], Format.ANTHROPIC_MESSAGES, anthropic_ask(thinking={"type": "adaptive"}))
    read = Message.model_validate(out, strict=True)
    assert (read.id, read.model) == ("chatcmpl-1", "gpt")


@pytest.mark.parametrize("name", COMPLETIONS)
def test_the_anthropic_sdk_reads_a_translated_stream_as_the_whole_answer(anthropic_ask, kit, name):
    ask = anthropic_ask(thinking={"type": "enabled", "budget_tokens": 1024})
    whole = translate.response(COMPLETIONS[name], Format.ANTHROPIC_MESSAGES, ask)
    assert unset(kit.read_by_anthropic(kit.rendered(ask, chunks(COMPLETIONS[name])))) == unset(whole)


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls"),
        ("refusal", "content_filter"), ("pause_turn", "stop"), ("model_context_window_exceeded", "length"),
        ("something_new", "stop"),
    ],
)  # fmt: skip
def test_stop_reasons_become_finish_reasons(openai_ask, stop, finish):
    out = translate.response(message(TEXT, stop=stop), Format.OPENAI_CHAT, openai_ask())
    assert out["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize(
    ("finish", "calls", "stop"),
    [
        ("stop", [], "end_turn"), ("length", [], "max_tokens"), ("content_filter", [], "refusal"),
        ("tool_calls", CALLS, "tool_use"), ("stop", CALLS, "tool_use"), ("tool_calls", [], "end_turn"),
        ("length", CALLS, "max_tokens"), ("something_new", [], "end_turn"),
    ],
)  # fmt: skip
def test_finish_reasons_become_stop_reasons_that_agree_with_the_content(anthropic_ask, finish, calls, stop):
    out = translate.response(completion(finish, tool_calls=calls), Format.ANTHROPIC_MESSAGES, anthropic_ask())
    assert out["stop_reason"] == stop


def test_content_of_every_kind_arrives_at_the_openai_caller(openai_ask):
    out = translate.response(message(THOUGHT, TEXT, *USES, stop="tool_use"), Format.OPENAI_CHAT, openai_ask())
    got = out["choices"][0]["message"]
    assert (got["content"], got["reasoning_content"]) == (TEXT["text"], THOUGHT["thinking"])
    assert [call["function"]["arguments"] for call in got["tool_calls"]] == ['{"at":"Zürich","days":3}', "{}"]
    assert [call["id"] for call in got["tool_calls"]] == ["t1", "t2"]


def test_content_of_every_kind_arrives_at_the_anthropic_caller(anthropic_ask):
    answer = completion("tool_calls", content="Look", reasoning="Hm", tool_calls=CALLS)
    out = translate.response(answer, Format.ANTHROPIC_MESSAGES, anthropic_ask(thinking={"type": "adaptive"}))
    assert [block["type"] for block in out["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert out["content"][2]["input"] == {"at": "Zürich", "days": 3}
    assert out["content"][0] == {"type": "thinking", "thinking": "Hm", "signature": ""}


@pytest.mark.parametrize("body", [{}, {"thinking": {"type": "disabled"}}])
def test_thought_is_not_shown_to_who_did_not_ask_for_it(anthropic_ask, kit, body):
    ask = anthropic_ask(**body)
    answer = COMPLETIONS["reasoning"]
    assert [block["type"] for block in translate.response(answer, Format.ANTHROPIC_MESSAGES, ask)["content"]] == [
        "text"
    ]
    assert b"thinking_delta" not in kit.rendered(ask, chunks(answer))


def test_the_explanation_of_a_refusal_becomes_the_refusal(openai_ask):
    got = translate.response(MESSAGES["refusal"], Format.OPENAI_CHAT, openai_ask())["choices"][0]
    assert (got["message"]["refusal"], got["finish_reason"]) == ("Not that.", "content_filter")


def test_a_refusal_becomes_text_and_the_stop_reason_says_so(anthropic_ask):
    got = translate.response(COMPLETIONS["refusal"], Format.ANTHROPIC_MESSAGES, anthropic_ask())
    assert (got["content"], got["stop_reason"]) == ([{"type": "text", "text": "I cannot."}], "refusal")


def test_openais_prompt_tokens_include_what_the_cache_served_and_took(openai_ask):
    usage = translate.response(MESSAGES["usage"], Format.OPENAI_CHAT, openai_ask())["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (125, 7, 132)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 100, "cache_write_tokens": 20}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 3}


def test_anthropics_input_tokens_exclude_what_the_cache_served_and_took(anthropic_ask):
    assert translate.response(COMPLETIONS["usage"], Format.ANTHROPIC_MESSAGES, anthropic_ask())["usage"] == {
        "input_tokens": 5,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 100,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    }


def test_usage_survives_the_way_there_and_back(openai_ask, anthropic_ask):
    there = translate.response(COMPLETIONS["usage"], Format.ANTHROPIC_MESSAGES, anthropic_ask())
    back = translate.response(there, Format.OPENAI_CHAT, openai_ask())
    assert back["usage"] == {**DETAILS, "completion_tokens": 7, "total_tokens": 132}


@pytest.mark.parametrize(("used", "shown"), [("standard", "default"), ("priority", "priority"), ("batch", None)])
def test_the_service_tier_that_was_used_is_shown(openai_ask, used, shown):
    answer = message(TEXT, usage={"service_tier": used})
    assert translate.response(answer, Format.OPENAI_CHAT, openai_ask()).get("service_tier") == shown


def test_a_tool_call_cut_by_the_token_limit_has_no_input(anthropic_ask):
    call = {"id": "c1", "function": {"name": "f", "arguments": '{"a": '}}
    out = translate.response(completion("length", tool_calls=[call]), Format.ANTHROPIC_MESSAGES, anthropic_ask())
    assert out["content"][0]["input"] == {}


def test_calls_without_an_id_get_one_made_of_the_answers(anthropic_ask):
    call = {"function": {"name": "f", "arguments": "null"}}
    out = translate.response(
        completion("tool_calls", tool_calls=[call, call]), Format.ANTHROPIC_MESSAGES, anthropic_ask()
    )
    assert [block["id"] for block in out["content"]] == ["chatcmpl-1_0", "chatcmpl-1_1"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": [{}]},
        completion(None),
        completion("tool_calls", tool_calls=[{"id": "c"}]),
        completion("tool_calls", tool_calls=[{"function": {"name": "f", "arguments": "{"}}]),
        completion("tool_calls", tool_calls=[{"function": {"name": "f", "arguments": "[]"}}]),
    ],
)
def test_a_completion_without_what_makes_it_one_is_malformed(anthropic_ask, answer):
    with pytest.raises(AttemptFailed) as raised:
        translate.response(answer, Format.ANTHROPIC_MESSAGES, anthropic_ask())
    assert raised.value.kind is FailureKind.MALFORMED


@pytest.mark.parametrize("answer", [{}, message(TEXT, stop=None), message({"type": "tool_use"}, stop="tool_use")])
def test_a_message_without_what_makes_it_one_is_malformed(openai_ask, answer):
    with pytest.raises(AttemptFailed) as raised:
        translate.response(answer, Format.OPENAI_CHAT, openai_ask())
    assert raised.value.kind is FailureKind.MALFORMED


def test_input_that_stood_in_the_start_of_a_block_is_not_lost(openai_ask, kit):
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    payloads = [
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ]
    call = kit.read_by_openai(kit.rendered(openai_ask(), payloads))["choices"][0]["message"]["tool_calls"][0]
    assert call["function"]["arguments"] == '{"a":1}'


def test_the_usage_chunk_comes_only_to_who_asked_for_it(openai_ask, kit):
    shown = kit.sent(kit.rendered(openai_ask(include_usage=True), events(message(TEXT))))
    hidden = kit.sent(kit.rendered(openai_ask(include_usage=False), events(message(TEXT))))
    assert shown[-2]["usage"]["total_tokens"] == 12
    assert shown[-1] is hidden[-1] is None
    assert not any(chunk.get("usage") for chunk in hidden[:-1])
    assert len(hidden) == len(shown) - 1


def test_the_first_chunk_says_the_role_and_only_that_one(openai_ask, kit):
    deltas = [
        chunk["choices"][0]["delta"] for chunk in kit.sent(kit.rendered(openai_ask(), events(message(TEXT))))[:-2]
    ]
    assert [("role" in delta) for delta in deltas] == [True, *[False] * (len(deltas) - 1)]


def test_blocks_follow_one_another_with_rising_indices(anthropic_ask, kit):
    answer = completion("tool_calls", content="Look", tool_calls=CALLS)
    shown = [event for event in kit.sent(kit.rendered(anthropic_ask(), chunks(answer))) if "index" in event]
    edges = [(event["type"][14:], event["index"]) for event in shown if event["type"] != "content_block_delta"]
    assert edges == [("start", 0), ("stop", 0), ("start", 1), ("stop", 1), ("start", 2), ("stop", 2)]


def test_usage_that_follows_the_finish_is_waited_for(anthropic_ask, kit):
    payloads = list(chunks(completion(content="Hi")))
    early = kit.sent(kit.rendered(anthropic_ask(), payloads[:1]))
    whole = kit.sent(kit.rendered(anthropic_ask(), payloads))
    assert [event["type"] for event in early] == ["message_start"], "no stop reason: left open"
    assert [event["type"] for event in whole[-2:]] == ["message_delta", "message_stop"]
    assert (whole[-2]["usage"]["input_tokens"], whole[-2]["usage"]["output_tokens"]) == (5, 7)


@pytest.mark.parametrize("keep", [slice(0, -1), slice(0, -2)], ids=["without [DONE]", "without usage"])
def test_a_stream_with_a_finish_is_completed_whatever_else_is_missing(anthropic_ask, kit, keep):
    shown = kit.sent(kit.rendered(anthropic_ask(), list(chunks(completion(content="Hi")))[keep]))
    assert [event["type"] for event in shown].count("message_stop") == 1


def test_usage_in_the_last_chunk_of_content_counts(anthropic_ask, kit):
    payloads = list(chunks(completion(content="Hi")))[:-2]
    payloads[-1]["usage"] = {"prompt_tokens": 3, "completion_tokens": 4}
    assert kit.sent(kit.rendered(anthropic_ask(), payloads))[-2]["usage"]["output_tokens"] == 4


def test_a_stream_without_a_stop_reason_is_left_open(openai_ask, kit):
    cut = [payload for payload in events(message(TEXT)) if payload["type"] not in ("message_delta", "message_stop")]
    assert None not in kit.sent(kit.rendered(openai_ask(), cut))


def test_a_new_id_is_a_new_call_even_under_an_old_index(anthropic_ask, kit):
    parts = [{"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}} for name in ("a", "b")]
    finish = {"choices": [{"delta": {"tool_calls": parts}, "finish_reason": "tool_calls"}]}
    read = kit.read_by_anthropic(kit.rendered(anthropic_ask(), [{"id": "x", "model": "gpt", **finish}]))
    assert [(block["id"], block["input"]) for block in read["content"]] == [("a", {}), ("b", {})]


def test_arguments_may_come_before_the_name(anthropic_ask, kit):
    parts = [{"index": 0, "id": "a", "function": {"arguments": '{"x":'}}, {"index": 0, "function": {"name": "f"}},
             {"function": {"arguments": "1}"}}]  # fmt: skip
    payloads = [{"id": "x", "model": "gpt", "choices": [{"delta": {"tool_calls": [part]}}]} for part in parts]
    payloads.append({"choices": [{"finish_reason": "tool_calls"}]})
    assert kit.read_by_anthropic(kit.rendered(anthropic_ask(), payloads))["content"][0]["input"] == {"x": 1}


def finished(*parts):
    return [{"choices": [{"delta": {"tool_calls": list(parts)}, "finish_reason": "tool_calls"}]}]


def test_a_call_without_a_name_makes_no_block(anthropic_ask, kit):
    with pytest.raises(AttemptFailed) as raised:
        kit.rendered(anthropic_ask(), finished({"index": 0, "id": "a", "function": {"arguments": "{}"}}))
    assert raised.value.kind is FailureKind.MALFORMED


def test_what_comes_amid_a_call_waits_for_its_end(anthropic_ask, kit):
    parts = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}},
             {"index": 1, "id": "b", "function": {"name": "g", "arguments": '{"y":'}},
             {"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "function": {"arguments": "2}"}}]  # fmt: skip
    read = kit.read_by_anthropic(kit.rendered(anthropic_ask(), finished(*parts)))
    assert [(block["name"], block["input"]) for block in read["content"]] == [("f", {"x": 1}), ("g", {"y": 2})]


def test_no_more_than_a_mebibyte_waits_for_a_call(anthropic_ask, kit):
    parts = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
             {"index": 1, "id": "b", "function": {"name": "g", "arguments": "x" * 1024 * 1024}}]  # fmt: skip
    with pytest.raises(AttemptFailed) as raised:
        kit.rendered(anthropic_ask(), finished(*parts))
    assert raised.value.kind is FailureKind.MALFORMED


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "content_block_start", "content_block": {"type": "tool_use"}},
        {"type": "content_block_start", "index": "x", "content_block": {"type": "tool_use", "name": "f"}},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "input_json_delta", "partial_json": "{"}},
    ],
)
def test_tool_blocks_that_make_no_calls_are_malformed(openai_ask, kit, payload):
    with pytest.raises(AttemptFailed) as raised:
        kit.rendered(openai_ask(), [payload])
    assert raised.value.kind is FailureKind.MALFORMED


@pytest.mark.parametrize("signal", [Signal.NONE, Signal.DONE])
def test_a_comment_is_no_end_but_a_signalled_end_is(anthropic_ask, signal):
    renderer = translate.stream(Format.ANTHROPIC_MESSAGES, anthropic_ask())
    renderer.feed(Event(b"", None, b""), {"choices": [{"finish_reason": "stop"}]}, Signal.STOP)
    ended = renderer.feed(Event(b": hi\n\n", None, b""), None, signal)
    assert (b"message_stop" in ended) is (signal is Signal.DONE)


def test_content_that_a_server_sends_as_parts_is_read(anthropic_ask):
    answer = completion(content=[{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}])
    out = translate.response(answer, Format.ANTHROPIC_MESSAGES, anthropic_ask())
    assert out["content"] == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize("dialect", FORMATS)
def test_nothing_follows_the_end_of_a_stream(openai_ask, anthropic_ask, kit, dialect):
    ask, payloads = (
        (openai_ask(), list(events(message(TEXT))))
        if dialect is Format.OPENAI_CHAT
        else (anthropic_ask(), list(chunks(completion(content="Hi"))))
    )
    assert kit.rendered(ask, [*payloads, *payloads]) == kit.rendered(ask, payloads)


def test_the_service_tier_of_a_stream_is_shown(openai_ask, anthropic_ask, kit):
    first = {**next(chunks(completion())), "service_tier": "fast"}
    assert kit.sent(kit.rendered(anthropic_ask(), [first]))[0]["message"]["usage"]["service_tier"] == "priority"
    shown = kit.sent(kit.rendered(openai_ask(), events(message(TEXT, usage={"service_tier": "priority"}))))
    assert {chunk["service_tier"] for chunk in shown[:-1]} == {"priority"}


def test_deltas_of_other_kinds_are_left_out(openai_ask, kit):
    citation = {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {}}}
    server = {"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use"}}
    assert kit.rendered(openai_ask(), [server, citation, {"type": "something_new"}]) == b""


def test_half_a_surrogate_pair_breaks_neither_answer_nor_stream(openai_ask, kit):
    half = message({"type": "tool_use", "id": "t", "name": "f", "input": {"a": "x\ud83d"}}, stop="tool_use")
    out = translate.response(half, Format.OPENAI_CHAT, openai_ask())
    assert out["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":"x�"}'
    renderer = translate.stream(Format.OPENAI_CHAT, openai_ask())
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x\ud83d"}}
    assert "x�".encode() in renderer.feed(Event(b"", None, b""), delta, Signal.CONTENT)


def endless() -> dict[str, object]:
    """A value nested too deeply to be written as JSON."""
    value: dict[str, object] = {}
    for _ in range(5000):
        value = {"a": value}
    return value


def test_an_answer_nested_without_end_is_malformed(openai_ask):
    use = {"type": "tool_use", "id": "t", "name": "f", "input": endless()}
    with pytest.raises(AttemptFailed, match="nested"):
        translate.response(message(use, stop="tool_use"), Format.OPENAI_CHAT, openai_ask())


def test_an_event_nested_without_end_is_malformed(openai_ask):
    renderer = translate.stream(Format.OPENAI_CHAT, openai_ask())
    use = {"type": "tool_use", "id": "t", "name": "f", "input": endless()}
    feed = lambda payload: renderer.feed(Event(b"", None, b""), payload, Signal.CONTENT)
    feed({"type": "content_block_start", "index": 0, "content_block": use})
    with pytest.raises(AttemptFailed, match="nested"):
        feed({"type": "content_block_stop", "index": 0})


def test_usage_that_anthropic_sends_between_counts_without_ending_the_stream(openai_ask, kit):
    between = {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 50}}
    payloads = list(events(message(TEXT)))
    shown = kit.sent(kit.rendered(openai_ask(), [*payloads[:-2], between, *payloads[-2:]]))
    assert shown[-2]["usage"]["prompt_tokens"] == 50
    assert [chunk["choices"][0]["finish_reason"] for chunk in shown[:-2]].count("stop") == 1
