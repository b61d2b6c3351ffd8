"""Claude Code counts the tokens of its context through a router: some 25 at once, by the provider or by an estimate."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clients import installed
from support.stand import KEY, stand
from weir_cli.sim import SimModel
from weir_router.contract import Dialect

LONGEST_RUN = 60.0
"""Seconds after which a run of Claude Code is ended."""


async def context(url: str, folder: Path) -> str:
    """The words of `/context`, for which the model is not asked."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "CLAUDE_CONFIG_DIR": str(folder / ".claude"),
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": KEY,
        "ANTHROPIC_MODEL": "claude-auto",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "claude-auto",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
    }
    process = await asyncio.create_subprocess_exec(
        installed.claude(),
        "-p",
        "/context",
        cwd=folder,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), LONGEST_RUN)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode()


@pytest.mark.parametrize("dialect", Dialect)
async def test_the_context_is_counted(dialect: Dialect, tmp_path: Path) -> None:
    async with stand([SimModel("m", dialect=dialect)], models=("claude-auto",)) as s:
        said = await context(s.url, tmp_path)
        assert "System tools" in said
        counts = [line for line in s.log.lines if line["path"] == "/v1/messages/count_tokens"]
        assert len(counts) > 5
        assert {line["status"] for line in counts} == {200}
        native = "m" if dialect is Dialect.ANTHROPIC else None
        assert {line.get("backend") for line in counts} == {native}
        assert {seen.path for seen in s.sim.requests("m")} <= {"/v1/messages/count_tokens"}
