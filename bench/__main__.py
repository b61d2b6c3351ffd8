"""`make bench`: requests per second, CPU per request and per streamed chunk, as ratios to nginx on the same work in
the same run.

The proxy has one core to itself, load and upstream share the other. Rounds take turns between the proxies, so that
drift of the machine shows as spread instead of as a difference. CPU per unit of work is the figure to compare: it
holds where wall-clock throughput is noise. Writes `bench/results/latest.json`.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.load import Job, Outcome
from bench.processes import LOAD_CORE, Process, nginx, simulator, weir
from weir_router.identify.keys import fingerprint

KEY = "weir_benchmark-key-0123456789abcdef"
PROMPT = (
    "Which of these three plans would you choose for a small team, and why? " * 2
)  # about 250 bytes of body with the rest
RESULTS = Path(__file__).parent / "results"


def main(
    rounds: Annotated[int, typer.Option(help="Turns that each proxy gets.", min=1, max=50)] = 5,
    requests: Annotated[int, typer.Option(help="Plain requests per turn.", min=100, max=1_000_000)] = 6000,
    connections: Annotated[int, typer.Option(help="Connections for plain requests.", min=1, max=1000)] = 32,
    streams: Annotated[int, typer.Option(help="Streams at once.", min=1, max=2000)] = 200,
) -> None:
    """Measures and prints the table."""
    console = Console()
    measured: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        try:
            sim = stack.enter_context(simulator(folder))
            proxies = {
                "direct": sim,
                "nginx": stack.enter_context(nginx(folder, sim.port)),
                "weir": stack.enter_context(weir(folder, sim.port, fingerprint(KEY))),
            }
        except RuntimeError as error:
            console.print(f"[red]error:[/] {error}")
            raise typer.Exit(2) from error
        turns = _turns(requests, connections, streams)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("measuring", total=rounds * len(turns))
            for _ in range(rounds):
                for work, name, job in turns:
                    progress.update(task, description=f"{work}, {name}", advance=1)
                    job.port = proxies[name].port
                    measured[work, name].append(_measure(proxies[name], job))
        memory = proxies["weir"].memory()
    console.print(_table(measured))
    console.print(f"weir's resident memory at the end: {memory / 2**20:.0f} MiB")
    _write(measured, memory)


def _turns(requests: int, connections: int, streams: int) -> list[tuple[str, str, Job]]:
    def plain(model: str) -> Job:
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
        return Job(port=0, body=json.dumps(body), headers=headers, connections=connections, total=requests)

    def stream(model: str) -> Job:
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
        return Job(port=0, body=json.dumps(body), headers=headers, connections=streams, total=streams, streamed=True)

    headers = {"authorization": f"Bearer {KEY}"}
    return [
        *(("plain", name, plain("bench-plain")) for name in ("direct", "nginx")),
        ("plain", "weir", plain("as-asked")),
        ("plain, streamed", "weir", plain("streamed")),
        *(("streams", name, stream("bench-stream")) for name in ("direct", "nginx")),
        ("streams", "weir", stream("streams")),
    ]


def _measure(process: Process, job: Job) -> dict[str, float]:
    before = process.cpu()
    command = ["taskset", "-c", LOAD_CORE, sys.executable, "-m", "bench.load", msgspec.json.encode(job).decode()]
    done = subprocess.run(command, capture_output=True, check=True, timeout=job.timeout + 30)
    cpu = process.cpu() - before
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    units = outcome.chunks if job.streamed else outcome.answers
    figures = {
        "failed": outcome.failed,
        "per_second": units / outcome.seconds,
        "cpu_us": cpu / max(units, 1) * 1e6,
        "p50_ms": statistics.median(outcome.latencies) * 1e3,
        "p99_ms": statistics.quantiles(outcome.latencies, n=100)[98] * 1e3,
    }
    if job.streamed:
        figures["gap_p99_ms"] = statistics.quantiles(outcome.gaps, n=100)[98] * 1e3
    return figures


def _median(rounds: list[dict[str, float]], key: str) -> float:
    return statistics.median(figures[key] for figures in rounds)


def _table(measured: dict[tuple[str, str], list[dict[str, float]]]) -> Table:
    table = Table(
        title="Medians over rounds (lowest…highest). CPU in µs per request or per chunk, ×: to nginx; times in ms.\n"
        "p50, p99: whole answers, or a stream's first chunk; gap: p99 between chunks.",
        title_justify="left",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for column in ("work", "proxy", "per s", "CPU", "×", "p50", "p99", "gap", "lost"):
        table.add_column(column, justify="left" if column in ("work", "proxy") else "right", no_wrap=True)
    for (work, name), rounds in measured.items():
        yardstick = _median(measured[work.split(",")[0], "nginx"], "cpu_us")
        cpu = [figures["cpu_us"] for figures in rounds]
        middle = _median(rounds, "cpu_us")
        table.add_row(
            work,
            name,
            f"{_median(rounds, 'per_second'):.0f}",
            "–" if name == "direct" else f"{middle:.1f} ({min(cpu):.0f}…{max(cpu):.0f})",
            "–" if name == "direct" else f"{middle / yardstick:.1f}",
            f"{_median(rounds, 'p50_ms'):.1f}",
            f"{_median(rounds, 'p99_ms'):.1f}",
            f"{_median(rounds, 'gap_p99_ms'):.1f}" if "gap_p99_ms" in rounds[0] else "",
            f"{sum(figures['failed'] for figures in rounds):.0f}",
        )
    return table


def _write(measured: dict[tuple[str, str], list[dict[str, float]]], memory: int) -> None:
    RESULTS.mkdir(exist_ok=True)
    content: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "weir_resident_bytes": memory,
        "measured": [{"work": work, "proxy": name, "rounds": rounds} for (work, name), rounds in measured.items()],
    }
    (RESULTS / "latest.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
