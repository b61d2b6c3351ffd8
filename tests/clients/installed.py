"""The clients that `hack/clients/ensure` has installed, and the skip that names the one that is not there."""

from __future__ import annotations

import json
import platform
import shutil
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

ENSURE = Path(__file__).parents[2] / "hack" / "clients" / "ensure"

MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
"""Machines by the names that Node has for them."""


def folder() -> Path:
    """The place of the clients, as `hack/clients/ensure` knows it."""
    loader = SourceFileLoader("ensure_clients", str(ENSURE))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return Path(module.folder())


def python() -> list[str]:
    """The command that runs clients in Python."""
    if not (folder() / "venv" / ".ready").exists():
        pytest.skip("the clients in Python are not installed: run hack/clients/ensure")
    return [str(folder() / "venv" / "bin" / "python"), str(Path(__file__).with_name("driver.py"))]


def node() -> list[str]:
    """The command that runs clients in JavaScript."""
    found = shutil.which("node")
    if found is None or not (folder() / "node_modules" / ".ready").exists():
        pytest.skip("Node 20 or the clients in Node are not installed: install Node and npm, run hack/clients/ensure")
    return [found, str(Path(__file__).with_name("driver.mjs"))]


def claude() -> str:
    """The program `claude`."""
    return program("claude")


def codex() -> str:
    """The program `codex`."""
    return program("codex")


def program(name: str) -> str:
    """The path of a client's program."""
    client, package, pattern = PROGRAMS[name]
    for found in (folder() / "node_modules" / package).glob(pattern):
        return str(found)
    pytest.skip(f"{client} is not installed: hack/clients/ensure found no package {package}, or Node's npm is missing")


def _package(name: str) -> str:
    machine = platform.machine()
    return f"{name}-{sys.platform}-{MACHINES.get(machine, machine)}"


PROGRAMS = {
    "claude": ("Claude Code", _package("@anthropic-ai/claude-code"), "claude"),
    "codex": ("Codex", _package("@openai/codex"), "vendor/*/bin/codex"),
    "cn": ("Continue", "@continuedev/cli", "dist/cn.js"),
}
"""Programs by the names that their users type: client, package of Node, and file in it."""


PACKAGES = {
    "codex": "@openai/codex-linux-x64",
    "claude-code": "@anthropic-ai/claude-code-linux-x64",
    "openai": "openai==",
    "anthropic": "anthropic==",
    "agents-sdk": "openai-agents==",
    "ai-sdk": "ai",
    "pydantic-ai": "pydantic-ai-slim==",
    "langchain": "langchain-openai==",
    "continue": "@continuedev/cli",
}
"""Packages whose version is that of a client: of Python if they end in `==`, otherwise of Node."""


def version(client: str) -> str:
    """The version of a client, of the lock files."""
    package = PACKAGES[client]
    if package.endswith("=="):
        lines = (ENSURE.parent / "requirements.txt").read_text().splitlines()
        return next(line.removeprefix(package).split()[0] for line in lines if line.startswith(package))
    lock = json.loads((ENSURE.parent / "package-lock.json").read_text())
    return str(lock["packages"][f"node_modules/{package}"]["version"]).partition("-")[0]
