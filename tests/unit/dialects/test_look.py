"""The typed look at a body agrees with the decoded body, and costs no memory."""

from __future__ import annotations

import random
import tracemalloc

import msgspec
import pytest

from robust.mutations import broken_text
from weir_router.dialects.wire.body import look, model, parse
from weir_router.errors import BadRequest

BODIES = [
    b'{"model":"auto","messages":[{"role":"user","content":"Hi"}],"stream":true}',
    b'{"messages":[],"model":"a","model":"b"}',
    b'{"model":1,"model":"b"}',
    b'{"model":"b","model":["a"]}',
    b'{"mod\\u0065l":"auto","stream":null}',
    b'{"x":{"model":"inner"},"model":"outer"}',
    b'{"Model":"other"}',
    b'{"model":null}',
    b'{"model":""}',
    b'{"model":" \\t"}',
    b'{"model":"' + b"x" * 257 + b'"}',
    b'{"model":"\xff"}',
    b'{"model":"\\ud800"}',
    b'{"model":{"name":"auto"}}',
    b'{"model":12.5}',
    b'{"model":true}',
    b'{"stream":"yes","model":"auto"}',
    b'{"model":"auto"',
    b'{"model":"auto"} x',
    b"",
    b" \n",
    b"[1]",
    b' "text"',
    b"7",
    b"null",
    b'{"model":"auto","x":' + b"[" * 100_000,
    b"\xef\xbb\xbf{}",
]


def decoded(body: bytes) -> str:
    """The fields of a decoded body, or the reason why they cannot be read."""
    try:
        return "model " + model(parse(body)[0])
    except BadRequest as error:
        return error.message


def looked(body: bytes) -> str:
    try:
        return "model " + look(body).model
    except BadRequest as error:
        return error.message


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:40].decode("latin-1"))
def test_the_look_finds_what_decoding_finds_and_explains_it_alike(body: bytes) -> None:
    assert looked(body) == decoded(body)


def test_the_look_never_finds_another_model() -> None:
    """It may find one where decoding fails: text that is not read is not checked."""
    rng = random.Random(5)
    found = 0
    for text in [body.decode(errors="replace") for body in BODIES[:16]] * 200:
        changed = broken_text(text, rng)
        seen, known = looked(changed), decoded(changed)
        if known.startswith("model "):
            assert seen == known
            found += 1
    assert found > 200


@pytest.mark.parametrize(
    ("text", "stream"),
    [(b"true", True), (b"false", False), (b"null", None), (b'"yes"', False), (b"[true]", False), (b"1", False)],
)
def test_a_stream_is_wanted_only_if_the_body_says_true(text: bytes, stream: bool | None) -> None:
    assert look(b'{"stream":' + text + b',"model":"auto"}').stream is stream


@pytest.mark.parametrize("start", [b'{"model":"auto","x":[', b'{"x":[', b'{"model":['])
def test_no_objects_are_made_of_what_is_skipped(start: bytes) -> None:
    body = start + b"{}," * 1_000_000 + b"1]}"
    tracemalloc.start()
    try:
        looked(body)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
        tracemalloc.reset_peak()
        msgspec.json.decode(body)
        assert tracemalloc.get_traced_memory()[1] > 20 * len(body)  # so the first figure says something
    finally:
        tracemalloc.stop()
