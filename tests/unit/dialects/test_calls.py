"""Tool calls in a stream: for every way in which servers number, name and cut them, the same calls come out."""

import json

from hypothesis import given
from hypothesis import strategies as st

from weir_router.dialects.neutral.answer import CallArguments, CallBegin
from weir_router.dialects.openai_chat.assemble import OpenAIAssembler
from weir_router.dialects.openai_chat.events import ChatEvents

INDEXES = ["right", "zero", "none"]
IDS = ["first", "each", "anew", "late"]
NAMES = ["first", "each", "empty"]

ONE = st.tuples(st.sampled_from(["f", "g"]), st.dictionaries(st.sampled_from("ab"), st.text(max_size=5), max_size=2))


def cut(draw, text):
    """`text` in pieces, none of them empty."""
    at = sorted(draw(st.sets(st.integers(1, max(len(text) - 1, 1)), max_size=3)))
    return [piece for piece in (text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)) if piece]


@st.composite
def streams(draw):
    """The calls of an answer, and the parts in which a server of one style streams them."""
    index, given_id, name = (draw(st.sampled_from(styles)) for styles in (INDEXES, IDS, NAMES))
    if given_id == "late":  # otherwise nothing tells two calls of one function apart
        index = "right"
    if given_id == "anew" and name == "each":  # likewise
        name = "first"
    calls, parts = draw(st.lists(ONE, min_size=1, max_size=4)), []
    for number, (function, arguments) in enumerate(calls):
        for place, piece in enumerate(cut(draw, json.dumps(arguments))):
            part = {"function": {"arguments": piece}}
            if place == 0 or name == "each":
                part["function"]["name"] = function
            elif name == "empty":
                part["function"]["name"] = ""
            if index != "none":
                part["index"] = number if index == "right" else 0
            if given_id == "each" or (place == 0 and given_id != "late") or (place == 1 and given_id == "late"):
                part["id"] = f"c{number}"
            elif given_id == "anew":
                part["id"] = f"x{number}.{place}"
            parts.append(part)
    return calls, parts


@given(streams())
def test_the_calls_are_those_that_were_made(case):
    calls, parts = case
    assembler, reader, begun, said = OpenAIAssembler(), ChatEvents(), [], {}
    for part in parts:
        chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]}
        assembler.feed(chunk)
        for event in reader.read(chunk):
            if isinstance(event, CallBegin):
                begun.append(event.name)
            elif isinstance(event, CallArguments):
                said[event.position] = said.get(event.position, "") + event.text
    message = assembler.answer()["choices"][0]["message"]
    got = [(it["function"]["name"], json.loads(it["function"]["arguments"])) for it in message["tool_calls"]]
    assert got == calls
    assert [(name, json.loads(said[position])) for position, name in enumerate(begun)] == calls
