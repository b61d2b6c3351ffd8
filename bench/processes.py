"""The processes of the benchmark, each pinned to a core: the simulator and Weir; the others are in `proxies`.

Started and ended here, by their ids.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import yaml

from bench.answer import Outcome
from bench.job import Job
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.observe.manifests import load
from weir_operator.publish.publication import Names, publication

PROXY_CORE = "0"
LOAD_CORE = "1"
START_TIMEOUT = 20.0  # seconds until a process must listen
LOAD_TIMEOUT = 30.0  # seconds that a load may take besides its job
KEY = "weir_benchmark-key-0123456789abcdef"
"""API key of the router's callers."""

CALLER = {"authorization": f"Bearer {KEY}"}
"""The same as headers."""

PROMPT = "Which of these three plans would you choose for a small team, and why? " * 2
"""About 250 bytes of body with the rest."""

COMPILED = Path(__file__).parents[1] / "build" / "compiled"
"""Folder with the modules that `hack/compile` makes."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A process with its children, and the CPU that they used."""

    def __init__(self, popen: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._popen = popen

    @property
    def pid(self) -> int:
        """Id of the process itself."""
        return self._popen.pid

    def cpu(self) -> float:
        """CPU seconds of the process and its children so far."""
        return sum(cpu_seconds(pid) for pid in _family(self._popen.pid))

    def memory(self) -> int:
        """Resident bytes of the process and its children."""
        return sum(resident(pid) for pid in _family(self._popen.pid))

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def terminate(self) -> None:
        """SIGTERM."""
        self._popen.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """SIGTERM, and waits."""
        self.terminate()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(grandchild for child in children for grandchild in _family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """CPU seconds of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(pid: int) -> int:
    """Resident bytes of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A TCP port without a listener, which no other process gets as long as this process lives.

    It stays bound, without listening: servers may listen there all the same, as all of them set SO_REUSEADDR.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = int(held.getsockname()[1])
    held.detach()  # open until this process ends
    return port


@contextlib.contextmanager
def running(
    command: Sequence[str],
    port: int,
    core: str | None,
    log: Path,
    environment: Mapping[str, str] | None = None,
    within: float = START_TIMEOUT,
) -> Iterator[Process]:
    """`command`, pinned to `core` if one is given, from the moment it listens on `port`. Raises `RuntimeError` with its
    log if it does not `within` so many seconds.
    """
    pinned = [*(("taskset", "-c", core) if core is not None else ()), *command]
    with log.open("wb") as output:
        popen = subprocess.Popen(pinned, stdout=subprocess.DEVNULL, stderr=output, env=environment)
        process = Process(popen, port)
        try:
            _await_port(process, log, within)
            yield process
        finally:
            process.stop()


def _await_port(process: Process, log: Path, within: float) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", process.port)) == 0 and process.alive():
                return
        if not process.alive():
            break
        time.sleep(0.05)
    raise RuntimeError(f"it does not listen on port {process.port}:\n{log.read_text()[-2000:]}")


MODELS = {
    "models": [
        {"name": "bench-plain", "answer_tokens": 24},
        {"name": "bench-stream", "answer_tokens": 100, "tokens_per_second": 50},
        {"name": "bench-calm", "answer_tokens": 100, "tokens_per_second": 20},
    ]
}
"""About 330 bytes of plain answer; streams of 100 chunks, one every 20 ms, or every 50 where many are open at once."""


def asked(model: str, *, stream: bool = False) -> str:
    """The body that asks `model` for an answer."""
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    return json.dumps(body | ({"stream": True} if stream else {}))


def load_of(job: Job, cores: str = LOAD_CORE) -> list[str]:
    """The command that runs `job` on its core, or on `cores`."""
    return ["taskset", "-c", cores, sys.executable, "-m", "bench.load", msgspec.json.encode(job).decode()]


def outcome_of(job: Job) -> Outcome:
    """Runs `job` on its core. Raises `RuntimeError` where what it prints is not whole."""
    done = subprocess.run(load_of(job), capture_output=True, check=True, timeout=job.timeout + LOAD_TIMEOUT)
    try:
        return msgspec.json.decode(done.stdout, type=Outcome)
    except msgspec.DecodeError as error:
        said = done.stderr.decode(errors="replace")[-1000:]
        raise RuntimeError(f"of the load's outcome {len(done.stdout)} bytes came: {error}. {said}") from error


def simulator(
    folder: Path, wanted: Mapping[str, object] = MODELS, cores: str = LOAD_CORE
) -> contextlib.AbstractContextManager[Process]:
    """The upstream of every proxy, with the models of a models file."""
    return _upstream(
        folder, wanted, cores, lambda file, port: ["weir_cli", "sim", file, "--listen", f"127.0.0.1:{port}"]
    )


def models(folder: Path, cores: str = LOAD_CORE) -> contextlib.AbstractContextManager[Process]:
    """The same models for less: where what they take of their core, or how late they are, would pass for a proxy's."""
    return _upstream(folder, MODELS, cores, lambda file, port: ["bench.models", file, str(port)])


def _upstream(
    folder: Path, wanted: Mapping[str, object], cores: str, module: Callable[[str, int], list[str]]
) -> contextlib.AbstractContextManager[Process]:
    file, port = folder / "models.yaml", free_port()
    file.write_text(yaml.safe_dump(dict(wanted)))
    return running([sys.executable, "-m", *module(str(file), port)], port, cores, folder / f"models-{port}.log")


def weir(
    folder: Path,
    upstream: int,
    key_hash: str,
    compiled: Path | None = None,
    resources: Sequence[Mapping[str, object]] | None = None,
    options: Sequence[str] = (),
) -> contextlib.AbstractContextManager[Process]:
    """The router with everything on: key, classification, breaker, limits, metrics and a log line per request.

    `compiled`: what `hack/compile` made, in place of the plain sources. `resources`: its tiers and policies. `options`:
    further options of `weir up`.
    """
    wanted = [_key(key_hash), *(_tiers_and_policies(upstream) if resources is None else resources)]
    return _serving(folder, compiled, "up", str(_saved(folder, wanted)), "--require-keys", *options)


def pod(
    folder: Path, upstream: int, key_hash: str, compiled: Path | None = None, core: str = PROXY_CORE
) -> contextlib.AbstractContextManager[Process]:
    """The same as a gateway's pod runs it: `weir router` on what the operator publishes, mounted, with the client of a
    config server; there is none.
    """
    manifests = _saved(folder, [_key(key_hash), *_tiers_and_policies(upstream)])
    config = compile_config(load(manifests, KINDS).observed, KINDS, catalogue=Catalogue.load(), now=time.time())
    mounted = folder / "mounted"
    mounted.mkdir(exist_ok=True)
    for name, content in publication(config, 1, names=Names("bench")).files.items():
        (mounted / name).write_bytes(content)
    token = folder / "token"
    token.write_text("none")
    server = ("--config-server", f"http://127.0.0.1:{free_port()}", "--token-file", str(token))
    return _serving(folder, compiled, "router", "--config-dir", str(mounted), *server, core=core)


def _saved(folder: Path, resources: Sequence[Mapping[str, object]]) -> Path:
    manifests = folder / "manifests"
    manifests.mkdir(exist_ok=True)
    (manifests / "all.yaml").write_text(yaml.safe_dump_all(resources))
    return manifests


def _serving(
    folder: Path, compiled: Path | None, *command: str, core: str = PROXY_CORE
) -> contextlib.AbstractContextManager[Process]:
    port = free_port()
    listen = ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{free_port()}"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # installed modules have their bytecode
    if compiled is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(compiled), os.environ.get("PYTHONPATH"))))
    name, *options = command  # the options may name another admin port
    arguments = [sys.executable, "-m", "weir_cli", name, *listen, *options]
    return running(arguments, port, core, folder / f"weir-{port}.log", environment)


