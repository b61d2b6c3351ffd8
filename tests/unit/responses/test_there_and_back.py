"""A request of this format that is understood, written again and understood once more has kept its meaning."""

from __future__ import annotations

import json
import string
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_router.contract import Traits
from weir_router.dialects.neutral.checked import Checked
from weir_router.dialects.neutral.conversation import Conversation
from weir_router.dialects.neutral.table import Fate, Field
from weir_router.dialects.neutral.target import Target
from weir_router.dialects.openai_responses.understand import understand
from weir_router.dialects.openai_responses.write import TABLE, write

REALM = "0a1b2c3d"
TARGET = Target(REALM, Traits(efforts=("none", "low", "medium", "high")))
PNG = "data:image/png;base64,iVBORw0KGgo="

words = st.text(string.ascii_letters + " äß👋\n", min_size=1, max_size=9)
names = st.text(string.ascii_letters + "_-", min_size=1, max_size=8)
given_parts = st.one_of(
    words.map(lambda text: {"type": "input_text", "text": text}),
    st.sampled_from([{"type": "input_image", "image_url": url} for url in (PNG, "https://x/y.png")]),
    names.map(lambda name: {"type": "input_file", "filename": name, "file_data": "data:application/pdf;base64,AAAA"}),
)
said_parts = st.one_of(
    words.map(lambda text: {"type": "output_text", "text": text, "annotations": []}),
    words.map(lambda text: {"type": "refusal", "refusal": text}),
)
user = st.one_of(words, st.lists(given_parts, min_size=1, max_size=3)).map(lambda it: {"role": "user", "content": it})
system = st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "developer"]), words)
assistant = st.one_of(words, st.lists(said_parts, min_size=1, max_size=2)).map(
    lambda it: {"type": "message", "role": "assistant", "content": it}
)
reasoning = st.one_of(
    st.builds(
        lambda text, blob: {
            "type": "reasoning",
            "id": "rs",
            "summary": [{"type": "summary_text", "text": text}],
            "encrypted_content": f"w1.{REALM}.{blob}",
        },
        words,
        names,
    ),
    names.map(lambda blob: {"type": "reasoning", "summary": [], "encrypted_content": f"w1.{REALM}.{blob}"}),
    words.map(lambda text: {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}),
)


@st.composite
def exchanges(draw: st.DrawFn, number: int) -> list[Any]:
    """A question, and what the model did about it: it thought, spoke, and called tools, whose outputs follow."""
    items = [*draw(st.lists(system, max_size=1)), draw(user)]
    items += [*draw(st.lists(reasoning, max_size=1)), draw(assistant)]
    outputs = []
    for at in range(draw(st.integers(0, 2))):
        identity, custom = f"call_{number}_{at}", draw(st.booleans())
        call = {"call_id": identity, "name": draw(names)}
        if custom:
            items.append({"type": "custom_tool_call", **call, "input": draw(words)})
        else:
            items.append({"type": "function_call", **call, "arguments": json.dumps({"a": draw(words)})})
        output = draw(st.one_of(words, st.lists(given_parts, min_size=1, max_size=2)))
        kind = "custom_tool_call_output" if custom else "function_call_output"
        outputs.append({"type": kind, "call_id": identity, "output": output})
    return [*items, *outputs]


tools = st.one_of(
    st.builds(
        lambda name, strict: {"type": "function", "name": name, "parameters": {"type": "object"}, "strict": strict},
        names,
        st.booleans(),
    ),
    names.map(lambda name: {"type": "custom", "name": name, "description": "d"}),
    names.map(
        lambda name: {
            "type": "custom",
            "name": name,
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
        }
    ),
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "instructions": words,
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "max_output_tokens": st.integers(16, 9999),
    "parallel_tool_calls": st.booleans(),
    "text": st.sampled_from(
        [
            {"format": {"type": "json_object"}, "verbosity": "low"},
            {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
        ]
    ),
    "reasoning": st.sampled_from([{"effort": "low"}, {"effort": "none"}, {"effort": "high", "summary": "auto"}]),
    "user": names,
    "service_tier": st.sampled_from(["auto", "default", "flex"]),
    "metadata": st.just({"a": "b"}),
    "prompt_cache_key": names,
    "truncation": st.just("auto"),
    "max_tool_calls": st.integers(1, 9),
    "include": st.sampled_from([["reasoning.encrypted_content"], ["web_search_call.results"]]),
    "store": st.booleans(),
    "tool_choice": st.sampled_from(["auto", "none", "required", {"type": "function", "name": "f"}]),
}


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    items = [it for number in range(draw(st.integers(1, 3))) for it in draw(exchanges(number))]
    offered = draw(st.lists(tools, min_size=1, max_size=3, unique_by=lambda tool: tool["name"]))
    return {
        "model": "auto",
        "input": [*items, draw(user)],
        "tools": offered,
        **draw(st.fixed_dictionaries({}, optional=OPTIONS)),
    }


def plain(value: Any) -> Any:
    """A part of a conversation as plain data, without places."""
    if isinstance(value, msgspec.Struct):
        gone = {"at", "stops_at", "max_output_at"}
        fields = {name: plain(it) for name, it in msgspec.structs.asdict(value).items() if name not in gone}
        return {"": type(value).__name__, **fields}
    return [plain(it) for it in value] if isinstance(value, (list, tuple)) else value


def meaning(asked: Conversation) -> dict[str, Any]:
    """A conversation without what the table drops, and without what an OpenAI model gets in another form."""
    out: dict[str, Any] = plain(asked)
    kept = [it for it in out["extras"] if TABLE[Field(it["field"])] is Fate.KEPT and it["field"] != "grammar"]
    out["extras"] = sorted(kept, key=lambda extra: extra["field"])
    out["parallel"] = False if asked.parallel is False else None
    out["tools"] = [
        {**tool, "parameters": tool["parameters"] and {"type": "object", "properties": {}}} for tool in out["tools"]
    ]
    for turn in out["turns"]:
        for part in turn["parts"]:
            if part[""] == "Result" and all(it[""] == "Text" for it in part["parts"]):
                part["parts"] = "\n".join(it["text"] for it in part["parts"])  # one text, which every server takes
            elif part[""] == "Thought" and part["opaque"] is None:
                part["opaque"] = "lost"
            elif part[""] == "Thought" and part["opaque"]["blob"] == "reasoning_text":
                part["opaque"] = "in plain text"
            elif part[""] == "Thought":
                part["opaque"].pop("realm")  # an upstream gets no mark
    return out


@settings(max_examples=150, deadline=None)
@given(bodies())
def test_a_request_keeps_its_meaning(body: dict[str, Any]) -> None:
    first = understand(Checked(body), "auto")
    # Reasoning in plain text has no mark: it is of this realm if its server has sent it.
    turns = tuple([msgspec.structs.replace(turn, parts=tuple(map(own, turn.parts))) for turn in first.turns])
    written = write(msgspec.structs.replace(first, turns=turns), TARGET)
    second = understand(Checked(json.loads(json.dumps(written))), "auto")
    assert meaning(second) == meaning(first)


def own(part: Any) -> Any:
    opaque = getattr(part, "opaque", None)
    if opaque is not None and opaque.realm == "":
        return msgspec.structs.replace(part, opaque=msgspec.structs.replace(opaque, realm=REALM))
    return part
