"""A conversation that a format writes and reads again is the same, but for what its table drops."""

from __future__ import annotations

import json
import string
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from weir_router.contract import Thinking, Traits
from weir_router.dialects.anthropic.understand import EXTRAS as ANTHROPIC_EXTRAS
from weir_router.dialects.base import FormatRecord
from weir_router.dialects.neutral.checked import Checked
from weir_router.dialects.neutral.conversation import (
    Call,
    Choice,
    Conversation,
    Document,
    Effort,
    Extra,
    Image,
    Result,
    Shape,
    Text,
    Thought,
    Tool,
    Turn,
)
from weir_router.dialects.neutral.opaque import Opaque
from weir_router.dialects.neutral.table import Fate, Field
from weir_router.dialects.neutral.target import Target
from weir_router.dialects.openai_chat.understand import EXTRAS as OPENAI_EXTRAS
from weir_router.dialects.openai_responses.understand import EXTRAS as RESPONSES_EXTRAS
from weir_router.dialects.registry import CONVERSATIONS
from weir_router.dialects.wire.relay import encode

TARGET = Target("", Traits(thinking=Thinking.ADAPTIVE, efforts=("low", "medium", "high")))
VALUES: dict[str, Any] = {"metadata": {"a": "b"}, "logit_bias": {"1": 2}, "prediction": {"type": "content"}}
VALUES |= {"verbosity": "low", "include": ["message.input_image.image_url"]}
NAMES = {field: name for name, (field, _) in OPENAI_EXTRAS.items()} | {
    it: name for name, it in ANTHROPIC_EXTRAS.items()
}
NAMES = {field: name for name, (field, _) in RESPONSES_EXTRAS.items()} | NAMES
EXTRAS = [Extra(field, name, VALUES.get(name, 1.5)) for field, name in NAMES.items()]

words = st.text(string.ascii_letters + "äß👋 ", min_size=1, max_size=8).map(lambda text: f"a{text}b")
names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8)
caches = st.sampled_from([*[None] * 8, "", "1h"])
texts = st.builds(Text, words, cache=caches)
images = st.sampled_from([Image("", "https://x/y.png"), Image("", None, "image/png", "iVBORw0KGgo=")])
documents = st.builds(Document, st.just(""), st.just("application/pdf"), st.just("AAAA"), title=words)
parts = st.one_of(texts, images, documents)
arguments = st.dictionaries(words, st.integers(0, 9), max_size=2).map(lambda it: encode(it).decode())
thoughts = st.builds(Thought, words, st.builds(Opaque, st.just(""), names))


@st.composite
def exchanges(draw: st.DrawFn, number: int) -> list[Turn]:
    """A user's turn with its answer: text, or calls with their results."""
    turns = [Turn("user", tuple(draw(st.lists(parts, min_size=1, max_size=3))))]
    said = [*draw(st.lists(thoughts, max_size=1)), *draw(st.lists(texts, min_size=1, max_size=1))]
    ids = [f"call_{number}_{at}" for at in range(draw(st.integers(0, 2)))]
    calls = [Call(identity, draw(names), draw(arguments)) for identity in ids]
    turns.append(Turn("assistant", (*said, *calls)))
    if ids:
        results = tuple([Result(identity, (Text(draw(words)),), cache=draw(caches)) for identity in ids])
        turns.append(Turn("user", (*results, *draw(st.lists(texts, max_size=1)))))
    return turns


tools = st.builds(
    Tool,
    names,
    st.none() | words,
    st.dictionaries(names, st.just({"type": "string"})).map(lambda it: {"type": "object", "properties": it}),
    st.just(False),
    caches,
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    turns = [turn for number in range(draw(st.integers(1, 3))) for turn in draw(exchanges(number))]
    offered = tuple(draw(st.lists(tools, min_size=1, max_size=2, unique_by=lambda tool: tool.name)))
    effort = draw(st.none() | st.sampled_from([Effort("low"), Effort("medium"), Effort("high")]))
    sampled = st.none() | st.floats(0.1, 0.9)
    # Without tools Anthropic gets those of the history.
    choices = st.none() | st.sampled_from([Choice("auto"), Choice("any"), Choice("none"), Choice("named", "f")])
    return Conversation(
        model="auto",
        instructions=tuple(draw(st.lists(texts, max_size=1))),
        turns=(*turns, Turn("user", (Text("last"),))),
        tools=offered,
        choice=draw(choices),
        shape=draw(st.sampled_from([None, Shape(SCHEMA)])),
        temperature=None if effort else draw(sampled),
        top_p=None if effort else draw(sampled),
        stops=tuple(draw(st.lists(words, max_size=4))),
        max_output=draw(st.integers(16, 9999)),
        effort=effort,
        user=draw(st.none() | names),
        tier=draw(st.sampled_from([None, "auto", "standard"])),
        extras=tuple(draw(st.lists(st.sampled_from(EXTRAS), max_size=4, unique_by=lambda extra: extra.field))),
    )


def plain(value: Any, table: Any) -> Any:
    """A part of a conversation as plain data, without places, and without what the table drops."""
    if isinstance(value, msgspec.Struct):
        gone = {"at", "stops_at", "max_output_at", "full_names"}
        gone |= {"cache"} if table[Field.CACHE] is Fate.DROPPED else set()
        fields = {name: plain(each, table) for name, each in msgspec.structs.asdict(value).items() if name not in gone}
        return {"": type(value).__name__, **fields}
    if isinstance(value, (list, tuple)):
        return [plain(each, table) for each in value]
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def canonical(asked: Conversation, record: FormatRecord) -> dict[str, Any]:
    """A conversation as a writer may leave it: turns of one role as one."""
    table, keeps_thought = record.table, record.title == "Anthropic"
    out = plain(asked, table)
    turns: list[Any] = []
    for turn in out["turns"]:
        said = [part for part in turn["parts"] if keeps_thought or part[""] != "Thought"]
        if turns and turns[-1][0] == turn["role"]:
            turns[-1][1].extend(said)
        else:
            turns.append((turn["role"], said))
    system = [part for role, said in turns if role == "system" for part in said]
    out["turns"] = [turn for turn in turns if turn[0] != "system"]
    out["instructions"] += system
    kept = [extra for extra in out["extras"] if table[Field(extra["field"])] is Fate.KEPT and extra["field"] != "cache"]
    out["extras"] = sorted(kept, key=lambda extra: extra["field"])
    return out


@pytest.mark.parametrize("record", CONVERSATIONS, ids=lambda record: record.title)
@settings(max_examples=150, deadline=None)
@given(asked=conversations())
def test_a_conversation_comes_back(record: FormatRecord, asked: Conversation) -> None:
    refused = [extra for extra in asked.extras if not isinstance(record.table[extra.field], Fate)]
    stops = asked.stops if record.table[Field.STOPS] is Fate.KEPT else ()
    asked = msgspec.structs.replace(asked, extras=tuple([it for it in asked.extras if it not in refused]), stops=stops)
    dropped: list[str] = []
    written = record.write(asked, TARGET, dropped)
    assume(record.table[Field.CACHE] is Fate.DROPPED or "cache_control" not in dropped)  # too many marks
    back = record.understand(Checked(json.loads(json.dumps(written))), "auto")
    assert canonical(back, record) == canonical(asked, record)
    named = {extra.name for extra in asked.extras if record.table[extra.field] is Fate.DROPPED}
    lost = {"thinking", "reasoning", "cache_control"}
    assert named <= set(dropped) <= named | lost
