"""Tools in the forms in which Codex sends them: in namespaces, among the items, and beside a search at OpenAI."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from support import translate
from support.drawn_answers import events_of
from support.responses_grammar import events_of as read_events
from support.responses_grammar import violation
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Event, Signal
from weir_router.dialects.neutral.answer import Answer, Usage
from weir_router.dialects.neutral.conversation import Call
from weir_router.dialects.openai_responses import request
from weir_router.dialects.registry import record_of
from weir_router.errors import BadRequest
from weir_router.estimate.prompt import Prompt

SPAWN = {"type": "function", "name": "spawn", "parameters": {"type": "object", "properties": {}}, "strict": False}
EXEC = {"type": "custom", "name": "exec", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}}
AGENTS = {"type": "namespace", "name": "agents", "description": "d", "tools": [SPAWN]}
FUNCTIONS = {"type": "namespace", "name": "functions", "description": "d", "tools": [EXEC]}
SEARCH = {"type": "web_search", "external_web_access": False}
USER = {"role": "user", "content": "Hi"}
TOOLS = {"type": "additional_tools", "role": "developer", "tools": [AGENTS, FUNCTIONS]}
UPSTREAMS = pytest.mark.parametrize("to", [Format.OPENAI_CHAT, Format.ANTHROPIC_MESSAGES])


def read(**body: Any) -> Ask:
    return request.read(msgspec.json.encode({"model": "auto", "input": [USER], "stream": True, **body}), {})


def names(made: Any) -> list[str]:
    return [tool["function"]["name"] if "function" in tool else tool["name"] for tool in made["tools"]]


@UPSTREAMS
@pytest.mark.parametrize(
    "body", [{"tools": [AGENTS, FUNCTIONS]}, {"input": [TOOLS, USER]}], ids=["in their field", "among the items"]
)
def test_tools_of_namespaces_have_one_name(to, body):
    ask = read(**body)
    assert ask.prompt.tools == 2
    assert ask.prompt.extra_chars > 200
    assert names(translate.request(ask, to)) == ["agents__spawn", "functions__exec"]


@UPSTREAMS
def test_calls_name_the_namespace_again(to):
    ask = read(input=[TOOLS, USER])
    translate.request(ask, to)
    calls = (Call("c1", "agents__spawn", "{}"), Call("c2", "functions__exec", json.dumps({"input": "text(1)"})))
    answer = Answer("a1", "m", calls, "tools", Usage())
    asked = Ask(to, "m", True, {"model": "m"}, {}, Prompt(()))
    plain = record_of(to).write_answer(answer, asked, 0, "")
    whole = translate.response(plain, Format.OPENAI_RESPONSES, ask, upstream=to)
    shown = [(item["type"], item["namespace"], item["name"]) for item in whole["output"]]
    assert shown == [("function_call", "agents", "spawn"), ("custom_tool_call", "functions", "exec")]
    assert whole["output"][1]["input"] == "text(1)"
    writer = record_of(to).event_writer(asked, 0, "")
    sent = b"".join([writer.write(event) for event in events_of(answer)]) + writer.end()
    renderer, out = translate.stream(Format.OPENAI_RESPONSES, ask, upstream=to), b""
    for event in read_events(sent):
        payload = event.data if isinstance(event.data, dict) else None
        out += renderer.feed(Event(b"", None, b""), payload, Signal.NONE if payload else Signal.DONE)
    events = read_events(out + renderer.end())
    assert violation(events) is None
    last = events[-1].data["response"]["output"]
    assert [{**item, "id": None} for item in last] == [{**item, "id": None} for item in whole["output"]]


@UPSTREAMS
def test_calls_of_the_history_have_the_one_name(to):
    call = {"type": "function_call", "call_id": "c1", "namespace": "agents", "name": "spawn", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "done"}
    made = json.dumps(translate.request(read(tools=[AGENTS], input=[USER, call, output]), to)["messages"])
    assert "agents__spawn" in made


@UPSTREAMS
def test_a_long_name_is_shortened_and_whole_again(to):
    long = {**AGENTS, "name": "n" * 70}
    ask = read(tools=[long])
    (short,) = names(translate.request(ask, to))
    assert len(short) <= 64
    answer = Answer("a1", "m", (Call("c1", short, "{}"),), "tools", Usage())
    plain = record_of(to).write_answer(answer, Ask(to, "m", False, {"model": "m"}, {}, Prompt(())), 0, "")
    (item,) = translate.response(plain, Format.OPENAI_RESPONSES, ask, upstream=to)["output"]
    assert (item["namespace"], item["name"]) == ("n" * 70, "spawn")


@UPSTREAMS
def test_a_search_beside_tools_is_left_out_and_named(to):
    dropped: list[str] = []
    made = translate.request(read(tools=[SPAWN, SEARCH]), to, dropped=dropped)
    assert names(made) == ["spawn"]
    assert dropped == ["web_search"]


@UPSTREAMS
@pytest.mark.parametrize("tool", [SEARCH, {"type": "mcp", "server_label": "x"}, {"type": "code_interpreter"}])
def test_a_tool_at_openai_that_is_wanted_is_refused(to, tool):
    more = [] if tool is SEARCH else [SPAWN]
    with pytest.raises(BadRequest, match=r"know no tool of type '(web_search|mcp|code_interpreter)'"):
        translate.request(read(tools=[tool, *more]), to)


@UPSTREAMS
def test_a_choice_of_a_tool_at_openai_is_refused(to):
    with pytest.raises(BadRequest, match="know no choice of type 'web_search'"):
        translate.request(read(tools=[SPAWN, SEARCH], tool_choice={"type": "web_search"}), to)
