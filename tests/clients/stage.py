"""A router before strict models, one of each format or more, and the agents that work on them through it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from clients import installed, script, strict_anthropic, strict_openai, strict_responses
from clients.script import Call, Turn
from support.scripted import Asked, policy, router, tier, upstream
from support.tap import Tap, tapped

OPENAI, ANTHROPIC, ADAPTIVE, RESPONSES = "auto-openai", "auto-anthropic", "auto-adaptive", "auto-responses"
"""Names by which callers ask for the models."""

NEWEST = "gpt-6-sol"
"""A name that Codex knows, of the model behind Chat Completions."""

MODELS = {OPENAI: "gpt-5.1", ANTHROPIC: "claude-sonnet-4-5", ADAPTIVE: "claude-opus-4-8", RESPONSES: "gpt-5.1"}
"""The models, as the catalogue knows them: the first Claude thinks within a budget, the other as it sees fit."""

KEY = "unused"
"""Clients insist on a key; the router asks for none."""

MAX_NAME = 64
"""Characters of a tool's name that OpenAI accepts."""

SEARCH = "ToolSearch"
"""The tool of Claude Code after whose call there are more tools."""

COMMON = 32
"""Characters that a shortened name has in common with the whole one, at least."""

Script = Callable[[int], Turn]
"""Says what the model answers after so many turns with calls."""

IsResult = Callable[[Call, str], bool]
"""Says whether a text is the result of a call."""


