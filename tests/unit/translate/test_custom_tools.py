"""A custom tool, whose input is plain text, becomes a function for a format without custom tools, and its call comes
back as a call of the custom tool.
"""

from __future__ import annotations

import json

import pytest

from support import translate
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Event, Signal
from weir_router.dialects.neutral import custom
from weir_router.errors import AttemptFailed

PATCH = {
    "type": "custom",
    "custom": {
        "name": "apply_patch",
        "description": "Edits files.",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: begin hunk+"}},
    },
}
OTHER = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
INPUT = '*** Begin Patch\n+say("hé")\n*** End Patch'
CALL = {"id": "call_1", "type": "custom", "custom": {"name": "apply_patch", "input": INPUT}}
HISTORY = [
    {"role": "user", "content": "Patch it"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "Done"},
]


def asked(openai_ask, **more):
    """An ask whose conversation is made, as an attempt has it when the answer comes."""
    ask = openai_ask(tools=[PATCH, OTHER], messages=HISTORY, **more)
    dropped: list[str] = []
    return ask, translate.request(ask, Format.ANTHROPIC_MESSAGES, dropped=dropped), dropped


def test_it_becomes_a_function_with_its_grammar_in_words(openai_ask):
    _, made, dropped = asked(openai_ask, tool_choice={"type": "custom", "custom": {"name": "apply_patch"}})
    tool = made["tools"][0]
    assert tool["name"] == "apply_patch"
    assert tool["description"] == "Edits files.\n\nThe input must match this lark grammar:\nstart: begin hunk+"
    assert tool["input_schema"] == custom.schema()
    assert made["tool_choice"] == {"type": "tool", "name": "apply_patch"}
    assert made["messages"][1]["content"][0]["input"] == {"input": INPUT}
    assert dropped == ["grammar"]


def test_it_is_a_function_for_servers_of_chat_completions_too(anthropic_ask, openai_ask):
    _, made, _ = asked(openai_ask)
    back = translate.request(anthropic_ask(**made), Format.OPENAI_CHAT)
    assert json.loads(back["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"input": INPUT}


@pytest.mark.parametrize("given", [{"input": INPUT}, {"input": INPUT, "more": 1}])
def test_its_call_comes_back(openai_ask, given):
    ask, _, _ = asked(openai_ask)
    blocks = [{"type": "tool_use", "id": "t1", "name": "apply_patch", "input": given}]
    blocks.append({"type": "tool_use", "id": "t2", "name": "other", "input": {"input": "x"}})
    answer = {"id": "msg_1", "model": "m", "content": blocks, "stop_reason": "tool_use", "usage": {}}
    shown = translate.response(answer, Format.OPENAI_CHAT, ask)["choices"][0]["message"]["tool_calls"]
    assert shown[0] == {**CALL, "id": "t1"}
    assert shown[1]["function"] == {"name": "other", "arguments": '{"input":"x"}'}


def test_arguments_of_another_form_are_the_input(openai_ask):
    ask, _, _ = asked(openai_ask)
    block = {"type": "tool_use", "id": "t1", "name": "apply_patch", "input": {"patch": "x"}}
    answer = {"id": "msg_1", "model": "m", "content": [block], "stop_reason": "tool_use", "usage": {}}
    shown = translate.response(answer, Format.OPENAI_CHAT, ask)["choices"][0]["message"]["tool_calls"]
    assert shown[0]["custom"]["input"] == '{"patch":"x"}'


def test_its_call_comes_back_in_a_stream(openai_ask):
    ask, _, _ = asked(openai_ask)
    renderer = translate.stream(Format.OPENAI_CHAT, ask)
    arguments = json.dumps({"input": INPUT})
    out = b""
    for payload in [
        {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {}}},
        start(0, "apply_patch"),
        *[delta(0, arguments[at : at + 5]) for at in range(0, len(arguments), 5)],
        start(1, "other"),
        delta(1, "{}"),
        start(2, "apply_patch"),
        delta(2, '{"input": "cut o'),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
    ]:
        out += renderer.feed(Event(b"", None, b""), payload, Signal.NONE)
    chunks = [json.loads(line[6:]) for line in (out + renderer.end()).split(b"\n\n") if line[6:7] == b"{"]
    calls = [call for chunk in chunks for it in chunk["choices"] for call in it["delta"].get("tool_calls", ())]
    assert [call["type"] for call in calls if "type" in call] == ["custom", "function", "custom"]
    texts = {
        at: [call["custom"]["input"] for call in calls if "custom" in call and call["index"] == at] for at in (0, 2)
    }
    assert "".join(texts[0]) == INPUT
    assert "".join(texts[2]) == '{"input": "cut o'


def start(index, name):
    block = {"type": "tool_use", "id": f"t{index}", "name": name, "input": {}}
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index, text):
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "input_json_delta", "partial_json": text},
    }


def test_an_endless_input_is_malformed(openai_ask):
    ask, _, _ = asked(openai_ask)
    renderer = translate.stream(Format.OPENAI_CHAT, ask)
    feed = lambda payload: renderer.feed(Event(b"", None, b""), payload, Signal.NONE)
    feed(start(0, "apply_patch"))
    for _ in range(16):
        feed(delta(0, "x" * 65_536))
    with pytest.raises(AttemptFailed, match="characters as the input of custom tools"):
        feed(delta(0, "x"))
