"""The command `weir` as users run it: in a process of its own, on its own ports. Used by the tests of this folder."""

from __future__ import annotations

import contextlib
import http.client as http_client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "quickstart"
PATIENCE = 60.0
"""Seconds until an expected event, on a machine that is busy with other tests."""

BARE = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}


def environment(**extra: str) -> dict[str, str]:
    """The environment of a shell in the checkout, wide enough that no line wraps."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("router", "operator", "cli"))
    return {**BARE, "PYTHONPATH": paths, "COLUMNS": "200", "PYTHONWARNINGS": "default", **extra}


def weir(
    *arguments: str | Path, stdin: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "weir_cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=environment(**(env or {})),
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr + done.stdout
    return done


class Running:
    """A command that runs until it is stopped; its output is gathered as it comes."""

    def __init__(
        self,
        *arguments: str | Path,
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.process = subprocess.Popen(
            [*within, sys.executable, "-u", "-m", "weir_cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment(**(env or {})),
        )
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._threads = [
            threading.Thread(target=self._gather, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr))
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _gather(pipe: Any, lines: list[str]) -> None:
        lines.extend(pipe)  # one by one, as they come

    @property
    def said(self) -> str:
        """Everything on stderr so far."""
        return "".join(self.stderr)

    def wait_for(self, pattern: str, *, patience: float = PATIENCE) -> re.Match[str]:
        """Waits until stderr or stdout has `pattern`."""

        def found() -> re.Match[str] | None:
            return re.search(pattern, self.said) or re.search(pattern, "".join(self.stdout))

        it: re.Match[str] = until(
            found,
            lambda: f"no {pattern!r} (exit code {self.process.poll()}) in:\n{self.said}{''.join(self.stdout)}",
            patience=patience,
        )
        return it

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends it a signal and returns its exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Waits for its end and returns its exit code."""
        code = self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        return code

    def close(self) -> None:
        """Kills it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


def until(
    condition: Callable[[], Any], told: Callable[[], str] = lambda: "it did not happen", *, patience: float = PATIENCE
) -> Any:
    """Waits until `condition` returns a true value, and returns it; `told` describes a failure."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(told())


@contextlib.contextmanager
def running(
    *arguments: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None, within: Sequence[str] = ()
) -> Iterator[Running]:
    """A command in the background; killed at the end. It must never print a traceback. `within` is a command that
    runs it, such as a shell that sets limits.
    """
    command = Running(*arguments, cwd=cwd, env=env, within=within)
    try:
        yield command
    finally:
        command.close()
    assert "Traceback" not in command.said, command.said


class Answer(NamedTuple):
    """The answer to an HTTP request."""

    status: int
    headers: Any
    text: str

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.text)


def http(url: str, body: Any = None, **headers: str) -> Answer:
    """Sends a GET, or a POST of `body` as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return Answer(response.status, response.headers, response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read().decode())


class Gateway:
    """A running `weir up`."""

    def __init__(self, command: Running, url: str, admin: str) -> None:
        self.command = command
        self.url = url
        self.admin = admin

    def ask(self, model: str = "auto", key: str | None = None, **body: Any) -> Answer:
        """Asks for one completion."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        message = {"role": "user", "content": "What is 2 + 2?"}
        return http(f"{self.url}/v1/chat/completions", {"model": model, "messages": [message], **body}, **headers)

    def stream(self, model: str, key: str) -> Iterator[str]:
        """The lines of one streamed completion, to its end or until it is cut."""
        message = {"role": "user", "content": "What is 2 + 2?"}
        body = json.dumps({"model": model, "stream": True, "messages": [message]}).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", body, headers)
        cut = contextlib.suppress(OSError, http_client.HTTPException)
        with cut, urllib.request.urlopen(request, timeout=PATIENCE) as response:
            for line in response:
                yield line.decode()

    def models(self) -> set[str]:
        """Names of the models that callers may ask for."""
        return {model["id"] for model in http(f"{self.url}/v1/models").json()["data"]}

    def state(self) -> dict[str, Any]:
        """The JSON of `/state`."""
        found: dict[str, Any] = http(f"{self.admin}/state").json()
        return found


@contextlib.contextmanager
def up(directory: Path, *arguments: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> Iterator[Gateway]:
    """Runs `weir up` on free ports."""
    listen = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    with running("up", directory, *listen, *arguments, cwd=cwd, env=env) as command:
        found = command.wait_for(r"callers on (http://\S+),[^h]*(http://[^\s.]+\S*\d)")
        yield Gateway(command, found[1], found[2])


def tier(url: str, name: str = "small", backend: str = "sim-minnow", **fields: Any) -> dict[str, Any]:
    """A ModelTier of one simulated model."""
    spec = {"name": "one", "provider": "OpenAI", "baseURL": f"{url}/v1", "model": backend, **fields}
    return manifest("ModelTier", name, {"backends": [{"price": {"input": "1", "output": "2"}, **spec}]})


def policy(name: str = "assistants", model: str = "auto", to: str = "small", **fields: Any) -> dict[str, Any]:
    """A RoutingPolicy of one route."""
    routes = [{"name": "all", "tiers": [{"name": to}]}]
    return manifest("RoutingPolicy", name, {"models": [{"name": model}], "routes": routes, **fields})


def manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """An object of one of Weir's kinds."""
    return {"apiVersion": "weir.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def save(path: Path, *manifests: dict[str, Any]) -> Path:
    """Writes manifests as an editor does: a new file takes the old one's place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(yaml.safe_dump_all(manifests, sort_keys=False))
    fresh.replace(path)
    return path
