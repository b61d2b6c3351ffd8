"""The writers' tables are true: kept is written, dropped changes nothing, refused names the place and a remedy."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from weir_router.dialects.anthropic import turns as anthropic_turns
from weir_router.dialects.neutral.conversation import (
    Call,
    Choice,
    Conversation,
    Document,
    Effort,
    Extra,
    Foreign,
    Grammar,
    Image,
    Result,
    Shape,
    Text,
    Thought,
    Tool,
    Turn,
    Unknown,
)
from weir_router.dialects.neutral.opaque import Opaque
from weir_router.dialects.neutral.table import Fate, Field, Refused
from weir_router.dialects.neutral.target import ANY, Target
from weir_router.dialects.openai_chat import turns as openai_turns
from weir_router.dialects.registry import CONVERSATIONS
from weir_router.errors import BadRequest

HELLO = Turn("user", (Text("Hello"),))
SIGNED = Opaque("0a1b2c3d", "c2ln")
CALL = Call("c", "f", "{}")
PATCH = Tool("patch", None, None, False, custom=True)
TOOLS = (Tool("f", None, {"type": "object", "properties": {}}, False),)
ASKED: dict[Field, dict[str, Any]] = {
    Field.INSTRUCTIONS: {"instructions": (Text("Be brief"),)},
    Field.IMAGES: {"turns": (Turn("user", (Text("Hello"), Image("at", "https://x/y.png"))),)},
    Field.DOCUMENTS: {"turns": (Turn("user", (Text("Hello"), Document("at", "application/pdf", "AAAA"))),)},
    Field.THOUGHT: {"turns": (HELLO, Turn("assistant", (Thought("hm", SIGNED), Text("a"), CALL)), HELLO)},
    Field.CALLS: {"turns": (HELLO, Turn("assistant", (Text("a"), Call("c", "f", "{}"))), HELLO)},
    Field.RESULTS: {"turns": (HELLO, Turn("assistant", (Text("a"),)), Turn("user", (Result("c", ()), Text("Hello"))))},
    Field.TOOLS: {"tools": TOOLS},
    Field.HOSTED_TOOLS: {"tools": TOOLS, "extras": (Extra(Field.HOSTED_TOOLS, "tools[1].web_search", {}),)},
    Field.CUSTOM_TOOLS: {"tools": (PATCH,)},
    Field.GRAMMAR: {
        "tools": (msgspec.structs.replace(PATCH, grammar=Grammar("lark", "start: x")),),
        "extras": (Extra(Field.GRAMMAR, "tools[0].custom.format.grammar"),),
    },
    Field.CHOICE: {"tools": TOOLS, "choice": Choice("any")},
    Field.PARALLEL: {"tools": TOOLS, "parallel": False},
    Field.SHAPE: {"shape": Shape({"type": "object"})},
    Field.TEMPERATURE: {"temperature": 0.5},
    Field.TOP_P: {"top_p": 0.5},
    Field.STOPS: {"stops": ("END",), "stops_at": "place"},
    Field.MAX_OUTPUT: {"max_output": 7},
    Field.EFFORT: {"effort": Effort("high")},
    Field.USER: {"user": "u"},
    Field.TIER: {"tier": "auto"},
    Field.CACHE: {
        "turns": (Turn("user", (Text("Hello", cache=""),)),),
        "extras": (Extra(Field.CACHE, "cache_control"),),
    },
}
BARE: dict[Field, dict[str, Any]] = {
    Field.THOUGHT: {"turns": (HELLO, Turn("assistant", (Text("a"), CALL)), HELLO)},
    Field.CALLS: {"turns": (HELLO, Turn("assistant", (Text("a"),)), HELLO)},
    Field.RESULTS: {"turns": (HELLO, Turn("assistant", (Text("a"),)), HELLO)},
    Field.HOSTED_TOOLS: {"tools": TOOLS},
    Field.GRAMMAR: {"tools": (PATCH,)},
    Field.CHOICE: {"tools": TOOLS},
    Field.PARALLEL: {"tools": TOOLS},
}
"""The same conversation without the field, where that is not a plain hello."""

records = pytest.mark.parametrize("record", CONVERSATIONS, ids=lambda record: record.title)
fields = pytest.mark.parametrize("field", Field)


def conversation(**more: Any) -> Conversation:
    return Conversation(**{"model": "auto", "turns": (HELLO,), **more})


def asked(field: Field) -> dict[str, Any]:
    return ASKED.get(field) or {"extras": (Extra(field, "place", "value"),)}


@records
def test_a_table_has_a_row_for_each_field(record):
    assert set(record.table) == set(Field)


@records
@fields
def test_a_field_has_the_fate_that_its_row_says(record, field):
    without, fate = record.write(conversation(**BARE.get(field, {}))), record.table[field]
    if isinstance(fate, Refused):
        with pytest.raises(BadRequest) as raised:
            record.write(conversation(**asked(field)))
        assert (raised.value.message, raised.value.param) == (f"place: {fate.why}; {fate.do}", "place")
    else:
        dropped: list[str] = []
        written = record.write(conversation(**asked(field)), ANY, dropped)
        assert (written != without) is (fate in (Fate.KEPT, Fate.APPROXIMATED))
        assert bool(dropped) is (fate is not Fate.KEPT)
    if fate is Fate.BY_MODEL:
        assert record.write(conversation(**asked(field)), Target(SIGNED.realm)) != without


@pytest.mark.parametrize("foreign", [openai_turns.FOREIGN, anthropic_turns.FOREIGN])
def test_each_kind_of_foreign_thing_has_a_reason_and_a_remedy(foreign):
    assert set(foreign) == set(Unknown)


@records
@pytest.mark.parametrize(
    "more",
    [
        {"turns": (Turn("user", (Foreign(Unknown.PART, "smell", "at"),)),)},
        {"turns": (HELLO, Turn("assistant", (Foreign(Unknown.CALL, "smell", "at"),)))},
        {"turns": (Turn("user", (Result("c", (Foreign(Unknown.IMAGE, "smell", "at"),)),)),)},
        {"tools": (Foreign(Unknown.TOOL, "smell", "at"),)},
        {"choice": Foreign(Unknown.CHOICE, "smell", "at")},
    ],
)
def test_something_foreign_is_refused_with_its_place(record, more):
    with pytest.raises(BadRequest, match=r"^at: .*'smell'") as raised:
        record.write(conversation(**more))
    assert raised.value.param == "at"
