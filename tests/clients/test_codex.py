"""Codex works headless through a router: it reads a file, edits it with a patch, and ends well.

It has the settings that `weir connect codex` prints, a home of its own, and a proxy that is not there keeps it from any
other host.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from clients import installed
from clients.script import FINAL, Call, Turn
from clients.stage import ANTHROPIC, KEY, NEWEST, OPENAI, RESPONSES, stage
from support.scripted import policy, router, tier, upstream, whole
from weir_cli.connect.clients import LINES, Client, Target

LONGEST_RUN = 60.0
"""Seconds after which a run of Codex is ended."""

BACKEND = {"name": "b", "provider": "OpenAI", "model": "gpt-5.1", "price": {"input": "1", "output": "2"}}

NOTE, BEFORE, AFTER = "note.txt", "größe: small\n", "größe: large 🎉\n"
"""The file, its text, and the text after the edit."""

PATCH = f"*** Begin Patch\n*** Update File: {NOTE}\n@@\n-{BEFORE}+{AFTER}*** End Patch\n"


def of_a_shell(command: str) -> Call:
    """The call by which a model without a name that Codex knows runs a command."""
    return Call("exec_command", {"cmd": command})


def in_code(code: str) -> Call:
    """The call by which a model with a name that Codex knows runs JavaScript: a custom tool in a namespace."""
    return Call("functions__exec", {"input": code})


SHELL = (
    (of_a_shell(f"cat {NOTE}"),),
    (of_a_shell(f"apply_patch <<'END'\n{PATCH}END\n"),),
    (of_a_shell(f"head {NOTE}"), of_a_shell("echo both")),
)
CODE = (
    (in_code(f"text(await tools.exec_command({{cmd: 'cat {NOTE}'}}))"),),
    (in_code(f"text(await tools.apply_patch({json.dumps(PATCH)}))"),),
    (in_code(f"text(await tools.exec_command({{cmd: 'cat {NOTE}; echo both'}}))"),),
)
"""Calls of each turn: read, edit, read again."""

WORDS = (BEFORE.strip(), "", AFTER.strip())
"""Words in the result of the first call of each turn."""


def is_result(call: Call, result: str) -> bool:
    """Whether Codex has run the call."""
    for calls in (SHELL, CODE):
        for turn, words in zip(calls, WORDS, strict=True):
            if call == turn[0]:
                return words in result
    return "both" in result


async def codex(url: str, model: str, folder: Path) -> tuple[int | None, list[dict[str, Any]], str]:
    """Exit code, events and complaints of a run in `folder`."""
    home = folder / "home"
    home.mkdir()
    (home / "config.toml").write_text(LINES[Client.CODEX](Target(url, model, KEY)))
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "CODEX_HOME": str(home),
        "WEIR_API_KEY": KEY,
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
    }
    # The folder of a test is sandbox enough: not every machine that runs tests can make another.
    options = ["--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    process = await asyncio.create_subprocess_exec(
        installed.codex(),
        "exec",
        *options,
        "Work until all is done.",
        cwd=folder,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, said = await asyncio.wait_for(process.communicate(), LONGEST_RUN)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, [json.loads(line) for line in out.splitlines()], said.decode()


@pytest.mark.parametrize(
    ("model", "calls"),
    [(OPENAI, SHELL), (ANTHROPIC, SHELL), (RESPONSES, SHELL), (NEWEST, CODE)],
    ids=["chat", "messages", "responses", "code"],
)
async def test_codex_edits_a_file_on_a_model_of_each_format(
    model: str, calls: tuple[tuple[Call, ...], ...], tmp_path: Path
) -> None:
    turns = [Turn(f"Thought {number}", "Now." if number else "", it) for number, it in enumerate(calls)]
    turns.append(Turn("Nothing is left.", FINAL, ()))
    (tmp_path / NOTE).write_text(BEFORE)
    async with stage(tmp_path, lambda number: turns[number], is_result) as s:
        code, events, said = await codex(s.url, model, tmp_path)
    texts = [it["item"]["text"] for it in events if it.get("item", {}).get("type") == "agent_message"]
    assert s.faults == []
    assert (code, texts[-1:]) == (0, [FINAL]), (events, said)
    assert events[-1]["type"] == "turn.completed"
    assert events[-1]["usage"]["output_tokens"] == 20 * len(turns)
    assert (tmp_path / NOTE).read_text() == AFTER
    assert s.tap.streams == len(turns) == len(s.requests)


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, RESPONSES])
async def test_codex_asks_again_when_a_stream_breaks(model: str, tmp_path: Path) -> None:
    async with stage(tmp_path, lambda _: Turn("", FINAL, ()), history=False) as s:
        s.broken = {1}
        code, events, said = await codex(s.url, model, tmp_path)
    assert s.faults == []
    assert code == 0, (events, said)
    assert [it["message"] for it in events if it["type"] == "error" and "broke" in it["message"]]
    assert [it["item"]["text"] for it in events if it.get("item", {}).get("type") == "agent_message"] == [FINAL]
    assert (len(s.requests), s.tap.streams) == (2, 2)


async def test_codex_hears_that_the_context_is_full(tmp_path: Path) -> None:
    too_long = {"error": {"message": "The prompt is too long.", "code": "context_length_exceeded"}}
    async with (
        upstream(lambda _: [whole(too_long, 400)]) as url,
        router(tmp_path, [tier("t", {**BACKEND, "baseURL": f"{url}/v1"}), policy("p", ["auto"], ["t"])]) as router_url,
    ):
        code, events, _ = await codex(router_url, "auto", tmp_path)
    assert code == 1
    assert "ran out of room" in events[-1]["error"]["message"]
