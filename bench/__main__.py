"""`make bench`: CPU per request and per streamed chunk, as ratios to nginx on the same work in the same run; then what
a life is like: start, latency added, many streams at once, memory, drain.

The proxy has one core to itself, load and upstream share the other. Rounds take turns between the proxies, so that
drift of the machine shows as spread instead of as a difference. CPU per unit of work is the figure to compare: it
holds where wall-clock throughput is noise. Writes `bench/results/latest.json` and `latest.svg`.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from bench import life, plot, proxies
from bench.job import Job
from bench.paced import p99
from bench.processes import CALLER, COMPILED, KEY, Process, asked, outcome_of, pod, simulator
from weir_cli.shared.output import WideConsole
from weir_router.identify.keys import fingerprint

RESULTS = Path(__file__).parent / "results"
PEERS_STREAMS = 20
"""Streams at once through other gateways: LiteLLM's proxy carries no more."""

Measured = dict[tuple[str, str], list[dict[str, float]]]


def main(
    rounds: Annotated[
        int, typer.Option(help="Turns that each proxy gets; 0: only what a life is like.", min=0, max=50)
    ] = 5,
    requests: Annotated[int, typer.Option(help="Plain requests per turn.", min=100, max=1_000_000)] = 6000,
    connections: Annotated[int, typer.Option(help="Connections for plain requests.", min=1, max=1000)] = 32,
    streams: Annotated[int, typer.Option(help="Streams at once.", min=1, max=2000)] = 400,
    many: Annotated[int, typer.Option(help="Streams at once for their share, memory, drain.", min=1, max=5000)] = 1000,
    part: Annotated[list[life.Part] | None, typer.Option(help="Of a life; without it, all.")] = None,
) -> None:
    """Measures and prints the tables. PEERS=1 in the environment adds other gateways. Saves complete runs."""
    console = WideConsole()
    measured: Measured = defaultdict(list)
    whole = rounds > 0 and not part
    try:
        if rounds:
            _compare(console, measured, rounds, (requests, connections, streams))
            console.print(_table(measured))
        if whole:
            _write(measured, {})  # what follows takes a while
        lives = {name: life.measure(compiled, many, part or tuple(life.Part)) for name, compiled in _routers().items()}
    except RuntimeError as error:
        console.print(f"[red]error:[/] {escape(str(error))}")
        raise typer.Exit(2) from error
    console.print(life.table(lives))
    if whole:
        _write(measured, lives)


def _compare(console: Console, measured: Measured, rounds: int, sizes: tuple[int, int, int]) -> None:
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        sim = stack.enter_context(simulator(folder))
        running = {"direct": sim} | {
            name: stack.enter_context(start(folder, sim.port)) for name, start in _wanted().items()
        }
        running |= {
            name: stack.enter_context(pod(folder, sim.port, fingerprint(KEY), compiled))
            for name, compiled in _routers().items()
        }
        turns = _turns(list(running), sim.port, *sizes)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("measuring", total=rounds * len(turns))
            for _ in range(rounds):
                for work, name, job in turns:
                    progress.update(task, description=f"{work}, {name}", advance=1)
                    job.port = running[name].port
                    measured[work, name].append(measure(running[name], job))


def _wanted() -> dict[str, proxies.Start]:
    return proxies.YARDSTICKS | (proxies.PEERS if os.environ.get("PEERS") else {})


def _routers() -> dict[str, Path | None]:
    """Weir as plain Python, and compiled as the image has it (`hack/compile`)."""
    return {"weir": None} | ({"weir, compiled": COMPILED} if (COMPILED / "weir_router").exists() else {})


def _turns(
    names: list[str], upstream: int, requests: int, connections: int, streams: int
) -> list[tuple[str, str, Job]]:
    def plain(name: str, model: str, **more: Any) -> Job:
        headers = CALLER if name in _routers() else proxies.headers(name, upstream)
        total = requests if name != "litellm" else requests // 10
        return Job(port=0, body=asked(model), headers=headers, connections=connections, total=total, **more)

    def stream(name: str, model: str, **more: Any) -> Job:
        headers = CALLER if name in _routers() else proxies.headers(name, upstream)
        count = streams if name not in ("litellm", "portkey") else PEERS_STREAMS
        body = asked(model, stream=True)
        return Job(port=0, body=body, headers=headers, connections=count, total=count, streamed=True, **more)

    anthropic: dict[str, Any] = {"path": "/v1/messages"}
    turns = [("plain", name, plain(name, "as-asked" if name in _routers() else "bench-plain")) for name in names]
    turns += [("streams", name, stream(name, "streams" if name in _routers() else "bench-stream")) for name in names]
    for name in _routers():
        turns.append(("plain, streamed upstream", name, plain(name, "streamed")))
        turns.append(("plain, translated", name, plain(name, "as-asked", **anthropic)))
        turns.append(("streams, translated", name, stream(name, "streams", **anthropic, last="message_stop")))
    for work, _, job in turns:
        if work.endswith("translated"):
            job.body = json.dumps(json.loads(job.body) | {"max_tokens": 1000})
    return turns


def measure(process: Process, job: Job) -> dict[str, float]:
    """Runs a job against a process."""
    before = process.cpu()
    outcome = outcome_of(job)
    cpu = process.cpu() - before
    units = outcome.chunks if job.streamed else outcome.answers
    figures = {
        "failed": outcome.failed,
        "per_second": units / outcome.seconds,
        "cpu_us": cpu / max(units, 1) * 1e6,
        "p50_ms": statistics.median(outcome.latencies) * 1e3,
        "p99_ms": p99(outcome.latencies) * 1e3,
    }
    if job.streamed:
        figures["gap_p99_ms"] = p99(outcome.gaps) * 1e3
    return figures


def _median(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(figures[name] for figures in rounds)


def _table(measured: Measured) -> Table:
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


def _write(measured: Measured, lives: dict[str, dict[str, float]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    content: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "measured": [{"work": work, "proxy": name, "rounds": rounds} for (work, name), rounds in measured.items()],
        "lives": lives,
    }
    (RESULTS / "latest.json").write_text(json.dumps(content, indent=1) + "\n")
    (RESULTS / "latest.svg").write_text(plot.bars(measured))


if __name__ == "__main__":
    typer.run(main)
