"""The frame of a stream with numbered events takes what is one more delta of the same item, and nothing else."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from weir_router.dialects.base import Signal
from weir_router.dialects.openai_responses.numbered import NumberedFrame
from weir_router.dialects.openai_responses.stream import ResponsesReader


def part(number: Any = 7, text: str = " word", kind: str = "response.output_text.delta", **more: Any) -> bytes:
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    fields = {"type": kind, "sequence_number": number, **at, "delta": text, "logprobs": [], "obfuscation": "x", **more}
    fields = {name: value for name, value in fields.items() if value is not None}
    data = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def learned(given: bytes) -> NumberedFrame:
    frame = NumberedFrame()
    frame.learn_delta(given)
    return frame


@pytest.mark.parametrize("padding", ["x", None])
def test_it_takes_each_further_delta_and_knows_its_number(padding: str | None) -> None:
    frame = learned(part(7, obfuscation=padding))
    for number in range(8, 120):
        further = part(number, f' wörd{number} "quoted" \\ \n', obfuscation=padding and padding * (number % 9 + 1))
        assert frame.passed(further) is further
        assert frame.last == number


@pytest.mark.parametrize(
    "other",
    [
        part(9), part(7),
        part(8, ""), part("8"), part(-8), part(8.5), part(None), part(8, output_index=1), part(8, item_id="msg_2"),
        part(8, kind="response.refusal.delta"), part(8, obfuscation=None), part(8, logprobs=[1]), part(8, extra=1),
        part(8).replace(b" word", b' w"rd'), part(8).replace(b" word", b" word\\"), part(8).replace(b" word", b"\xff"),
        part(8).replace(b" word", b"\n"), part(8)[:-1], part(8) + part(9), b"", part(8).replace(b'"x"', b'"x'),
        part(8).replace(b'"x"', b'"x","delta":"y"'), part(8).replace(b'"x"', b'"\\"'),
    ],
)  # fmt: skip
def test_it_takes_nothing_else(other: bytes) -> None:
    assert learned(part()).passed(other) is None


def test_it_learns_no_part_whose_number_comes_last() -> None:
    fields = {"delta": " word", "output_index": 0, "sequence_number": 7, "type": "response.output_text.delta"}
    given = f"event: response.output_text.delta\ndata: {json.dumps(fields)}\n\n".encode()
    assert learned(given).passed(given) is None


def test_what_it_takes_is_content_to_the_reader_too() -> None:
    """Ten thousand parts with bytes changed, left out and put in at random."""
    rng, taken = random.Random(7), 0
    reader = ResponsesReader()
    for _ in range(10_000):
        given = bytearray(part(rng.choice([101, 101, 102]), rng.choice([" a", ' "', " é", "\\", "\u2028"])))
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(given))
            given[at : at + rng.randrange(2)] = rng.choice([b"", b'"', b"\\", b"{", b"0", b"\xff", b"\n", b","])
        if learned(part(100)).passed(bytes(given)) is not None:
            taken += 1
            assert reader.skim(bytes(given)) is Signal.CONTENT
    assert taken > 1_000


@pytest.mark.parametrize("number", [998, 10**8, 10**30])
def test_long_numbers_go_on(number: int) -> None:
    raw = part(0).replace(b'"sequence_number":0', f'"sequence_number":{number}'.encode())
    frame = learned(raw)
    further = [part(number + more) for more in (1, 2, 3)]
    known = number < 10**9
    assert [frame.passed(it) for it in further] == (further if known else [None] * 3)
