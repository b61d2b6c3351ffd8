"""An agent's conversation of twenty turns with tools, against an upstream that refuses what real ones refuse."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest

from support import translate
from weir_router.contract import Recall, Thinking, Traits
from weir_router.dialects.axes import Format
from weir_router.dialects.neutral.target import Target

REALM = "0a1b2c3d"
TOOLS = ["mcp__plugin_example-channel-strategist_example-analytics__get_video_transcript_" + kind for kind in "ab"]
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def openai_upstream(body: dict[str, Any], turn: int, recall: Recall | None) -> dict[str, Any]:
    """Checks a request as OpenAI, DeepSeek and Gemini do, and answers with two calls of the same id each time."""
    offered = [tool["function"]["name"] for tool in body["tools"]]
    assert all(NAME.fullmatch(name) for name in offered)
    calls: list[str] = []
    answered: list[str] = []
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            assert call["function"]["name"] in offered
            assert len(call["id"]) <= 40
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            calls.append(call["id"])
        if message.get("tool_calls") and recall is Recall.TEXT:
            assert message["reasoning_content"] == "Which one?"
        if message.get("tool_calls") and recall is Recall.SIGNATURE:
            assert message["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == "c2ln"
        if message["role"] == "tool":
            answered.append(message["tool_call_id"])
    assert calls == answered
    assert len(set(calls)) == len(calls) == 2 * turn
    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}} if recall is Recall.SIGNATURE else {}
    made = [
        {
            "id": f"call_{at}",
            "type": "function",
            "function": {"name": name, "arguments": '{"at":1}'},
            **(signed if at == 0 else {}),
        }
        for at, name in enumerate(offered)
    ]
    message = {"role": "assistant", "content": None, "reasoning_content": "Which one?", "tool_calls": made}
    return {
        "id": f"c{turn}",
        "model": "m",
        "choices": [{"message": message, "finish_reason": "tool_calls"}],
        "usage": {},
    }


@pytest.mark.parametrize("recall", [None, *Recall])
def test_an_anthropic_caller_on_an_openai_upstream(anthropic_ask, recall):
    history: list[dict[str, Any]] = [{"role": "user", "content": "Go"}]
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in TOOLS]
    target = Target(REALM, Traits(recall=recall))
    thinking = {"type": "enabled", "budget_tokens": 1024}
    for turn in range(20):
        ask = anthropic_ask(messages=list(history), tools=tools, thinking=thinking, max_tokens=4000)
        body = translate.request(ask, Format.OPENAI_CHAT, target)
        answer = translate.response(openai_upstream(body, turn, recall), Format.ANTHROPIC_MESSAGES, ask, realm=REALM)
        uses = [block for block in answer["content"] if block["type"] == "tool_use"]
        assert [use["name"] for use in uses] == TOOLS
        results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "done"} for use in uses]
        history += [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results}]


def claude(body: dict[str, Any], turn: int, *, adaptive: bool) -> dict[str, Any]:
    """Checks a request as Anthropic does, and answers with two calls."""
    kind = body.get("thinking", {}).get("type")
    assert kind in ((None, "adaptive") if adaptive else (None, "enabled"))
    assert all(NAME.fullmatch(tool["name"]) for tool in body["tools"])
    turns = body["messages"]
    assert [message["role"] for message in turns] == ["user", "assistant"] * turn + ["user"]
    seen: set[str] = set()
    for before, after in pairwise(turns):
        if before["role"] != "assistant":
            continue
        used = [block["id"] for block in before["content"] if block["type"] == "tool_use"]
        assert not seen & set(used)
        seen |= set(used)
        assert [block["tool_use_id"] for block in after["content"] if block["type"] == "tool_result"] == used
    last = turns[-2]["content"][0] if turn else {"type": "thinking"}
    assert kind != "enabled" or last["type"] == "thinking"
    uses = [
        {"type": "tool_use", "id": f"toolu_{turn}_{at}", "name": tool["name"], "input": {}}
        for at, tool in enumerate(body["tools"])
    ]
    thought = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}] if kind else []
    return {"id": f"m{turn}", "model": "m", "content": thought + uses, "stop_reason": "tool_use", "usage": {}}


@pytest.mark.parametrize("keeps_details", [True, False])
@pytest.mark.parametrize("adaptive", [True, False])
def test_an_openai_caller_on_claude(openai_ask, adaptive, keeps_details):
    history: list[dict[str, Any]] = [{"role": "user", "content": "Go"}]
    tools = [{"type": "function", "function": {"name": name}} for name in TOOLS]
    traits = (
        Traits(thinking=Thinking.ADAPTIVE, efforts=("low", "medium", "high"), no_prefill=True) if adaptive else Traits()
    )
    for turn in range(20):
        ask = openai_ask(messages=list(history), tools=tools, reasoning_effort="high")
        body = translate.request(ask, Format.ANTHROPIC_MESSAGES, Target("", traits, 64_000))
        answer = translate.response(claude(body, turn, adaptive=adaptive), Format.OPENAI_CHAT, ask)
        message = answer["choices"][0]["message"]
        if not keeps_details:
            message.pop("reasoning_details", None)
        assert [call["function"]["name"] for call in message["tool_calls"]] == TOOLS
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in message["tool_calls"]]
        history += [message, *results]
