"""Claude Code works headless through a router: it reads and edits files, and calls a tool of MCP whose name is long.

It has the settings that `weir connect claude-code` prints and a home of its own. It sends nothing about itself, and a
proxy that is not there keeps it from any other host.
`WEIR_CLIENT_TURNS=20` makes the runs longer: `make full` does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from clients import installed
from clients.mcp_server import TOOL
from clients.script import FINAL, Call, Turn
from clients.stage import ADAPTIVE, ANTHROPIC, KEY, OPENAI, RESPONSES, SEARCH, exported, stage
from clients.test_agents import TURNS
from weir_cli.connect.clients import LINES, Client, Target

SERVER = "plugin_example-channel-strategist_example-analytics"
LONG = f"mcp__{SERVER}__{TOOL}"


LONGEST_RUN = 60.0
"""Seconds after which a run of Claude Code is ended: one that goes wrong may go on for long."""


def script(folder: Path, number: int) -> Turn:
    """The model: it loads the long tool, then reads files and calls it, alone and at once; at last it edits a file."""
    if number > TURNS:
        return Turn("Nothing is left.", FINAL, ())
    if number == TURNS:
        edit = {"file_path": str(folder / "note-1.txt"), "old_string": "text of", "new_string": "größe 🎉 of"}
        return Turn("Now the edit.", "", (Call("Edit", {**edit, "replace_all": False}),))
    if number == 0:
        return Turn("Which tools?", "", (Call(SEARCH, {"query": f"select:{LONG}"}),))
    video = Call(LONG, {"video": f"größe {number}", "depth": 2})
    read = Call("Read", {"file_path": str(folder / f"note-{number}.txt")})
    return Turn(f"Thought {number}", "Now." if number % 2 else "", ((video, read), (read,), (video,))[number % 3])


def is_result(call: Call, result: str) -> bool:
    """Whether Claude Code has run the tool."""
    if call.name == "Read":
        return f"text of {call.arguments['file_path']}" in result
    if call.name == "Edit":
        return "has been updated" in result
    return call.name == SEARCH or f"transcript of {json.dumps(call.arguments, sort_keys=True)}" in result


async def claude(url: str, model: str, folder: Path) -> tuple[int | None, dict[str, object]]:
    """Exit code and last event of a run in `folder`."""
    server = {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_server.py"))]}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {SERVER: server}}))
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "CLAUDE_CONFIG_DIR": str(folder / "home" / ".claude"),
        **exported(LINES[Client.CLAUDE_CODE](Target(url, model, KEY))),
        "ENABLE_TOOL_SEARCH": "true",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
    }
    options = ["--output-format", "json", "--strict-mcp-config", "--mcp-config", str(folder / "mcp.json")]
    process = await asyncio.create_subprocess_exec(
        installed.claude(),
        "-p",
        "Work until all is done.",
        *options,
        "--allowedTools",
        f"Read,Edit,{SEARCH},{LONG}",
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
    try:
        return process.returncode, dict(json.loads(out))
    except ValueError:
        pytest.fail(f"Claude Code said {out!r} {said!r}")


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, ADAPTIVE, RESPONSES])
async def test_claude_code_edits_a_file_on_a_model_of_each_format(model: str, tmp_path: Path) -> None:
    for number in range(TURNS):
        note = tmp_path / f"note-{number}.txt"
        note.write_text(f"text of {note}\n")
    async with stage(tmp_path, lambda number: script(tmp_path, number), is_result) as s:
        code, done = await claude(s.url, model, tmp_path)
    assert s.faults == []
    assert (code, done["result"], done["is_error"]) == (0, FINAL, False)
    assert len(s.requests) >= TURNS + 2
    assert (tmp_path / "note-1.txt").read_text().startswith("größe 🎉 of ")


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, RESPONSES])
async def test_claude_code_asks_again_when_a_stream_breaks(model: str, tmp_path: Path) -> None:
    async with stage(tmp_path, lambda _: Turn("", FINAL, ()), history=False) as s:
        s.broken = {1}
        code, done = await claude(s.url, model, tmp_path)
    assert s.faults == []
    assert (code, done["result"], len(s.requests)) == (0, FINAL, 2)
