"""What is skimmed means what reading it would have found, and looks as it would have been rendered."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.call.providers import anthropic, openai, sse
from weir_router.call.providers.assemble_anthropic import AnthropicAssembler
from weir_router.call.providers.assemble_openai import OpenAIAssembler
from weir_router.call.providers.base import Signal
from weir_router.call.providers.frame import Frame
from weir_router.call.providers.relay import Assembled, Relay, UsageHidingRelay
from weir_router.errors import AttemptFailed
from weir_router.record.events import Usage
from weir_router.serve.dialects.openai import read as parse

ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}
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
    skimming, reading, frame = provider.reader(), provider.reader(), Frame(relay.pass_on)
    for payload in before:
        assert skimming.read(payload) == reading.read(payload)
    for earlier in skimmed:
        assert skimming.skim(earlier, frame) is not None
        reading.read(sse.decode(*sse.Splitter().feed(earlier)))
    out = relay.pass_on(part)
    in_frame = frame.passed(part)
    if in_frame is not None:
        assert out in (in_frame, None)
        out, signal, skimming.content_events = in_frame, Signal.CONTENT, skimming.content_events + 1
    elif out is None or (signal := skimming.skim(part, frame)) is None:
        return False
    (event,) = sse.Splitter().feed(part)
    payload = sse.decode(event)
    assert reading.read(payload) is signal
    assert relay.feed(event, payload, signal) == out
    for name in ("content_events", "stop_reason", "usage"):
        assert getattr(skimming, name) == getattr(reading, name)
    return True


@settings(max_examples=400)
@given(
    mutated(ROLE) | mutated(CHUNK) | mutated(FINISH),
    st.lists(st.sampled_from([ROLE, CHUNK, FINISH])),
    st.sampled_from([Relay, UsageHidingRelay]),
)
def test_openai(payload, before, relay):
    same_as_read(openai, framed(payload), relay(b""), before)


@settings(max_examples=400)
@given(mutated(DELTA))
def test_anthropic(payload):
    same_as_read(anthropic, framed(payload, "content_block_delta"), Relay(b""))


@settings(max_examples=400)
@given(st.lists(mutated(CHUNK), max_size=3), st.sampled_from([Relay, UsageHidingRelay]))
def test_openai_behind_others_of_the_stream(payloads, relay):
    parts = [framed(CHUNK), *map(framed, payloads)]
    reader, renderer = openai.reader(), relay(b"")
    reader.read(ROLE)
    frame = Frame(renderer.pass_on)
    known = [part for part in parts[:-1] if renderer.pass_on(part) is not None]
    skimmed = [part for part in known if reader.skim(part, frame) is not None]
    same_as_read(openai, parts[-1], renderer, [ROLE], skimmed)


@settings(max_examples=500)
@given(st.binary(max_size=4), st.integers(0, 140), st.integers(0, 4))
def test_bytes_changed_anywhere_behind_others_of_the_stream(put, where, gone):
    for provider, good, before in (
        (openai, framed(CHUNK), [ROLE]),
        (openai, framed(PADDED), [ROLE]),
        (anthropic, framed(DELTA, "content_block_delta"), []),
        (anthropic, framed(DELTA, "content_block_delta").replace(b"}\n", b"   }\n"), []),
    ):
        part = bytearray(good)
        part[where : where + gone] = put
        try:
            same_as_read(provider, bytes(part), Relay(b""), before, [good])
        except (AttemptFailed, ValueError) as error:
            raise AssertionError(bytes(part)) from error


def test_a_server_that_leaves_out_the_index_has_its_end_read():
    reader = openai.reader()
    reader.read({"choices": [{"delta": {"content": "a"}}]})
    frame = Frame(Relay(b"").pass_on)
    assert reader.skim(framed({"choices": [{"delta": {"content": "b"}}]}), frame) is Signal.CONTENT
    for part in (b"data: [DONE]\n\n", b": ping\n\n"):
        assert reader.skim(part, frame) is None
        assert frame.passed(part) is None
    assert reader.skim(framed({"choices": [{"delta": {}, "finish_reason": "stop"}]}), frame) is Signal.STOP
    assert (reader.stop_reason, reader.content_events) == ("stop", 2)


@pytest.mark.parametrize("text", ["more", " ", "a {brace}, a data: line", "don't [DONE]", "é 木", "\x7f", r"\n \""])
def test_a_frame_fits_any_text(text):
    frame = Frame(Relay(b"").pass_on)
    frame.learn(framed(CHUNK), b"content")
    part = framed(CHUNK).replace(b"word ", text.encode())
    assert frame.passed(part) == part


@pytest.mark.parametrize("padding", ["", "x", "Zk3-_ more of it"])
@pytest.mark.parametrize("renderer", [Relay(b""), UsageHidingRelay(b"")])
def test_a_frame_fits_whatever_the_padding(renderer, padding):
    frame = Frame(renderer.pass_on)
    frame.learn(framed(PADDED), b"content")
    part = framed({**CHUNK, "obfuscation": padding}).replace(b"word ", b"more")
    assert frame.passed(part) == (renderer.pass_on(part) if padding else None)
    bare = framed(CHUNK)
    assert frame.passed(bare) == renderer.pass_on(bare)
    assert fed(assembled(OpenAIAssembler), framed(PADDED)).passed(part) == (b"" if padding else None)


def test_a_frame_fits_however_many_spaces():
    spaced = [framed(DELTA, "content_block_delta").replace(b"}\n", b" " * count + b"}\n") for count in (3, 0, 9)]
    frame = Frame(Relay(b"").pass_on)
    frame.learn(spaced[0], b"text")
    assert [frame.passed(part) for part in spaced] == spaced
    assert frame.passed(spaced[0].replace(b" }", b"x}")) is None
    gathered = fed(assembled(AnthropicAssembler), spaced[0])
    assert [gathered.passed(part) for part in spaced] == [b""] * 3


@pytest.mark.parametrize("padding", [b'x"', b'"x', b"x\\", b"\n", b'","x":"'])
def test_a_frame_fits_no_padding_that_says_something(padding):
    frame = Frame(Relay(b"").pass_on)
    frame.learn(framed(PADDED), b"content")
    assert frame.passed(framed(PADDED).replace(b"x7Q", padding)) is None


@pytest.mark.parametrize("usage", [b',"usage":null', b',"usage":null,"x":{"a":1,"usage":null}', b""])
def test_a_frame_hides_what_the_renderer_hides(usage):
    renderer = UsageHidingRelay(b"")
    part = framed({"id": "c1"}).replace(b"}", usage + b',"choices":[{"delta":{"content":"word "}}]' + usage + b"}")
    frame = Frame(renderer.pass_on)
    frame.learn(part, b"content")
    assert frame.passed(part) == renderer.pass_on(part)


def test_a_frame_is_not_learned_where_each_part_has_to_be_read():
    part = framed({"choices": [{"delta": {"content": "word "}}], "usage": {"prompt_tokens": 1}})
    frame = Frame(UsageHidingRelay(b"").pass_on)
    frame.learn(part, b"content")
    assert frame.passed(part) is None


@pytest.mark.parametrize("text", [b"", b'"', b"\\", b"\n", b"\r", b"\x00", b"\xc3", b"\\ud83d", b'","x":"'])
def test_a_frame_fits_nothing_that_could_end_the_text(text):
    frame = Frame(Relay(b"").pass_on)
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
    frame = Frame(Relay(b"").pass_on)
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
        same_as_read(openai, bytes(part), Relay(b""), [ROLE])
    except (AttemptFailed, ValueError) as error:
        raise AssertionError(bytes(part)) from error


@pytest.mark.parametrize("relay", [Relay, UsageHidingRelay])
@pytest.mark.parametrize("payload", [ROLE, CHUNK, FINISH])
@pytest.mark.parametrize("before", [[], [ROLE], [{"choices": [{"index": 1, "delta": {"content": "x"}}]}]])
def test_what_a_stream_of_text_has_is_skimmed(payload, before, relay):
    assert same_as_read(openai, framed(payload), relay(b""), before)


def test_plain_content_is_skimmed():
    assert same_as_read(anthropic, framed(DELTA, "content_block_delta"), Relay(b""))


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
        b"data: [DONE]\n\n",
        b": ping\n\n",
        framed(CHUNK).replace(b"}", b"", 1),
    ],
)
def test_anything_else_is_read(part):
    assert not same_as_read(openai, part, Relay(b""), [ROLE])


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
