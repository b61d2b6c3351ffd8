"""`weir up` without a directory, as a process: keys of the environment, the simulator as provider."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.shell import Gateway, running, up, weir
from support.servers import free_port
from weir_cli.sim import SimModel, SimulatorThread

KEY = "sk-the-only-key-of-this-machine"
MODELS = [SimModel(name, key=KEY) for name in ("gpt-6-luna", "gpt-6.1-sol", "gpt-4o-2024-08-06", "o9")]


@pytest.fixture(scope="module")
def openai() -> Iterator[SimulatorThread]:
    """OpenAI, as far as this machine knows."""
    with SimulatorThread(MODELS) as simulator:
        yield simulator


@pytest.fixture
def shell(openai: SimulatorThread) -> dict[str, str]:
    """The environment of a shell with one key, on a machine without Ollama."""
    address = f"{openai.url}/v1"
    return {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": address, "OLLAMA_HOST": f"127.0.0.1:{free_port()}"}


@contextmanager
def started(shell: dict[str, str], *options: str) -> Iterator[Gateway]:
    """Runs `weir up` on the keys of `shell`."""
    with running("up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *options, env=shell) as command:
        found = command.wait_for(r"callers on (http://\S+),[^h]*(http://[^\s.]+\S*\d)")
        yield Gateway(command, found[1], found[2])


def test_a_key_is_enough_for_routed_answers_and_for_real_names(shell: dict[str, str]) -> None:
    with started(shell) as gateway:
        assert gateway.models() == {"auto", "gpt-6-luna", "gpt-6.1-sol", "gpt-4o-2024-08-06", "gpt-4o", "o9"}
        routed, named, undated = gateway.ask(), gateway.ask("o9"), gateway.ask("gpt-4o")
        assert (routed.status, routed.headers["x-weir-tier"]) == (200, "default/cheap")
        assert (named.status, named.json()["model"]) == (200, "o9")
        assert (undated.status, undated.headers["x-weir-backend"]) == (200, "openai-gpt-4o-2024-08-06")
        gateway.command.stop()
        printed = gateway.command.said + "".join(gateway.command.stdout)
    assert KEY not in printed
    for said in ("Asking OpenAI", "cheap gpt-6-luna, best gpt-6.1-sol", "OPENAI_API_KEY", "weir connect claude-code"):
        assert said in printed
    assert f"curl -si {gateway.url}/v1/chat/completions" in printed


def test_the_written_manifests_are_what_runs_and_hold_no_key(shell: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "weir"
    done = weir("up", "--write", folder, env=shell)
    assert done.returncode == 0, done.stderr
    assert f"weir up {folder}" in done.stderr
    assert 'export WEIR_SECRET_DEFAULT_OPENAI_API_KEY="$OPENAI_API_KEY"' in done.stderr  # for an address of its own
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert KEY not in "".join(written.values()) + done.stderr + done.stdout
    secrets = [line for line in written["secrets.yaml"].splitlines() if "export" in line]
    assert secrets == ['#     export WEIR_SECRET_DEFAULT_OPENAI_API_KEY="$OPENAI_API_KEY"']
    with up(folder, env={"WEIR_SECRET_DEFAULT_OPENAI_API_KEY": KEY}) as gateway:
        assert gateway.ask().headers["x-weir-tier"] == "default/cheap"
        assert gateway.ask("o9").status == 200
    again = weir("up", "--write", folder, env=shell)
    assert again.returncode == 2
    assert "already" in again.stderr


def test_one_key_that_is_refused_does_not_stop_the_others(shell: dict[str, str], openai: SimulatorThread) -> None:
    other = {"ANTHROPIC_API_KEY": "sk-ant-wrong", "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{free_port()}"}
    with started(shell | other) as gateway:
        assert gateway.ask().status == 200
        assert "Anthropic http://127.0.0.1" in gateway.command.said
        assert "cannot be reached" in gateway.command.said
        assert "sk-ant-wrong" not in gateway.command.said


def test_without_keys_and_directory_it_says_what_to_set() -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 11434)) == 0:
            pytest.skip("an Ollama runs on this machine")
    done = weir("up", env={"OPENAI_BASE_URL": "", "OLLAMA_HOST": ""})
    assert done.returncode == 2
    for said in ("OPENAI_API_KEY=... weir up", "ANTHROPIC_API_KEY", "weir up DIRECTORY", "weir demo"):
        assert said in done.stderr


def test_where_nothing_answers_it_says_why(shell: dict[str, str]) -> None:
    done = weir("up", env=shell | {"OPENAI_BASE_URL": f"http://127.0.0.1:{free_port()}/v1"})
    assert done.returncode == 1
    assert "cannot be reached: Connection refused" in done.stderr
    assert KEY not in done.stderr


def test_write_is_for_keys(shell: dict[str, str], manifests: Path, tmp_path: Path) -> None:
    done = weir("up", manifests, "--write", tmp_path / "x")
    assert done.returncode == 2
    assert "leave DIRECTORY out" in done.stderr


def test_a_router_that_asks_for_keys_shows_one_and_commands_with_it(shell: dict[str, str]) -> None:
    with started(shell, "--require-keys") as gateway:
        key = gateway.command.wait_for(r"export WEIR_KEY=(weir_\S+)")[1]
        gateway.command.wait_for(r"authorization: Bearer \$WEIR_KEY")
        assert gateway.ask().status == 401
        assert gateway.ask(key=key).status == 200