class Stage:
    """The stage as a test sees it: the models' script, and the faults that models and `tap` have found."""

    def __init__(self, script: Script, is_result: IsResult, history: bool) -> None:
        self.faults: list[str] = []
        self.requests: list[Asked] = []
        self._script = script
        self._is_result = is_result
        self._history = history
        self.broken: set[int] = set()  # numbers of the requests whose answer breaks off, from 1
        self.tap: Tap
        self._before: Any = None  # the last request, as a provider's cache of prompts sees it

    @property
    def url(self) -> str:
        """The router's URL for clients: that of the tap before it."""
        return self.tap.url

    def openai(self, asked: Asked) -> Iterable[bytes]:
        """An answer of the model behind Chat Completions."""
        self.requests.append(asked)
        try:
            strict_openai.check(asked.body, reasoning=True)
        except strict_openai.Refused as refused:
            self.faults.append(str(refused))
            return [strict_openai.refusal(str(refused))]
        done = self._checked(asked, strict_openai)
        return self._sent(strict_openai.answer(asked.body, self._said(done, asked), done))

    def responses(self, asked: Asked) -> Iterable[bytes]:
        """An answer of the model behind the Responses API."""
        self.requests.append(asked)
        try:
            strict_responses.check(asked.body)
        except strict_responses.Refused as refused:
            self.faults.append(str(refused))
            return [strict_responses.refusal(str(refused))]
        done = self._checked(asked, strict_responses)
        return self._sent(strict_responses.answer(asked.body, self._said(done, asked), done))

    def anthropic(self, asked: Asked) -> Iterable[bytes]:
        """An answer of a model behind the Messages API."""
        self.requests.append(asked)
        try:
            strict_anthropic.check(asked.body, asked.headers, adaptive=asked.body["model"] == MODELS[ADAPTIVE])
        except strict_anthropic.Refused as refused:
            self.faults.append(str(refused))
            return [strict_anthropic.refusal(str(refused))]
        done = self._checked(asked, strict_anthropic)
        return self._sent(strict_anthropic.answer(asked.body, self._said(done, asked), done))

    def _sent(self, answer: Iterable[bytes]) -> Iterable[bytes]:
        pieces = list(answer)
        return pieces[: len(pieces) // 2] if len(self.requests) in self.broken else pieces

    def _said(self, done: int, asked: Asked) -> Turn:
        """The turn, with the names that tools have in this request."""
        tools = [it.get("function", it).get("name", "") for it in asked.body.get("tools") or ()]
        turn = self._script(done)
        named = [it._replace(name=next((n for n in tools if is_short(it.name, n)), it.name)) for it in turn.calls]
        return turn._replace(calls=tuple(named))

    def _checked(self, asked: Asked, format: Any) -> int:
        """Turns so far; notes each call or result that did not come back as it was."""
        if not self._history:
            return 0
        history: list[list[tuple[Call, str]]] = format.history(asked.body)
        if "input" in asked.body:
            asked = asked._replace(body={**asked.body, "input": strict_responses.conversation(asked.body)})
        self._check_prefix(asked.body, len(history))
        for number, happened in enumerate(history):
            expected = self._script(number).calls
            if len(happened) != len(expected):
                self.faults.append(f"turn {number}: {len(happened)} calls instead of {len(expected)}")
            for call, (seen, result) in zip(expected, happened, strict=False):
                same = seen.arguments == call.arguments and (seen.name == call.name or is_short(call.name, seen.name))
                if not same or not self._is_result(call, result):
                    self.faults.append(f"turn {number}: {seen} {result!r} instead of {call}")
        return len(history)

    def _check_prefix(self, body: dict[str, Any], number: int) -> None:
        """Notes a request that does not begin with the one before: the provider's cache would be of no use."""
        system, said = body.get("system", body.get("instructions")), body.get("messages", body.get("input"))
        now = [_uncounted(it) for it in (body.get("tools"), system, said)]
        if number:
            tools, system, messages = self._before
            found = any(call.name == SEARCH for call in self._script(number - 1).calls)
            if (system, messages) != (now[1], now[2][: len(messages)]) or (tools != now[0] and not found):
                self.faults.append(f"turn {number}: the request does not begin as the one before: {self._before} {now}")
        self._before = now


def _uncounted(value: Any) -> Any:
    """A part of a request without its marks for the cache, and with texts in one form."""
    if isinstance(value, list):
        return [_uncounted(it) for it in value]
    if not isinstance(value, dict):
        return value
    if isinstance(content := value.get("content"), str):
        value = {**value, "content": [{"type": "text", "text": content}]}
    return {name: _uncounted(it) for name, it in value.items() if name != "cache_control"}


def is_short(name: str, seen: str) -> bool:
    """Whether `seen` stands for a `name` that is too long for OpenAI."""
    return len(name) > MAX_NAME and len(seen) <= MAX_NAME and seen.startswith(name[:COMMON])


def usual(call: Call, result: str) -> bool:
    """Whether this is the result that the drivers give."""
    return result == script.result(call)


@contextlib.asynccontextmanager
async def stage(
    folder: Path, script: Script, is_result: IsResult = usual, *, history: bool = True
) -> AsyncIterator[Stage]:
    """The models, and a router that serves each under its name; without `history` they do not compare what was said."""
    made = Stage(script, is_result, history)
    servers = upstream(made.openai), upstream(made.anthropic), upstream(made.responses)
    async with servers[0] as openai, servers[1] as anthropic, servers[2] as responses:
        objects = [
            tier("r", {**_backend("OpenAI", f"{responses}/v1", RESPONSES), "dialects": ["Responses"]}),
            policy("r", [RESPONSES], ["r"]),
            tier("o", _backend("OpenAI", f"{openai}/v1", OPENAI)),
            tier("a", _backend("Anthropic", anthropic, ANTHROPIC)),
            policy("o", [OPENAI, NEWEST], ["o"]),
            policy("a", [ANTHROPIC], ["a"]),
            tier("d", _backend("Anthropic", anthropic, ADAPTIVE)),
            policy("d", [ADAPTIVE], ["d"]),
        ]
        async with router(folder, objects) as url, tapped(url) as tap:
            made.tap = tap
            yield made
            made.faults += tap.offences


def _backend(provider: str, url: str, name: str) -> dict[str, Any]:
    price = {"input": "1", "output": "2"}
    return {"name": "model", "provider": provider, "baseURL": url, "model": MODELS[name], "price": price}


OPTIONS = {
    "type": "object",
    "properties": {"deep": {"type": ["boolean", "null"]}, "ratio": {"type": "number", "minimum": 0}},
}

TOOLS = [
    {
        "name": "read_file",
        "description": "Reads a file.",
        "parameters": {
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "lines": {"type": "array", "items": {"type": "integer"}},
                "options": OPTIONS,
            },
            "required": ["path"],
        },
    },
    {"name": "list_things", "description": "Lists all.", "parameters": {"type": "object", "properties": {}}},
    {
        "name": "write_file",
        "description": "Writes a file.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "content": {"type": "string", "maxLength": 100000}},
            "required": ["path", "content"],
            "additionalProperties": False,
        },
    },
]  # fmt: skip


def exported(lines: str) -> dict[str, str]:
    """The variables that lines for a shell export."""
    return dict(re.findall(r"^export (\w+)=(.*)$", lines, re.MULTILINE))


def jobs(stage: Stage, model: str, turns: int) -> list[dict[str, Any]]:
    """A job for each way in which a client can ask."""
    return [
        {"url": stage.url, "key": KEY, "model": model, "streamed": streamed, "thinking": thinking, "turns": turns}
        | {"tools": TOOLS}
        for streamed in (False, True)
        for thinking in (False, True)
    ]


async def work(client: str, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outcomes of an agent on `client`, one for each job."""
    command = installed.node() if client.startswith("ai-sdk") or client.endswith("-node") else installed.python()
    environ = {"PATH": os.environ["PATH"], "WEIR_CLIENTS": str(installed.folder()), "AI_SDK_LOG_WARNINGS": "false"}
    process = await asyncio.create_subprocess_exec(
        *command,
        client,
        *map(json.dumps, jobs),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()[-3000:]
    return [json.loads(line) for line in out.splitlines() if line.startswith(b'{"calls"')]
