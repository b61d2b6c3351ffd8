"""The splitter of events: it loses no bytes, however they are cut, and reads the forms of all providers."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.dialects.base import Event
from weir_router.dialects.wire import sse
from weir_router.errors import AttemptFailed, FailureKind


def events(stream: bytes) -> list[Event]:
    return sse.Splitter().feed(stream)


def data_of(stream: bytes) -> list[bytes]:
    return [event.data for event in events(stream)]


@pytest.mark.parametrize(
    ("stream", "name", "data"),
    [
        (b'data: {"a":1}\n\n', None, b'{"a":1}'),
        (b'event: ping\ndata: {"a":1}\n\n', "ping", b'{"a":1}'),
        (b'data: {"a":1}\r\n\r\n', None, b'{"a":1}'),
        (b"data: 1\r\r", None, b"1"),
        (b"event: x\r\ndata: 1\r\n\r\n", "x", b"1"),
        (b"data:1\n\n", None, b"1"),
        (b"data:  1\n\n", None, b" 1"),
        (b"data\n\n", None, b""),
        (b"data: 1\ndata: 2\n\n", None, b"1\n2"),
        (b"id: 7\nretry: 3\ndata: 1\nevent: late\n\n", "late", b"1"),
        (b": OPENROUTER PROCESSING\n\n", None, b""),
        (b": hm\ndata: 1\n\n", None, b"1"),
        (b"\xef\xbb\xbfdata: 1\n\n", None, b"1"),
        (b"event: \xff\ndata: 1\n\n", "\ufffd", b"1"),
    ],
)
def test_one_event_is_understood(stream: bytes, name: str | None, data: bytes) -> None:
    assert events(stream) == [Event(stream, name, data)]


def test_several_events_in_one_piece() -> None:
    assert data_of(b"data: 1\n\nevent: x\ndata: 2\n\ndata: 3\n\ndata: 4") == [b"1", b"2", b"3"]


def test_an_event_is_handed_out_as_soon_as_its_blank_line_comes() -> None:
    splitter = sse.Splitter()
    assert splitter.feed(b"data: 1\n") == []
    assert [event.data for event in splitter.feed(b"\n")] == [b"1"]


def test_a_blank_line_of_its_own_is_an_event_without_data() -> None:
    assert events(b"data: 1\n\n\ndata: 2\n\n") == [
        Event(b"data: 1\n\n", None, b"1"),
        Event(b"\n", None, b""),
        Event(b"data: 2\n\n", None, b"2"),
    ]


def test_rest_is_what_has_not_ended() -> None:
    splitter = sse.Splitter()
    splitter.feed(b"data: 1\n\ndata: {")
    assert splitter.rest == b"data: {"


FRAGMENTS = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"event: x",
        b'{"a":1}',
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\r",
        b": c",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"x",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAGMENTS, max_size=30).map(b"".join), st.lists(st.integers(0, 120), max_size=10))
def test_bytes_are_kept_and_meaning_does_not_depend_on_the_pieces(stream: bytes, cuts: list[int]) -> None:
    whole = sse.Splitter()
    expected = [(event.name, event.data) for event in whole.feed(stream) if event.name or event.data]
    pieces, bounds = sse.Splitter(), sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    found = [event for start, end in pairwise(bounds) for event in pieces.feed(stream[start:end])]
    assert b"".join(event.raw for event in found) + pieces.rest == stream
    assert [(event.name, event.data) for event in found if event.name or event.data] == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_arbitrary_bytes_lose_nothing(pieces: list[bytes]) -> None:
    splitter = sse.Splitter()
    raw = b"".join(event.raw for piece in pieces for event in splitter.feed(piece))
    assert raw + splitter.rest == b"".join(pieces)


def test_byte_by_byte_gives_the_same_as_at_once() -> None:
    stream = b'event: a\r\ndata: {"x":1}\r\n\r\ndata: 2\n\n: c\n\ndata: [DONE]\n\n'
    splitter = sse.Splitter()
    found = [event for byte in stream for event in splitter.feed(bytes([byte]))]
    assert [event.data for event in found if event.data] == [b'{"x":1}', b"2", b"[DONE]"]


def test_an_event_that_never_ends_is_refused() -> None:
    splitter = sse.Splitter(max_event_bytes=1000)
    splitter.feed(b"data: " + b"x" * 900)
    with pytest.raises(AttemptFailed) as caught:
        splitter.feed(b"x" * 100)
    assert caught.value.kind is FailureKind.MALFORMED


def test_a_large_event_that_ends_is_taken() -> None:
    splitter = sse.Splitter()
    big = b"data: " + b"x" * 3_000_000 + b"\n\n"
    found = [event for start in range(0, len(big), 65_536) for event in splitter.feed(big[start : start + 65_536])]
    assert [event.raw for event in found] == [big]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_finish_completes_a_done_without_its_blank_line(end: bytes) -> None:
    splitter = sse.Splitter()
    splitter.feed(b"data: [DONE]" + end)
    (event,) = splitter.finish()
    assert event.data == sse.DONE
    assert event.raw.endswith(b"\n\n")
    assert splitter.rest == b""


def test_finish_leaves_an_event_whose_json_is_cut_off() -> None:
    splitter = sse.Splitter()
    splitter.feed(b'data: {"choices":[{"delta":{"con')
    assert splitter.finish() == []
    assert splitter.rest != b""


def test_finish_has_nothing_to_add_to_a_clean_end() -> None:
    splitter = sse.Splitter()
    splitter.feed(b"data: [DONE]\n\n")
    assert splitter.finish() == []


def test_decode_gives_the_payload() -> None:
    assert sse.decode(Event(b"", None, b'{"a": 1}')) == {"a": 1}


@pytest.mark.parametrize("data", [b"", b"[DONE]", b"[DONE] "])
def test_decode_gives_none_without_a_payload(data: bytes) -> None:
    assert sse.decode(Event(b"", None, data)) is None


@pytest.mark.parametrize(
    "data", [b"[]", b"1", b"null", b"{", b"{}x", b"\xff", b'{"a":"\xff"}', b"[" * 5000, b'{"a":NaN}']
)
def test_decode_refuses_what_is_no_json_object(data: bytes) -> None:
    with pytest.raises(AttemptFailed) as caught:
        sse.decode(Event(b"", None, data))
    assert caught.value.kind is FailureKind.MALFORMED


def test_decode_reads_half_a_surrogate_pair() -> None:
    """A server written in JavaScript may cut an emoji in two."""
    assert sse.decode(Event(b"", None, rb'{"a":"\ud83d"}')) == {"a": "\ud83d"}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_decode_raises_nothing_but_attempt_failed(data: bytes) -> None:
    with contextlib.suppress(AttemptFailed):  # and nothing else may be raised
        assert isinstance(sse.decode(Event(b"", None, data)), dict | None)


def test_only_done_is_done() -> None:
    assert sse.is_done(Event(b"", None, b"[DONE]"))
    assert not sse.is_done(Event(b"", None, b"{}"))
