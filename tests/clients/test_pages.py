"""The pages of docs/clients: each begins with the settings that `weir connect` prints, and what it shows works.

The settings and programs of a page are run as they stand there, on a simulated model of each format; only the router's
address is another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from clients import installed
from clients.stage import exported
from support.scripted import policy, router, tier
from support.tap import Tap, tapped
from weir_cli.connect.clients import LINES, Client, Target
from weir_cli.connect.command import PLACEHOLDER
from weir_cli.sim import SimModel, Simulator
from weir_router.contract import Dialect

PAGES = Path(__file__).parents[2] / "docs" / "clients"
ROUTER = "http://127.0.0.1:8080"
"""The router's address on the pages."""

FILES = {Client.CODEX: ".codex/config.toml", Client.CONTINUE: ".continue/config.yaml"}
"""Files of the home that hold the settings of some clients."""

RUN = (
    *(Client.CODEX, Client.CLAUDE_CODE, Client.OPENAI, Client.ANTHROPIC, Client.AGENTS_SDK, Client.AI_SDK),
    *(Client.PYDANTIC_AI, Client.LANGCHAIN, Client.CONTINUE),
)
"""Clients whose pages are run. The requests of the others are replayed: test_replayed.py."""

LONGEST_RUN = 100.0
"""Seconds after which a program is ended."""


class Block(NamedTuple):
    """A block of code of a page."""

    language: str
    text: str


def blocks(client: Client) -> list[Block]:
    """The blocks of a client's page, the settings first."""
    page = (PAGES / f"{client}.md").read_text()
    return [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("client", Client)
def test_each_page_begins_with_the_settings_that_connect_prints(client: Client) -> None:
    assert blocks(client)[0].text == LINES[client](Target(ROUTER, "auto", PLACEHOLDER)) + "\n"


def test_the_index_names_each_page() -> None:
    rows = re.findall(r"^\| \[[^\]]+\]\(([\w-]+)\.md\)", (PAGES / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(Client) == sorted(it.stem for it in PAGES.glob("*.md") if it.stem != "README")


def test_the_index_names_the_versions_that_are_run() -> None:
    said = dict(
        re.findall(
            r"^\| \[[^\]]+\]\(([\w-]+)\.md\) \|[^|]*\| ([^|]+?) \|", (PAGES / "README.md").read_text(), re.MULTILINE
        )
    )
    assert {it: said[it] for it in RUN} == {it: installed.version(it) for it in RUN}


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[dict[str, Tap]]:
    """A router for each format of upstreams, by its dialect. All serve a simulated model as `auto`, and another one for
    embeddings as `documents`.
    """
    models = [SimModel("chat"), SimModel("claude", dialect=Dialect.ANTHROPIC), SimModel("embedder")]
    async with Simulator(models) as sim, contextlib.AsyncExitStack() as stack:
        found = {}
        for dialect in ("Chat", "Messages", "Responses"):
            place = folder / dialect
            place.mkdir()
            url = await stack.enter_async_context(router(place, objects(sim.url, dialect)))
            found[dialect] = await stack.enter_async_context(tapped(url))
        yield found


def objects(sim: str, dialect: str) -> list[dict[str, Any]]:
    """Tiers and policies of a router whose upstream has this dialect."""
    common = {"name": "sim", "price": {"input": "1", "output": "2"}}
    openai = {**common, "provider": "OpenAI", "baseURL": f"{sim}/v1"}
    if dialect == "Messages":
        backend = {**common, "provider": "Anthropic", "baseURL": sim, "model": "claude"}
    else:
        backend = {**openai, "model": "chat", "dialects": [dialect]}
    route = {"name": "embeddings", "when": {"operations": ["Embeddings"]}, "tiers": [{"name": "e"}]}
    return [
        tier("t", backend),
        policy("p", ["auto"], ["t"]),
        tier("e", {**openai, "model": "embedder", "endpoints": ["Embeddings"]}),
        policy("e", ["documents"], [], routes=[route]),
    ]


def environment(client: Client, url: str, folder: Path) -> dict[str, str]:
    """The environment of a shell that has read the page's settings, in a home of its own that has them, too."""
    settings = blocks(client)[0].text.replace(ROUTER, url)
    home = folder / "home"
    home.mkdir(parents=True)
    if client in FILES:
        file = home / FILES[client]
        file.parent.mkdir()
        file.write_text(settings)
    settings = settings.replace("# export", "export")
    proxy = "http://127.0.0.1:9"  # is not there, and so keeps a client from any other host
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), proxy),
        "NO_PROXY": "127.0.0.1",
        "AI_SDK_LOG_WARNINGS": "false",
        **exported(settings),
    }


async def run(command: list[str], folder: Path, environ: dict[str, str]) -> str:
    """The output of a command that ends well."""
    process = await asyncio.create_subprocess_exec(
        *command,
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
    assert process.returncode == 0, (out + said).decode()[-3000:]
    return out.decode()


def command(block: Block, folder: Path) -> list[str]:
    """The command that runs a block in `folder`."""
    if block.language == "python":
        return [installed.python()[0], "-c", block.text]
    if block.language == "js":
        (folder / "program.mjs").write_text(block.text)
        return [installed.node()[0], "program.mjs"]
    return ["sh", "-ec", block.text]


async def shown(client: Client, tap: Tap, folder: Path) -> None:
    """Runs each program of a client's page, which says something and ends well."""
    environ = environment(client, tap.url, folder)
    (folder / "bin").mkdir()
    for block in blocks(client)[1:]:
        if block.language == "sh" and (name := block.text.split()[0]) in installed.PROGRAMS:
            (folder / "bin" / name).symlink_to(installed.program(name))
    await run(["git", "init", "-q"], folder, environ)  # Codex works in repositories only
    (folder / "node_modules").symlink_to(installed.folder() / "node_modules")
    for block in blocks(client)[1:]:
        assert (await run(command(block, folder), folder, environ)).strip()


@pytest.mark.parametrize("client", RUN)
async def test_what_a_page_shows_works(client: Client, tmp_path: Path) -> None:
    async with served(tmp_path) as taps:
        await asyncio.gather(*(shown(client, tap, tmp_path / f"run-{dialect}") for dialect, tap in taps.items()))
    assert [tap.offences for tap in taps.values()] == [[]] * 3
