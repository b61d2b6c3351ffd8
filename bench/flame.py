"""`make flame`: where the time of a request goes, as a flame graph of the router in plain Python under full load.

py-spy samples the router from outside, eighty times a second, C functions of its libraries included where it can.
It is no dependency of the project: it is installed the first time into the cache that other gateways are in too. Where
the kernel forbids tracing of other processes (kernel.yama.ptrace_scope), it needs root. Writes
`bench/results/flame.svg`.
"""

from __future__ import annotations

import contextlib
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from bench.faults.peers import HOME
from bench.job import Job
from bench.processes import CALLER, KEY, Process, asked, load_of, simulator, weir
from weir_router.identify.keys import fingerprint

PY_SPY = "py-spy==0.4.3"
CONNECTIONS, STREAMS = 32, 200
STARTING = 60.0  # seconds: py-spy reads the symbols of every library first
NATIVE = ["--native"] if platform.machine() in ("x86_64", "aarch64") else []
# 80 samples a second: more would take the router's core from it. With the lock: its thread for the log waits without.
OPTIONS = ["--rate", "80", "--gil", "--function", "--format", "flamegraph", *NATIVE]
ENDLESS = 10**9  # requests: the load is ended, it does not end
FLAME = Path(__file__).parent / "results" / "flame.svg"


def main(
    seconds: Annotated[int, typer.Option(help="Of sampling.", min=1, max=600)] = 15,
    streams: Annotated[bool, typer.Option("--streams", help="200 streams in turn instead of plain answers.")] = False,
    output: Annotated[Path, typer.Option(help="The graph.")] = FLAME,
) -> None:
    """Loads the router, samples it, and writes the graph."""
    spy = _py_spy()
    with tempfile.TemporaryDirectory(prefix="weir-flame-") as temporary:
        graph = Path(temporary) / "flame.svg"
        with (
            simulator(graph.parent) as sim,
            weir(graph.parent, sim.port, fingerprint(KEY)) as router,
            _loaded(router, seconds, streams),
        ):
            command = [str(spy), "record", *OPTIONS, "--duration", str(seconds), "--pid", str(router.pid)]
            subprocess.run([*command, "--output", str(graph)], check=True, stdout=sys.stderr)
        title = f"weir up in plain Python, {'streams' if streams else 'plain answers'}"  # py-spy's is its command line
        output.write_text(re.sub(r'(?<=<text id="title")([^>]*>)[^<]*', rf"\1{title}", graph.read_text()))


@contextlib.contextmanager
def _loaded(router: Process, seconds: int, streams: bool) -> Iterator[None]:
    """A load of as many requests at once as `bench` sends, one after another, for the time of the block."""
    job = Job(
        port=router.port,
        body=asked("streams", stream=True) if streams else asked("as-asked"),
        headers=CALLER,
        connections=STREAMS if streams else CONNECTIONS,
        total=ENDLESS,
        streamed=streams,
        timeout=seconds + STARTING,
    )
    load = subprocess.Popen(load_of(job), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        load.terminate()
        load.wait()


def _py_spy() -> Path:
    home = HOME / "py-spy"
    binary = home / "bin" / "py-spy"
    if not binary.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(home), PY_SPY],
            check=True,
            stdout=sys.stderr,
        )
    return binary


if __name__ == "__main__":
    typer.run(main)
