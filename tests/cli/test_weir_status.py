"""Tests of `weir status` against a running router."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.shell import ROOT, Running, environment, running, until, up, weir
from cli.test_weir_commands import run
from weir_cli.status import command


def test_it_shows_what_the_router_has_done(manifests: Path) -> None:
    with up(manifests) as gateway:
        gateway.ask()
        done = weir("status", "--url", gateway.admin)
        data = json.loads(weir("status", "--url", gateway.admin, "-o", "json").stdout)
    assert done.returncode == 0
    assert "1 router, revision 1; 1 requests since they started" in done.stdout
    assert "closed" in done.stdout
    assert data["requests"] == 1
    assert [(it["name"], it["states"], it["requests"]) for it in data["backends"]] == [("one", {"closed": 1}, 1)]


def test_a_period_shows_only_what_happens_in_it(manifests: Path) -> None:
    with up(manifests) as gateway:
        gateway.ask()
        done = weir("status", "--url", gateway.admin, "--seconds", "0.1")
    assert "0 requests in 0.1 s" in done.stdout


def test_a_router_that_is_not_there_is_said() -> None:
    done = weir("status", "--url", "http://127.0.0.1:9")
    assert (done.returncode, "http://127.0.0.1:9/metrics" in done.stderr) == (2, True)


def test_without_a_cluster_it_shows_the_router_of_this_machine(
    manifests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with up(manifests) as gateway:
        monkeypatch.setattr(command, "LOCAL", gateway.admin)
        gateway.ask()
        done = run("status")
    assert done.exit_code == 0
    assert "1 router, revision 1" in done.stdout


def test_without_a_cluster_it_says_what_to_do(tmp_path: Path) -> None:
    done = weir("status", env={"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)})
    assert (done.returncode, "there is no cluster" in done.stderr, "--url" in done.stderr) == (2, True, True)


def lines(command: Running) -> list[dict[str, object]]:
    return [json.loads(it) for it in command.stdout if it.endswith("\n")]


def test_watched_as_json_it_is_a_line_a_look_until_ctrl_c(manifests: Path) -> None:
    with up(manifests) as gateway, running(*watch(gateway.admin), "-o", "json") as command:
        until(lambda: lines(command))
        gateway.ask()
        until(lambda: lines(command)[-1]["requests"] == 1)
        assert command.stop(signal.SIGINT) == 0
    assert lines(command)[0]["requests"] == 0
    assert all(str(it["time"]).endswith("+00:00") for it in lines(command))
    assert command.said == ""


def test_watched_where_there_is_no_terminal_the_tables_follow_each_other(manifests: Path) -> None:
    with up(manifests) as gateway, running(*watch(gateway.admin)) as command:
        until(lambda: "".join(command.stdout).count("1 router, revision 1; 0 requests since they started") > 1)
        assert command.stop(signal.SIGINT) == 0
    assert "\x1b" not in "".join(command.stdout)


def test_watched_on_a_terminal_it_is_in_place_and_leaves_the_terminal_as_it_was(manifests: Path) -> None:
    with up(manifests) as gateway:
        command = [sys.executable, "-m", "weir_cli", *watch(gateway.admin)]
        ours, theirs = pty.openpty()
        env = environment(TERM="xterm")
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=env) as process:
            os.close(theirs)
            said, told = "", False
            for part in parts(ours):
                said += part
                if said.count("since they started") >= 3 and not told:
                    process.send_signal(signal.SIGINT)  # once: a second one would find it on its way out
                    told = True
        assert process.returncode == 0
    assert "\x1b[1A" in said  # up a line: the next table takes the last one's place
    assert said.rindex("\x1b[?25h") > said.rindex("since they started")  # the cursor is there again
    assert "Traceback" not in said


def parts(descriptor: int) -> Iterator[str]:
    """The output of a terminal, to its end."""
    try:
        while part := os.read(descriptor, 4096):
            yield part.decode(errors="replace")
    except OSError:  # on Linux: the other side has gone
        pass
    finally:
        os.close(descriptor)


def test_watched_over_a_period_it_shows_what_happened_in_it(manifests: Path) -> None:
    with up(manifests) as gateway:
        gateway.ask()
        with running(*watch(gateway.admin), "--seconds", "1", "-o", "json") as command:
            until(lambda: {it["requests"] for it in lines(command)} == {1, 0})
            assert lines(command)[0]["requests"] == 1  # since it started


def test_a_router_that_goes_while_it_is_watched_is_said_and_waited_for(manifests: Path) -> None:
    with up(manifests) as gateway, running(*watch(gateway.admin), "-o", "json") as command:
        until(lambda: lines(command))
        gateway.command.stop()
        until(lambda: "error" in lines(command)[-1])
        assert command.process.poll() is None
        assert command.stop(signal.SIGINT) == 0


def test_a_router_that_is_not_there_at_first_is_not_watched() -> None:
    done = weir(*watch("http://127.0.0.1:9"))
    assert (done.returncode, "http://127.0.0.1:9/metrics" in done.stderr) == (2, True)


def watch(url: str) -> tuple[str, ...]:
    return ("status", "--url", url, "--watch", "--every", "0.2")
