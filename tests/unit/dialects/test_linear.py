"""Twice the input costs at most 2.5 times the calls: nothing is quadratic in what an upstream sends.

Calls of Python and of C functions are counted, which is exact and does not depend on the machine. The bytes for the
caller are counted, too: a long id that is repeated in each chunk would be quadratic in those.
"""

import sys

import msgspec
import pytest

from support.pairings import FORMATS
from weir_router.contract import Backend, Dialect
from weir_router.dialects.axes import Format
from weir_router.dialects.registry import pairings_of, record_of
from weir_router.dialects.wire import positions, sse
from weir_router.errors import AttemptFailed, FailureKind

FEW = 250
"""Events of the shorter stream. Twice as many are still below the bound of choices, calls and blocks."""

OPENAI_END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def openai(delta, index=0, **more):
    return {"id": "x", "model": "m", "choices": [{"index": index, "delta": delta, **more}]}


def call(index, **function):
    return {"tool_calls": [{"index": index, "function": function}]}


def named(number):
    return {"tool_calls": [{"index": number, "id": f"c{number}", "function": {"name": "f", "arguments": "{}"}}]}


OPENAI = {
    "texts": lambda n: [openai({"content": f"word {i}"}) for i in range(n)],
    "texts of other frames": lambda n: [openai({"content": "word", "x" * (i % 7): 1}) for i in range(n)],
    "reasoning": lambda n: [openai({"reasoning_content": f"so {i}"}) for i in range(n)],
    "refusals": lambda n: [openai({"refusal": "no "}) for i in range(n)],
    "choices": lambda n: [openai({"content": "a"}, i, finish_reason="stop") for i in range(n)],
    "choices in one event": lambda n: [{"choices": [openai({"content": "a"}, i)["choices"][0] for i in range(n)]}],
    "calls": lambda n: [openai(named(i)) for i in range(n)],
    "calls in one event": lambda n: [openai({"tool_calls": [named(i)["tool_calls"][0] for i in range(n)]})],
    "calls, then arguments backwards": lambda n: [
        *[openai(named(i)) for i in range(n // 2)],
        *[openai(call(i, arguments=" ")) for i in reversed(range(n // 2))],
    ],
    "arguments": lambda n: [openai(named(0)), *[openai(call(0, arguments='{"a":1}')) for _ in range(n)]],
    "arguments before the name": lambda n: [
        *[openai(call(0, arguments=" " * 50)) for _ in range(n)],
        openai(call(0, name="f")),
    ],
    "names": lambda n: [openai(call(0, name=f"part {i}")) for i in range(n)],
    "calls without an index": lambda n: [
        openai({"tool_calls": [{"id": f"c{i}", "function": {"name": "f", "arguments": "{}"}}]}) for i in range(n)
    ],
    "calls of one index": lambda n: [
        openai({"tool_calls": [{**named(i)["tool_calls"][0], "index": 0}]}) for i in range(n)
    ],
    "an id for each part": lambda n: [
        openai(named(0)),
        *[openai({"tool_calls": [{"index": 0, "id": f"x{i}", "function": {"arguments": " "}}]}) for i in range(n)],
    ],
    "calls in turns": lambda n: [
        openai(
            {"tool_calls": [{"index": i, "id": f"c{i}", "function": {"name": "f", "arguments": "{"}} for i in (0, 1)]}
        ),
        *[openai(call(i % 2, arguments='"a":1,')) for i in range(n)],
        *[openai(call(i, arguments='"b":1}')) for i in (0, 1)],
    ],
    "thinking among texts": lambda n: [
        openai({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}] if i % 9 else "so"})
        for i in range(n)
    ],
    "unknown items": lambda n: [openai({"content": "a", "x": [{"index": i, "y": [i]}]}) for i in range(n)],
    "unknown names": lambda n: [openai({"content": "a", f"x{i}": "b"}) for i in range(n)],
    "content parts": lambda n: [openai({"content": [{"type": "text", "text": "a"}]}) for _ in range(n)],
    "logprobs": lambda n: [openai({"content": "a"}, logprobs={"content": [{"token": "a"}]}) for _ in range(n)],
    "usage": lambda n: [{**openai({"content": "a"}), "usage": {"prompt_tokens": 1}} for _ in range(n)],
    "a long id": lambda n: [
        {**openai({"content": "a"}), "id": "x" * 20 * n, "model": "m" * 20 * n},
        *[openai({"content": "a"}) for _ in range(n)],
    ],
}


def block(index, **start):
    return {"type": "content_block_start", "index": index, "content_block": start}


def delta(index, **delta):
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stopped(index):
    return {"type": "content_block_stop", "index": index}


def tool(index):
    return block(index, type="tool_use", id=f"c{index}", name="f", input={})


def text(index):
    return block(index, type="text", text="")


ANTHROPIC = {
    "texts": lambda n: [text(0), *[delta(0, type="text_delta", text=f"word {i}") for i in range(n)]],
    "thinking": lambda n: [
        block(0, type="thinking", thinking=""),
        *[delta(0, type="thinking_delta", thinking="so") for _ in range(n)],
    ],
    "blocks": lambda n: [it for i in range(n) for it in (text(i), delta(i, type="text_delta", text="a"), stopped(i))],
    "blocks of one index": lambda n: [text(0) for _ in range(n)],
    "calls of one index": lambda n: [
        it for _ in range(n) for it in (tool(0), delta(0, type="input_json_delta", partial_json="{}"), stopped(0))
    ],
    "calls": lambda n: [
        it for i in range(n) for it in (tool(i), delta(i, type="input_json_delta", partial_json="{}"), stopped(i))
    ],
    "arguments": lambda n: [
        tool(0),
        delta(0, type="input_json_delta", partial_json='{"a":"'),
        *[delta(0, type="input_json_delta", partial_json="word") for _ in range(n)],
        delta(0, type="input_json_delta", partial_json='"}'),
    ],
    "citations": lambda n: [
        text(0),
        *[delta(0, type="citations_delta", citation={"cited_text": "a"}) for _ in range(n)],
    ],
    "unknown deltas": lambda n: [text(0), *[delta(0, type="x", **{f"x{i}": "a"}) for i in range(n)]],
    "usage": lambda n: [
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": i, f"x{i}": i}} for i in range(n)
    ],
    "pings": lambda n: [{"type": "ping"} for _ in range(n)],
    "a long id": lambda n: [
        {"type": "message_start", "message": {"id": "x" * 20 * n, "model": "m" * 20 * n, "content": []}},
        text(0),
        *[delta(0, type="text_delta", text="a") for _ in range(n)],
    ],
}
ANTHROPIC_START = {"type": "message_start", "message": {"id": "x", "model": "m", "content": [], "usage": {}}}
ANTHROPIC_END = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]


def openai_stream(kind, n):
    return b"".join(b"data: %b\n\n" % msgspec.json.encode(it) for it in [*OPENAI[kind](n), OPENAI_END])


def anthropic_stream(kind, n):
    events = [ANTHROPIC_START, *ANTHROPIC[kind](n), *ANTHROPIC_END]
    return b"".join(b"event: %b\ndata: %b\n\n" % (it["type"].encode(), msgspec.json.encode(it)) for it in events)


def item_added(index, **item):
    return {"type": "response.output_item.added", "output_index": index, "item": {"id": f"i{index}", **item}}


def item_done(index, **item):
    return {"type": "response.output_item.done", "output_index": index, "item": {"id": f"i{index}", **item}}


def said(index, kind="output_text", delta="word"):
    return {"type": f"response.{kind}.delta", "item_id": f"i{index}", "output_index": index, "delta": delta}


def function(index, arguments=""):
    return {"type": "function_call", "call_id": f"c{index}", "name": "f", "arguments": arguments}


RESPONSES = {
    "texts": lambda n: [item_added(0, type="message", content=[]), *[said(0) for _ in range(n)]],
    "refusals": lambda n: [item_added(0, type="message", content=[]), *[said(0, "refusal") for _ in range(n)]],
    "reasoning": lambda n: [
        item_added(0, type="reasoning", summary=[]),
        *[said(0, "reasoning_summary_text") for _ in range(n)],
    ],
    "messages": lambda n: [
        it
        for i in range(n)
        for it in (item_added(i, type="message", content=[]), said(i), item_done(i, type="message"))
    ],
    "encrypted reasoning": lambda n: [
        item_done(i, type="reasoning", summary=[], encrypted_content="x" * 50) for i in range(n)
    ],
    "calls": lambda n: [
        it for i in range(n) for it in (item_added(i, **function(i)), item_done(i, **function(i, "{}")))
    ],
    "calls, then arguments backwards": lambda n: [
        *[item_added(i, **function(i)) for i in range(n // 2)],
        *[said(i, "function_call_arguments", "{}") for i in reversed(range(n // 2))],
    ],
    "calls of one index": lambda n: [item_done(0, **function(i, "{}")) for i in range(n)],
    "arguments": lambda n: [item_added(0, **function(0)), *[said(0, "function_call_arguments", " ") for _ in range(n)]],
    "items at the end": lambda n: [RESPONSES_END | {"response": {"output": [function(i, "{}") for i in range(n)]}}],
    "events of other kinds": lambda n: [{"type": "response.web_search_call.searching"} for _ in range(n)],
    "a long id": lambda n: [
        {"type": "response.created", "response": {"id": "x" * 20 * n, "model": "m" * 20 * n, "output": []}},
        item_added(0, type="message", content=[]),
        *[said(0, delta="a") for _ in range(n)],
    ],
}
RESPONSES_END = {
    "type": "response.completed",
    "response": {"id": "x", "status": "completed", "output": [], "usage": {}},
}


def ended(usage):
    return {**RESPONSES_END, "response": {**RESPONSES_END["response"], "usage": usage}}


def responses_stream(kind, n):
    events = [*RESPONSES[kind](n), RESPONSES_END]
    return b"".join(b"event: %b\ndata: %b\n\n" % (it["type"].encode(), msgspec.json.encode(it)) for it in events)


STREAMS = {
    **{("Responses", kind): responses_stream for kind in RESPONSES},
    **{(Dialect.OPENAI, kind): openai_stream for kind in OPENAI},
    **{(Dialect.ANTHROPIC, kind): anthropic_stream for kind in ANTHROPIC},
}

IDLE = {
    "comments": b": ping\n\n",
    "blank lines": b"\n",
    "blank lines of another kind": b"\r\n",
    "comments of another kind": b": ping\r\n\r\n",
    "mixed": b": a\n: b\r\r\n\n",
    "events without data": b"event: ping\n\n",
}


def asked(format, *, stream):
    body = {
        "model": "auto",
        "max_tokens": 9,
        "stream": stream,
        "messages": [{"role": "user", "content": "hi"}],
        "input": "hi",
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    return record_of(format).read(msgspec.json.encode(body), {})


def counted(work):
    """The result of `work`, and the number of calls that it made."""
    calls = 0

    def profile(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        result = work()
    finally:
        sys.setprofile(None)
    return result, calls


def backend_of(provider):
    """A backend of a provider, or (for the name of a format) of the first provider with that format alone."""
    plain = isinstance(provider, Dialect)
    at, formats = (provider, ()) if plain else (Dialect.OPENAI, (provider,))
    return Backend(name="b", provider=at, base_url="http://127.0.0.1", model="m", formats=formats)


def relayed(format, provider, stream, raw):
    """The caller's bytes for the upstream's, read event by event as `call.attempt` does."""
    backend = backend_of(provider)
    pairing = pairings_of(format, backend)[0]
    reader = pairing.format.reader()
    renderer = pairing.format.renderer(asked(format, stream=stream), pairing, backend)
    out = []
    for event in sse.Splitter().feed(raw):
        payload = sse.decode(event)
        signal = reader.read(payload) if payload is not None else None
        out.append(renderer.feed(event, payload, signal) if signal is not None else event.raw)
    out.append(renderer.end())
    return b"".join(out)


def outcome(work):
    try:
        return len(work())
    except AttemptFailed as failure:
        return failure.message if failure.kind is FailureKind.MALFORMED else failure


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("provider", "kind"), STREAMS)
def test_twice_the_stream_costs_twice_the_calls(provider, kind, format, stream):
    once, twice = (STREAMS[provider, kind](kind, size) for size in (FEW, 2 * FEW))
    assert len(twice) < 2.5 * len(once)
    outcome(lambda: relayed(format, provider, stream, once))  # what is made once is made now
    size, calls = counted(lambda: outcome(lambda: relayed(format, provider, stream, once)))
    size_of_twice, calls_of_twice = counted(lambda: outcome(lambda: relayed(format, provider, stream, twice)))
    assert calls_of_twice <= 2.5 * calls
    if isinstance(size, int) and isinstance(size_of_twice, int):
        assert size_of_twice <= 2.5 * max(size, len(once))
    else:
        assert type(size) is type(size_of_twice)


@pytest.mark.parametrize("kind", IDLE)
def test_twice_the_comments_cost_at_most_twice_the_calls(kind):
    def cut(raw):
        return b"".join(event.raw for event in sse.Splitter().feed(raw))

    once, twice = IDLE[kind] * FEW, IDLE[kind] * 2 * FEW
    (left, calls), (left_of_twice, calls_of_twice) = counted(lambda: cut(once)), counted(lambda: cut(twice))
    assert calls_of_twice <= 2.5 * calls
    assert (left, left_of_twice) == (once, twice)


@pytest.mark.parametrize("kind", ["comments", "blank lines", "blank lines of another kind", "comments of another kind"])
def test_a_run_of_comments_is_one_event(kind):
    run = IDLE[kind] * 1000
    events = sse.Splitter().feed(run + b"data: 1\n\n")
    assert [event.data for event in events] == [b"", b"1"]
    assert events[0].raw == run


@pytest.mark.parametrize("index", [positions.MOST, -1, 2**70, 1.5, "0", [0], True])
def test_an_index_that_is_no_small_number_is_malformed(index):
    """Choices, tool calls and blocks have one, in streams that are translated or put together."""
    calls = openai({"tool_calls": [{"index": index, "id": "c", "function": {"name": "f", "arguments": "{}"}}]})
    for provider, event, formats in (
        (Dialect.OPENAI, openai({"content": "a"}, index), FORMATS),
        (Dialect.OPENAI, calls, FORMATS),
        (Dialect.ANTHROPIC, tool(index), FORMATS),
        ("Responses", item_added(index, **function(0)), FORMATS),
    ):
        for format in formats:
            raw = b"data: %b\n\n" % msgspec.json.encode(event)
            if format is Format.OPENAI_CHAT and event is calls:
                found = outcome(lambda raw=raw: relayed(Format.OPENAI_CHAT, Dialect.OPENAI, False, raw))
            else:
                found = outcome(lambda raw=raw, it=provider, to=format: relayed(to, it, True, raw))
            assert "index" in str(found) or "dialect" in str(found)


@pytest.mark.parametrize(
    ("provider", "kind", "format", "stream"),
    [
        (Dialect.OPENAI, "calls without an index", Format.OPENAI_CHAT, False),
        (Dialect.OPENAI, "calls without an index", Format.ANTHROPIC_MESSAGES, True),
        (Dialect.ANTHROPIC, "blocks of one index", Format.ANTHROPIC_MESSAGES, True),
        (Dialect.ANTHROPIC, "blocks of one index", Format.OPENAI_CHAT, True),
        (Dialect.OPENAI, "calls without an index", Format.OPENAI_RESPONSES, True),
    ],
)
def test_more_than_a_thousand_calls_or_blocks_are_malformed(provider, kind, format, stream):
    raw = STREAMS[provider, kind](kind, positions.MOST + 1)
    assert "more than 1024" in str(outcome(lambda: relayed(format, provider, stream, raw)))


def test_arguments_without_a_name_are_not_kept_without_bound():
    raw = b"data: %b\n\n" % msgspec.json.encode(openai(call(0, arguments=" " * 100_000)))
    assert "before its name" in str(outcome(lambda: relayed(Format.ANTHROPIC_MESSAGES, Dialect.OPENAI, True, raw * 11)))


@pytest.mark.parametrize("value", [-5, 1e300, 10**18, "7", None, True, 2**80])
def test_counts_that_no_answer_has_are_not_believed(value):
    for provider, payload in (
        (Dialect.OPENAI, {"choices": [], "usage": {"prompt_tokens": value, "completion_tokens": 3}}),
        (Dialect.ANTHROPIC, {"type": "message_delta", "usage": {"input_tokens": value, "output_tokens": 3}}),
        ("Responses", ended({"input_tokens": value, "output_tokens": 3})),
    ):
        reader = pairings_of(Format.ANTHROPIC_MESSAGES, backend_of(provider))[0].format.reader()
        reader.read(payload)
        assert (reader.usage.input, reader.usage.output) == (0, 3)


@pytest.mark.parametrize("data", [b'{"x":[' + b"{}," * sse.MAX_ITEMS + b"1]}", b"[" * 9 + b"," * sse.MAX_ITEMS])
def test_an_event_of_too_many_items_is_not_decoded(data):
    (event,) = sse.Splitter().feed(b"data: " + data + b"\n\n")
    with pytest.raises(AttemptFailed, match="more than 131072 items"):
        sse.decode(event)


def test_an_event_of_too_many_lines_is_not_read():
    with pytest.raises(AttemptFailed, match="more than 4096 lines"):
        sse.Splitter().feed(b"data:\n" * 5000 + b"\n")
