"""Modules that a router imports before it listens: most of its idle memory and of the time until it is ready."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.shell import Running, policy, running, save, tier
from support.published import Volume, compiled, published

LISTENS = {"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0"}
TRACED = {"PYTHONPROFILEIMPORTTIME": "1", "http_proxy": "", "https_proxy": ""}  # the lower case counts
AIOHTTP, TOKENS = "aiohttp", {"cryptography", "jwt"}
OPERATOR = {"weir_operator", "yaml", "watchfiles", "anyio"}
TYPER = {"typer", "rich", "pydantic"}
OTHERS = {"kopf", "kubernetes", "weir_cli.app", "weir_cli.demo", "weir_cli.sim", "weir_cli.status"}


def imported(command: Running) -> set[str]:
    """Modules and their packages that are imported before the line that says where callers connect."""
    command.wait_for("Serving callers on")
    before = command.said.partition("Serving callers on")[0]
    names = re.findall(r"^import time:.*\|\s+(\S+)$", before, re.MULTILINE)
    return {name.rsplit(".", depth)[0] for name in names for depth in range(name.count(".") + 1)}


@pytest.fixture
def mounted(tmp_path: Path) -> list[str]:
    """Options of a router with published files."""
    Volume(tmp_path / "config").swap(published(compiled(), 1).files)
    return ["--config-dir", str(tmp_path / "config"), *(it for pair in LISTENS.items() for it in pair)]


def test_a_router_with_mounted_files_alone_has_no_http_client_no_typer_and_no_compiler(mounted: list[str]):
    with running("router", *mounted, env=TRACED) as command:
        found = imported(command)
    assert "weir_router.call.transport.pool" in found
    assert not found & {AIOHTTP, *TOKENS, *TYPER, *OPERATOR, *OTHERS}


def test_one_that_has_a_config_server_has_the_client_before_callers_come(mounted: list[str], tmp_path: Path):
    (tmp_path / "token").write_text("t")
    access = ("--config-server", "http://127.0.0.1:9", "--token-file", tmp_path / "token")
    with running("router", *mounted, *access, env=TRACED) as command:
        found = imported(command)
    assert AIOHTTP in found
    assert not found & {*TOKENS, *TYPER, *OPERATOR, *OTHERS}


def test_one_behind_a_proxy_too(mounted: list[str]):
    with running("router", *mounted, env={**TRACED, "https_proxy": "http://127.0.0.1:9"}) as command:
        assert AIOHTTP in imported(command)


def test_weir_up_has_the_compiler_but_neither_a_client_nor_other_commands(tmp_path: Path):
    save(tmp_path / "all.yaml", tier("http://127.0.0.1:9"), policy())
    with running("up", tmp_path, *(it for pair in LISTENS.items() for it in pair), env=TRACED) as command:
        found = imported(command)
    assert "weir_operator.compile" in found
    assert not found & {AIOHTTP, *TOKENS, *OTHERS}