def resource(kind: str, name: str, spec: Mapping[str, object]) -> dict[str, object]:
    """A ModelTier or RoutingPolicy of the namespace "default"."""
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _key(key_hash: str) -> dict[str, object]:
    metadata = {"name": "bench", "namespace": "default", "labels": {"weir.dev/api-key": "true"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"sha256": key_hash}}


def _tiers_and_policies(upstream: int) -> list[dict[str, object]]:
    def tier(name: str, transport: str, model: str) -> dict[str, object]:
        backend = {
            "name": model,
            "provider": "OpenAI",
            "baseURL": f"http://127.0.0.1:{upstream}/v1",
            "model": model,
            "transport": transport,
            "price": {"input": "0.1", "output": "0.4"},
            "limits": {"contextTokens": 128000},
        }
        return resource("ModelTier", name, {"backends": [backend]})

    def policy(name: str) -> dict[str, object]:
        spec = {
            "models": [{"name": name}],
            "baseline": {"name": name},
            "limits": {"requestsPerMinute": 10_000_000, "inFlight": 100_000},
            "routes": [
                {"name": "complex", "when": {"complexity": ["Complex"]}, "tiers": [{"name": name}]},
                {"name": "all", "tiers": [{"name": name}]},
            ],
        }
        return resource("RoutingPolicy", f"p-{name}", spec)

    return [
        tier("as-asked", "AsAsked", "bench-plain"),
        tier("streamed", "Streamed", "bench-plain"),
        tier("streams", "Streamed", "bench-stream"),
        tier("calm", "Streamed", "bench-calm"),
        *map(policy, ("as-asked", "streamed", "streams", "calm")),
    ]
