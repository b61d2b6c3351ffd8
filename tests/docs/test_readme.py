"""Runs the README's commands, unchanged, one by one."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL)
ELSEWHERE = {"make test", "make check"}  # this very run, and what continuous integration runs beside it
PORTS = (8080, 9090, 9100)
START_TIMEOUT = 30.0


def commands(block):
    return [line for line in re.sub(r"\\\n", "", block).splitlines() if line.strip()]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def await_ports(ports):
    deadline = time.monotonic() + START_TIMEOUT
    while not all(map(listens, ports)):
        assert time.monotonic() < deadline, f"nobody listens on {ports}"
        time.sleep(0.05)


@pytest.fixture
def environment():
    taken = [port for port in PORTS if listens(port)]
    assert not taken, f"ports {taken}, which the README names, are in use on this machine; end what listens there"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # `make test ARGS=-x` hands its ARGS to every make below it, and the README's `make demo` is one.
    bare = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")
    }
    return {**bare, "PATH": path, "WEIR_DEMO_DURATION": "6", "COLUMNS": "100"}


@pytest.fixture
def background():
    started = []
    yield started
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        process.wait(15)


def run(command, environment):
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def start(command, environment):
    ports = {"weir sim": (9100,), "weir up": (8080, 9090)}[" ".join(command.split()[:2])]
    process = subprocess.Popen(
        command.removesuffix("&").split(),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    await_ports(ports)
    return process


@pytest.mark.timeout(240)
def test_the_commands_of_the_readme_work_in_their_order(environment, background):
    outputs = {}
    for language, block in BLOCKS:
        if language == "python":
            outputs[block] = run(f"python - <<'EOF'\n{block}\nEOF", environment)
            continue
        for command in commands(block):
            if command in ELSEWHERE or command.startswith("export "):
                continue
            if command.endswith("&"):
                background.append(start(command, environment))
            else:
                outputs.setdefault(command, []).append(run(command, environment))
    asked = next(answers for command, answers in outputs.items() if "Portugal" in command)
    shown = re.search(r"```\n(HTTP.*?)\.\.\.\n```", README, re.DOTALL)[1].splitlines()
    assert set(shown) <= set(asked[0].splitlines())
    assert "x-weir-attempts: 2" in asked[1]


def test_the_readme_shows_a_working_thing_within_its_first_30_lines():
    head = "\n".join(README.splitlines()[:30])
    assert "make demo" in head
    assert "OPENAI_API_KEY=... weir up" in head


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_link_of_the_readme_leads_somewhere(target):
    assert (ROOT / target).exists(), target


def pages():
    return sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_link_of_the_docs_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
