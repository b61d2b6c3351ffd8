"""Tokens that answers of passed endpoints state: in whole JSON, and in bytes that are not kept."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from weir_router.dialects.passed.answers import HELD, answer_of
from weir_router.dialects.passed.usage import Finder, usage_of
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptFailed

STATED: list[tuple[dict[str, Any], Usage | None]] = [
    ({"usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}, Usage(input=9, output=3)),
    ({"usage": {"input_tokens": 9, "output_tokens": 3}}, Usage(input=9, output=3)),
    (
        {"usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}},
        Usage(input=9, output=3, cached_input=4),
    ),
    ({"usage": {"type": "tokens", "input_tokens": 9, "input_token_details": {"audio_tokens": 9}}}, Usage(input=9)),
    ({"usage": {"total_tokens": 15}}, Usage(input=15)),
    ({"usage": {"type": "duration", "seconds": 12}}, None),
    ({"meta": {"billed_units": {"search_units": 1}}}, None),
    ({"meta": {"tokens": {"input_tokens": 9, "output_tokens": 0}}}, Usage(input=9)),
    ({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}, None),
    ({"usage": {"prompt_tokens": "many", "completion_tokens": -1, "total_tokens": 1e300}}, None),
    ({"usage": None}, None),
    ({"usage": 7}, None),
    ({}, None),
]


@pytest.mark.parametrize(("payload", "wanted"), STATED)
def test_tokens_are_those_stated_and_unknown_otherwise(payload: dict[str, Any], wanted: Usage | None) -> None:
    assert usage_of(payload) == wanted


@pytest.mark.parametrize(("payload", "wanted"), [it for it in STATED if "meta" not in it[0]])
@pytest.mark.parametrize("size", [1, 3, 7, 64, 10_000])
def test_tokens_are_found_in_parts_of_any_size(payload: dict[str, Any], wanted: Usage | None, size: int) -> None:
    """The text in between resembles the field, and the stream has a null in every event."""
    event = {"text": 'the "usage": {"prompt_tokens": 1}', "usage": None}
    last = {"b64_json": "A" * 500, **payload, "more": "x" * 300}
    for indent in (None, 2):
        texts = [json.dumps(it, indent=indent) for it in (event, event, last)]
        body = "".join(f"data: {it}\n\n" for it in texts).encode() + b"data: [DONE]\n\n"
        finder = Finder()
        for at in range(0, len(body), size):
            finder.feed(body[at : at + size])
        assert finder.usage() == wanted


def test_the_last_one_counts() -> None:
    finder = Finder()
    for tokens in (1, 2, 3):
        finder.feed(b'data: {"usage":{"prompt_tokens":%d}}\n\n' % tokens)
        finder.feed(b'data: {"usage":null}\n\n')
    assert finder.usage() == Usage(input=3)


@pytest.mark.parametrize("seed", range(200))
def test_any_bytes_are_looked_at_without_an_error(seed: int) -> None:
    rng = random.Random(seed)
    pieces = [b'"usage"', b":", b"{", b"[" * 5000, b"}", b'"', b"\\", b"1", b"null", b"\xff", b" " * 9, b"data: "]
    for kind in ("text/event-stream", "application/json", "audio/mpeg", "", "text/plain; charset=x", ";;;"):
        finder, answer = Finder(), answer_of(kind)
        try:
            for _ in range(30):
                data = b"".join(rng.choices(pieces, k=rng.randrange(1, 6)))
                finder.feed(data)
                answer.feed(data)
            answer.end()
        except AttemptFailed:
            pass
        finder.usage()
        answer.usage()


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_what_is_held_is_bounded(kind: str) -> None:
    answer, size = answer_of(kind), 0
    while not answer.feed(b"x" * 1000):
        size += 1000
        assert size <= HELD


def test_spaces_behind_the_name_are_not_waited_for() -> None:
    """An upstream that never ends its answer would otherwise fill the memory."""
    finder = Finder()
    finder.feed(b'{"usage"' + b" " * 20)
    for _ in range(10):
        finder.feed(b"x" * 10_000)
    assert len(finder._tail) < 100
