"""Conversations with tools and reasoning while backends of all formats fail at random: every request falls to another
format, and none is refused, no call is lost, and no model gets reasoning that another one has encrypted.

`WEIR_CONVERSATIONS=200` makes more of them: `make full` does.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from clients import script, strict_anthropic, strict_openai, strict_responses
from clients.stage import TOOLS
from support.scripted import Asked, Piece, policy, router, tier, upstream, whole

CONVERSATIONS = int(os.environ.get("WEIR_CONVERSATIONS", "12"))
TURNS = 10
FAILS = 0.25
"""Share of requests at which a backend fails."""

TRIES = 40
"""Requests for one answer: a caller asks again if every backend has failed, or a stream has broken."""

AT_ONCE = 4

TIGHT = {"consecutiveFailures": 100, "minimumRequests": 10000}
"""A breaker that never opens: each backend is tried again at once."""


class Model:
    """A strict model of one format that fails at random."""

    def __init__(self, format: Any, faults: list[str], rng: random.Random, **more: Any) -> None:
        self._format = format
        self._check = more.pop("check")
        self._answer = more.pop("answer", format.answer)
        self._faults = faults
        self._rng = rng
        self.served = 0

    def __call__(self, asked: Asked) -> Iterable[Piece]:
        try:
            self._check(asked)
        except self._format.Refused as refused:
            self._faults.append(f"{asked.path}: {refused}")
            return [self._format.refusal(str(refused))]
        if self._rng.random() < FAILS:
            return self._failing(asked)
        self.served += 1
        return list(self._said(asked))

    def _said(self, asked: Asked) -> Iterable[bytes]:
        history = self._format.history(asked.body)
        for number, happened in enumerate(history):
            expected = [(call, script.result(call)) for call in script.turn(number, TURNS).calls]
            if happened != expected:
                self._faults.append(f"turn {number}: {happened} instead of {expected}")
        answer: Iterable[bytes] = self._answer(asked.body, script.turn(len(history), TURNS), len(history))
        return answer

    def _failing(self, asked: Asked) -> list[Piece]:
        if not asked.body.get("stream") or self._rng.random() < 0.5:
            return [whole({"error": {"message": "Overloaded", "type": "server_error"}}, 503)]
        pieces = list(self._said(asked))
        return list(pieces[: self._rng.randrange(len(pieces))])  # the stream breaks off


async def asked_again(session: aiohttp.ClientSession, url: str, body: Any) -> Any:
    """The answer, after as many requests as it takes."""
    for _ in range(TRIES):
        async with session.post(url, json=body) as answer:
            if answer.status == 200 and not body.get("stream"):
                return await answer.json()
            if answer.status == 200:
                items, ended = streamed(await answer.read())
                if ended:
                    return {"output": items}
            else:
                assert answer.status >= 500, await answer.text()
    raise AssertionError("no answer")


def streamed(raw: bytes) -> tuple[list[Any], bool]:
    """The items of a stream, and whether it is complete."""
    events = [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: {")]
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    return items, events[-1]["type"] == "response.completed"


def responses(stream: bool, body: Any) -> Callable[[Any], Iterator[tuple[Any, str]]]:
    """A caller of the Responses API: the request, and what it makes of an answer."""
    reasoning = {"reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    tools = [{"type": "function", "strict": False, **tool} for tool in TOOLS]
    body |= {
        "input": [{"role": "user", "content": body.pop("prompt")}],
        "tools": tools,
        "stream": stream,
        "store": False,
    }
    body |= reasoning

    def take(answer: Any) -> Iterator[tuple[Any, str]]:
        body["input"] += answer["output"]
        for item in answer["output"]:
            if item["type"] == "function_call":
                call = script.Call(item["name"], json.loads(item["arguments"]))
                output = {"type": "function_call_output", "call_id": item["call_id"], "output": script.result(call)}
                body["input"].append(output)
                yield call, ""
            elif item["type"] == "message":
                yield None, item["content"][0]["text"]

    return take


def chat(body: Any) -> Callable[[Any], Iterator[tuple[Any, str]]]:
    """A caller of chat completions that sends back the fields of OpenAI's own answers."""
    tools = [{"type": "function", "function": tool} for tool in TOOLS]
    body |= {"messages": [{"role": "user", "content": body.pop("prompt")}], "tools": tools, "reasoning_effort": "high"}

    def take(answer: Any) -> Iterator[tuple[Any, str]]:
        given = answer["choices"][0]["message"]
        message = {name: given[name] for name in ("role", "content", "refusal", "tool_calls") if name in given}
        body["messages"].append(message)
        yield None, message["content"] or ""
        for it in message.get("tool_calls", ()):
            call = script.Call(it["function"]["name"], json.loads(it["function"]["arguments"]))
            body["messages"].append({"role": "tool", "tool_call_id": it["id"], "content": script.result(call)})
            yield call, ""

    return take


