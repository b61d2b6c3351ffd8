"""The quick start, from nothing: an empty environment, one key, the simulator as provider, and the first answer."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.figures import FIGURE
from support.outside import run
from weir_cli.sim import SimModel, SimulatorThread

MOST_SECONDS = 60
"""Seconds from the first command to a routed answer, without the time of downloads: what a newcomer waits for."""

KEY = "sk-the-first-key-of-a-newcomer"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def downloads(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A folder with the wheels that an installation downloads, and the seconds that this took."""
    folder, tools = tmp_path_factory.mktemp("downloads"), tmp_path_factory.mktemp("tools")
    venv.create(tools, with_pip=True)
    began = time.monotonic()
    run(str(tools / "bin" / "python"), "-m", "pip", "download", "--quiet", "--dest", str(folder), str(wheel))
    return folder, time.monotonic() - began


@contextmanager
def started(weir: Path, home: Path, variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Runs `weir up` with nothing in its environment but `variables`: its words so far, and where it serves."""
    said = home / "said"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), **variables}
    command = [weir, "up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    with said.open("w") as output:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + MOST_SECONDS
        while not (found := re.search(r"Clients: .* --url (http://\S+)", said.read_text())):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        yield said.read_text(), found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def asked(command: str) -> tuple[dict[str, str], Any]:
    """Headers and body of the answer to the request that a printed curl command sends."""
    found = re.search(r"(http://\S+) .*-d '(.*)'$", command)
    assert found is not None, command
    request = urllib.request.Request(found[1], found[2].encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}, json.load(answer)


def test_one_key_is_a_minute_away_from_a_routed_answer(
    downloads: tuple[Path, float], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    wheels, downloading = downloads
    models = [SimModel(name, key=KEY) for name in ("gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol")]
    with SimulatorThread(models) as provider:
        began = time.monotonic()
        venv.create(tmp_path / "weir", with_pip=True)
        binaries = tmp_path / "weir" / "bin"
        offline = ("--quiet", "--no-index", "--find-links", str(wheels))
        run(str(binaries / "python"), "-m", "pip", "install", *offline, "weir-router")
        installed = time.monotonic() - began
        home = tmp_path / "home"
        home.mkdir()
        variables = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{provider.url}/v1"}
        with started(binaries / "weir", home, variables) as (said, url):
            (command,) = re.findall(r"^Try it: +(curl .*)$", said, re.MULTILINE)
            headers, answer = asked(command)
            total = time.monotonic() - began
            connect = run(str(binaries / "weir"), "connect", "openai", "--url", url)
    assert answer["choices"][0]["message"]["content"]
    assert (headers["x-weir-tier"], headers["x-weir-route"]) == ("default/cheap", "quick")
    assert f"OPENAI_BASE_URL={url}/v1" in connect
    assert KEY not in said
    figures = f"{total:.1f} s, {installed:.1f} s of it the installation; downloads take {downloading:.1f} s more"
    record_property(FIGURE, f"the first routed answer from an empty environment takes {figures}")
    assert total <= MOST_SECONDS
