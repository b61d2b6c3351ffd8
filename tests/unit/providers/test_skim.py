"""A skimmed event has the meaning that reading it would have found, and the bytes of its rendering."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.pairings import pairing_at
from weir_router.contract import Backend, Dialect
from weir_router.dialects.anthropic.assemble import AnthropicAssembler
from weir_router.dialects.anthropic.request import read as parse_anthropic
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Signal
from weir_router.dialects.openai_chat.assemble import OpenAIAssembler
from weir_router.dialects.openai_chat.request import read as parse
from weir_router.dialects.registry import record_of
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire import sse
from weir_router.dialects.wire.frame import Frame
from weir_router.dialects.wire.relay import Assembled, Relay, UsageHidingRelay
from weir_router.errors import AttemptFailed

openai, anthropic = record_of(Format.OPENAI_CHAT), record_of(Format.ANTHROPIC_MESSAGES)

ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}
USAGE = {"object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
CHUNK = {"id": "c1", "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}], "usage": None}
PADDED = {**CHUNK, "obfuscation": "x7Q"}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word "}}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "word", "stop", "text_delta", 'a "usage"']),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["content", "text", "x"]), inner),
    max_leaves=4,
)


def framed(payload, name=None):
    head = b"" if name is None else b"event: %b\n" % name.encode()
    return head + b"data: " + msgspec.json.encode(payload) + b"\n\n"


@st.composite
def mutated(draw, base):
    """`base` with some fields, at any depth, changed, dropped or added."""
    payload = json.loads(json.dumps(base))
    for _ in range(draw(st.integers(0, 3))):
        place = payload
        while True:
            key = draw(st.sampled_from([*(place if isinstance(place, dict) else range(len(place))), "error"]))
            inner = place.get(key) if isinstance(place, dict) else None if key == "error" else place[key]
            if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
                break
            place = inner
        if isinstance(place, dict):
            place[key] = draw(values)
            if draw(st.booleans()):
                del place[key]
    return payload


def same_as_read(provider, part, relay, before=(), skimmed=()):
    skimming, reading = provider.reader(), provider.reader()
    for payload in before:
        assert skimming.read(payload) == reading.read(payload)
    for earlier in skimmed:
        signal = skimming.skim(earlier)
        assert relay.pass_on(earlier, signal) is not None
        assert reading.read(sse.decode(*sse.Splitter().feed(earlier))) is signal
    out = relay.frame().passed(part)
    signal = Signal.CONTENT if out is not None else skimming.skim(part)
    out = relay.pass_on(part, signal) if out is None and signal is not None else out
    if out is None:
        return False
    (event,) = sse.Splitter().feed(part)
    payload = sse.decode(event)
    contents = reading.content_events
    assert reading.read(payload) is signal
    assert reading.content_events - contents == (signal is Signal.CONTENT)
    assert relay.feed(event, payload, signal) == out
    assert (skimming.stop_reason, skimming.usage) == (reading.stop_reason, reading.usage)
    return True


def learned(relay, part):
    """The frame of a relay that has relayed `part`."""
    renderer = relay(b"", b"content")
    renderer.pass_on(part, Signal.CONTENT)
    return renderer.frame()


CLAUDE = Backend(name="c", provider=Dialect.ANTHROPIC, base_url="https://api.anthropic.com", model="m")


def same_renderer(provider):
    dialect = Dialect.OPENAI if provider is openai else Dialect.ANTHROPIC
    return provider.renderer(streaming_ask(provider), pairing_at(provider.format, dialect), CLAUDE)


def streaming_ask(provider):
    read = {openai: parse, anthropic: parse_anthropic}[provider]
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "stream": True}
    return read(msgspec.json.encode(body), {})


@settings(max_examples=400)
@given(
    mutated(ROLE) | mutated(CHUNK) | mutated(FINISH) | mutated(USAGE),
    st.lists(st.sampled_from([ROLE, CHUNK, FINISH, USAGE])),
    st.sampled_from([Relay, UsageHidingRelay]),
)
def test_openai(payload, before, relay):
    same_as_read(openai, framed(payload), relay(b"", b"content"), before)


@settings(max_examples=400)
@given(mutated(DELTA))
def test_anthropic(payload):
    same_as_read(anthropic, framed(payload, "content_block_delta"), Relay(b"", b"text"))


@settings(max_examples=400)
@given(st.lists(mutated(CHUNK), max_size=3), st.sampled_from([Relay, UsageHidingRelay]))
def test_openai_behind_others_of_the_stream(payloads, relay):
    parts = [framed(CHUNK), *map(framed, payloads)]
    reader, renderer = openai.reader(), relay(b"", b"content")
    signals = [(part, reader.skim(part)) for part in parts[:-1]]
    skimmed = [part for part, it in signals if it is not None and renderer.pass_on(part, it) is not None]
    same_as_read(openai, parts[-1], relay(b"", b"content"), [ROLE], skimmed)


@settings(max_examples=500)
@given(st.binary(max_size=4), st.integers(0, 140), st.integers(0, 4))
def test_bytes_changed_anywhere_behind_others_of_the_stream(put, where, gone):
    for provider, text, good, before in (
        (openai, b"content", framed(CHUNK), [ROLE]),
        (openai, b"content", framed(PADDED), [ROLE]),
        (anthropic, b"text", framed(DELTA, "content_block_delta"), []),
        (anthropic, b"text", framed(DELTA, "content_block_delta").replace(b"}\n", b"   }\n"), []),
    ):
        part = bytearray(good)
        part[where : where + gone] = put
        try:
            same_as_read(provider, bytes(part), Relay(b"", text), before, [good])
        except (AttemptFailed, ValueError) as error:
            raise AssertionError(bytes(part)) from error


def test_a_server_that_leaves_out_the_index_has_its_end_read():
    reader = openai.reader()
    reader.read({"choices": [{"delta": {"content": "a"}}]})
    assert reader.skim(framed({"choices": [{"delta": {"content": "b"}}]})) is Signal.CONTENT
    assert reader.skim(b": ping\n\n") is None
    assert reader.skim(framed({"choices": [{"delta": {}, "finish_reason": "stop"}]})) is Signal.STOP
    assert reader.stop_reason == "stop"


@pytest.mark.parametrize(
    ("provider", "finish"),
    [(openai, FINISH), (anthropic, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}})],
)
def test_the_dialects_end_of_stream_is_skimmed_where_a_stop_reason_has_come(provider, finish):
    reader, part = provider.reader(), same_renderer(provider).end()
    assert reader.skim(part) is None
    reader.read(finish)
    assert reader.skim(part) is Signal.DONE
    relay = same_renderer(provider)
    assert (relay.pass_on(part, Signal.DONE), relay.end()) == (part, b"")


@pytest.mark.parametrize("text", ["more", " ", "a {brace}, a data: line", "don't [DONE]", "é 木", "\x7f", r"\n \""])
def test_a_frame_fits_any_text(text):
    frame = Frame()
    frame.learn(framed(CHUNK), b"content")
    part = framed(CHUNK).replace(b"word ", text.encode())
    assert frame.passed(part) == part


@pytest.mark.parametrize("padding", ["", "x", "Zk3-_ more of it"])
@pytest.mark.parametrize("relay", [Relay, UsageHidingRelay])
def test_a_frame_fits_whatever_the_padding(relay, padding):
    frame, other = learned(relay, framed(PADDED)), relay(b"", b"content")
    part = framed({**CHUNK, "obfuscation": padding}).replace(b"word ", b"more")
    assert frame.passed(part) == (other.pass_on(part, Signal.CONTENT) if padding else None)
    bare = framed(CHUNK)
    assert frame.passed(bare) == other.pass_on(bare, Signal.CONTENT)
    assert fed(assembled(OpenAIAssembler), framed(PADDED)).passed(part) == (b"" if padding else None)


def test_a_frame_fits_however_many_spaces():
    spaced = [framed(DELTA, "content_block_delta").replace(b"}\n", b" " * count + b"}\n") for count in (3, 0, 9)]
    frame = Frame()
    frame.learn(spaced[0], b"text")
    assert [frame.passed(part) for part in spaced] == spaced
    assert frame.passed(spaced[0].replace(b" }", b"x}")) is None
    gathered = fed(assembled(AnthropicAssembler), spaced[0])
    assert [gathered.passed(part) for part in spaced] == [b""] * 3


@pytest.mark.parametrize("padding", [b'x"', b'"x', b"x\\", b"\n", b'","x":"'])
def test_a_frame_fits_no_padding_that_says_something(padding):
    frame = Frame()
    frame.learn(framed(PADDED), b"content")
    assert frame.passed(framed(PADDED).replace(b"x7Q", padding)) is None


@pytest.mark.parametrize("usage", [b',"usage":null', b',"usage":null,"x":{"a":1,"usage":null}', b""])
def test_a_frame_hides_what_the_renderer_hides(usage):
    part = framed({"id": "c1"}).replace(b"}", usage + b',"choices":[{"delta":{"content":"word "}}]' + usage + b"}")
    frame = learned(UsageHidingRelay, part)
    assert frame.passed(part) == UsageHidingRelay(b"", b"content").pass_on(part, Signal.CONTENT)


def test_a_frame_is_not_learned_where_each_part_has_to_be_read():
    part = framed({"choices": [{"delta": {"content": "word "}}], "usage": {"prompt_tokens": 1}})
    assert learned(UsageHidingRelay, part).passed(part) is None


@pytest.mark.parametrize("text", [b"", b'"', b"\\", b"\n", b"\r", b"\x00", b"\xc3", b"\\ud83d", b'","x":"'])
def test_a_frame_fits_nothing_that_could_end_the_text(text):
    frame = Frame()
    frame.learn(framed(CHUNK), b"content")
    for part in (framed(CHUNK).replace(b"word ", text), framed(CHUNK)[:-1], b"x" + framed(CHUNK)):
        assert frame.passed(part) is None


@pytest.mark.parametrize(
    "part",
    [
        b'{"content":"a","x":{"content":"a"}}',
        b'{"content":"a","x":{"content" :"a"}}',
        b'{"content":{"x":"a"}}',
        b'{"x":"content","y":"a"}',
        b'{"x\\"content":"a"}',
        b'{"content":"a","cont\\u0065nt":"a"}',
        b'{"content":"a\\""}',
        b'{"content":"a',
        b"{}",
    ],
)
def test_a_frame_is_learned_only_where_the_text_can_be_told(part):
    frame = Frame()
    frame.learn(part, b"content")
    assert frame.passed(part) is None


GATHERED = [
    (OpenAIAssembler, framed(CHUNK)),
    (OpenAIAssembler, framed(CHUNK).replace(b":", b": ")),
    (OpenAIAssembler, framed({"choices": [{"delta": {"content": None, "reasoning_content": "word ", "role": "x"}}]})),
    (AnthropicAssembler, framed(DELTA, "content_block_delta")),
]


def assembled(kind):
    renderer = Assembled(kind())
    if kind is AnthropicAssembler:
        fed(renderer, framed({"type": "content_block_start", "index": 0, "content_block": {}}), Signal.NONE)
    return renderer


def fed(renderer, part, signal=Signal.CONTENT):
    (event,) = sse.Splitter().feed(part)
    renderer.feed(event, sse.decode(event), signal)
    return renderer.frame()


@pytest.mark.parametrize("text", ["more", "é 木", '\\n\\"', "\\ud83d\\ude00"])
@pytest.mark.parametrize(("kind", "part"), GATHERED)
def test_texts_of_a_whole_answer_are_taken_out_of_their_frame(kind, part, text):
    renderer = assembled(kind)
    frame = fed(renderer, part)
    assert frame.passed(part.replace(b"word ", text.encode())) == b""
    assert msgspec.json.encode("word " + json.loads(f'"{text}"')) in renderer.end()


@pytest.mark.parametrize(("kind", "part"), GATHERED)
def test_a_frame_of_texts_ends_with_any_other_event(kind, part):
    renderer = assembled(kind)
    fed(renderer, part)
    assert fed(renderer, framed({"type": "ping", "id": "c2"}), Signal.NONE).passed(part) is None


@pytest.mark.parametrize(
    "part",
    [
        framed({"choices": CHUNK["choices"] * 2}),
        framed({"choices": [{"delta": {"content": "word ", "reasoning": "x"}}]}),
        framed({"choices": [{"delta": {"content": "word "}, "logprobs": {"refusal": ["x"]}}]}),
        framed({"choices": [{"delta": {"content": "word ", "audio": {"id": "x"}}}]}),
        framed({"choices": [{"delta": {"content": ["word "]}}]}),
        b'data: {"x\\"content":"word ","choices":[{"delta":{"cont\\u0065nt":"word "}}]}\n\n',
        framed({"choices": [{"delta": {"content": "word "}}]}).replace(b'"content"', b'"content":"word ","content" '),
    ],
)
def test_what_adds_more_than_a_text_is_read_each_time(part):
    assert fed(assembled(OpenAIAssembler), part).passed(part) is None


def test_frames_into_which_nothing_fits_are_no_longer_learned():
    renderer = assembled(OpenAIAssembler)
    for number in range(10):
        frame = fed(renderer, framed({**CHUNK, "id": str(number)}))
    assert frame.passed(framed({**CHUNK, "id": "9"})) is None


@settings(max_examples=300)
@given(st.binary(max_size=3), st.integers(0, 80))
def test_bytes_changed_anywhere(put, where):
    part = bytearray(framed(CHUNK))
    part[where : where + len(put)] = put
    try:
        same_as_read(openai, bytes(part), Relay(b"", b"content"), [ROLE])
    except (AttemptFailed, ValueError) as error:
        raise AssertionError(bytes(part)) from error


@pytest.mark.parametrize("relay", [Relay, UsageHidingRelay])
@pytest.mark.parametrize("payload", [ROLE, CHUNK, FINISH, USAGE])
@pytest.mark.parametrize("before", [[], [ROLE], [{"choices": [{"index": 1, "delta": {"content": "x"}}]}]])
def test_what_a_stream_of_text_has_is_skimmed(payload, before, relay):
    assert same_as_read(openai, framed(payload), relay(b"", b"content"), before)


def test_plain_content_is_skimmed():
    assert same_as_read(anthropic, framed(DELTA, "content_block_delta"), Relay(b"", b"text"))


@pytest.mark.parametrize(
    "part",
    [
        framed(CHUNK)[:-1],
        framed(CHUNK) * 2,
        framed(CHUNK).replace(b"\n", b"\r\n"),
        framed({**CHUNK, "usage": {"prompt_tokens": 1}}),
        framed({**CHUNK, "error": {"message": "no"}}),
        framed({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}),
        framed({"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}),
        framed({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "error": {"message": "no"}}]}),
        framed({"choices": [{"index": 0, "delta": {"content": "", "tool_calls": [{"index": 0}]}}]}),
        framed({"choices": [{"index": 0, "delta": {"content": "x", "reasoning": "y"}}]}),
        framed({"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}),
        framed({**USAGE, "usage": None}),
        framed({**USAGE, "object": "error"}),
        framed({**USAGE, "error": {"message": "no"}}),
        framed(USAGE).replace(b"{", b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b",", 1),
        b"data: [DONE]\n\n",
        b": ping\n\n",
        framed(CHUNK).replace(b"}", b"", 1),
    ],
)
def test_anything_else_is_read(part):
    assert not same_as_read(openai, part, Relay(b"", b"content"), [ROLE])


WHOLE = {
    "id": "c1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
}


def plain_ask(**more):
    return parse(msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "x"}], **more}), {})


@settings(max_examples=400)
@given(mutated(WHOLE))
def test_a_whole_answer(payload):
    usage = openai.skim_whole(plain_ask(), msgspec.json.encode(payload))
    assert usage is None or openai.read_whole(payload).usage == usage


def test_a_plain_whole_answer_is_skimmed_for_its_own_dialect_alone():
    raw = msgspec.json.encode(WHOLE)
    assert openai.skim_whole(plain_ask(), raw) == Usage(input=3, cached_input=1, output=2)
    assert openai.skim_whole(plain_ask(stream=True), raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        msgspec.json.encode(WHOLE)[:-1],
        msgspec.json.encode(WHOLE).replace(b"word", b"\xff"),
        msgspec.json.encode(WHOLE).replace(b"stop", b"error"),
        msgspec.json.encode(WHOLE).replace(b"chat.completion", b"error"),
        msgspec.json.encode({**WHOLE, "error": {"message": "no"}}),
        msgspec.json.encode({**WHOLE, "choices": WHOLE["choices"] * 2}),
    ],
)
def test_any_other_whole_answer_is_read(raw):
    assert openai.skim_whole(plain_ask(), raw) is None