def messages(body: Any) -> Callable[[Any], Iterator[tuple[Any, str]]]:
    """A caller of Anthropic's messages that thinks."""
    tools = [{"name": it["name"], "description": it["description"], "input_schema": it["parameters"]} for it in TOOLS]
    body |= {"messages": [{"role": "user", "content": body.pop("prompt")}], "tools": tools, "max_tokens": 4000}
    body["thinking"] = {"type": "enabled", "budget_tokens": 2000}

    def take(answer: Any) -> Iterator[tuple[Any, str]]:
        body["messages"].append({"role": "assistant", "content": answer["content"]})
        results = []
        for it in answer["content"]:
            if it["type"] == "tool_use":
                call = script.Call(it["name"], it["input"])
                results.append({"type": "tool_result", "tool_use_id": it["id"], "content": script.result(call)})
                yield call, ""
            elif it["type"] == "text":
                yield None, it["text"]
        if results:
            body["messages"].append({"role": "user", "content": results})

    return take


CALLERS: dict[str, tuple[str, Callable[[Any], Callable[[Any], Iterator[tuple[Any, str]]]]]] = {
    "responses": ("/v1/responses", partial(responses, False)),
    "responses, streamed": ("/v1/responses", partial(responses, True)),
    "chat": ("/v1/chat/completions", chat),
    "messages": ("/v1/messages", messages),
}


async def conversation(session: aiohttp.ClientSession, url: str, caller: str, number: int) -> None:
    """Works until the model calls no tool. Every call came once, and the last text is whole."""
    path, make = CALLERS[caller]
    # Each begins differently: a conversation has a home, by its beginning.
    body: dict[str, Any] = {"model": "auto", "prompt": f"Work on number {number}."}
    take = make(body)
    calls: list[Any] = []
    for _ in range(TURNS + 1):
        took = list(take(await asked_again(session, url + path, body)))
        made = [call for call, _ in took if call is not None]
        calls += made
        if not made:
            break
    assert calls == script.all_calls(TURNS), f"{caller} {number}"
    assert took[-1][1] == script.FINAL


async def test_conversations_go_on_while_backends_of_all_formats_fail(tmp_path: Path) -> None:
    faults: list[str] = []
    rng = random.Random(7)
    claude = lambda asked: strict_anthropic.check(asked.body, asked.headers, adaptive=False)
    gpt = lambda asked: strict_openai.check(asked.body, reasoning=True)
    sol = lambda asked: strict_responses.check(asked.body)
    models = [
        Model(strict_responses, faults, rng, check=sol),
        Model(strict_responses, faults, rng, check=sol, answer=partial(strict_responses.answer, terse=True)),
        Model(strict_openai, faults, rng, check=gpt),
        Model(strict_anthropic, faults, rng, check=claude),
    ]
    servers = [upstream(model) for model in models]
    async with servers[0] as first, servers[1] as second, servers[2] as third, servers[3] as fourth:
        urls = [f"{first}/v1", f"{second}/v1", f"{third}/v1", fourth]
        rows = [("gpt-5.1", "Responses"), ("gpt-5.2", "Responses"), ("gpt-5.1", "Chat"), ("claude-sonnet-4-5", None)]
        backends = [
            {"name": f"b{at}", "provider": "OpenAI" if dialect else "Anthropic", "baseURL": urls[at], "model": model}
            | ({"dialects": [dialect]} if dialect else {})
            for at, (model, dialect) in enumerate(rows)
        ]
        objects = [tier("t", *backends, selection="Weighted", breaker=TIGHT), policy("p", ["auto"], ["t"])]
        gate = asyncio.Semaphore(AT_ONCE)
        async with router(tmp_path, objects) as url, aiohttp.ClientSession() as session:

            async def one(number: int) -> None:
                async with gate:
                    await conversation(session, url, list(CALLERS)[number % len(CALLERS)], number)

            await asyncio.gather(*map(one, range(CONVERSATIONS)))
    assert faults == []
    assert all(model.served for model in models)
