"""`make faults`: a fleet of simulated models falls ill in every way that is known, under an open load, and what callers
notice of it is measured.

Each row runs in processes of its own, several at a time: the load is light. A run is bounded in time and ends what it
started. Writes `bench/results/faults-DATE.json`; the exit code is 1 if a goal is missed.
"""

from __future__ import annotations

import asyncio
import json
import platform
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.faults.callers import GIVE_UP
from bench.faults.figures import Figures
from bench.faults.peers import PEERS, STARTING
from bench.faults.rows import ROWS, Row
from bench.faults.run import Job
from bench.faults.verdict import NEVER, misses, spread
from weir_cli.shared.output import WideConsole

T = TypeVar("T")

RESULTS = Path(__file__).parents[1] / "results"
ENDING = 60.0  # seconds for a run's processes to stop
FULL = (60.0, 120.0, 120.0)


class Output(StrEnum):
    """Form of the results on stdout."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def main(
    row: Annotated[list[str] | None, typer.Option(help="Only this row; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="Seeds of rows that depend on chance.")] = 5,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Requests per second.")] = 20.0,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Runs at a time.")] = 6,
    full: Annotated[bool, typer.Option("--full", help="60 s calm, 120 s fault, 120 s after, in every row.")] = False,
    gateway: Annotated[str, typer.Option(help=f"weir, or a peer: {', '.join(PEERS)}.")] = "weir",
    output: Annotated[Output, typer.Option(help="Form of the results on stdout.")] = Output.TABLE,
    save: Annotated[bool, typer.Option(help="Write bench/results/faults-*.json.")] = True,
) -> None:
    """Runs the rows and prints what came out."""
    console = WideConsole(stderr=output is not Output.TABLE)
    if gateway not in ("weir", *PEERS):
        console.print(f"[red]error:[/] no gateway is called {gateway}; there are: weir, {', '.join(PEERS)}")
        raise typer.Exit(2)
    unknown = set(row or ()) - {it.name for it in ROWS}
    if unknown:
        console.print(f"[red]error:[/] no row is called {', '.join(unknown)}; there are: {', '.join(map(_name, ROWS))}")
        raise typer.Exit(2)
    rows = [it for it in ROWS if not row or it.name in row or it.name == "calm"]
    if gateway in PEERS:  # they would need the names and the authority of this machine's rows of the network
        rows = [it for it in rows if not it.front and it.api == "chat"]
    work = [
        Job(row=it.name, seed=seed, rate=rate, gateway=gateway, phases=FULL if full else None)
        for it in rows
        for seed in range(seeds if it.random else 1)
    ]
    measured = asyncio.run(_until_stopped(_all(work, jobs, console)))
    report = _report(rows, measured, gateway, rate)
    if output is Output.JSON:
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
    elif output is Output.MARKDOWN:
        sys.stdout.write(_markdown(rows, measured, report))
    else:
        console.print(_table(rows, measured, report))
    if save:
        RESULTS.mkdir(exist_ok=True)
        name = f"faults-{gateway}-{report['date']}.json" if gateway != "weir" else f"faults-{report['date']}.json"
        (RESULTS / name).write_text(json.dumps(report, indent=1) + "\n")
    if gateway == "weir" and any(it["missed"] for it in report["rows"]):
        raise typer.Exit(1)


async def _until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """SIGTERM ends the runs, and with them what they started; Ctrl-C does by itself."""
    running = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await running


def _name(row: Row) -> str:
    return row.name


async def _all(work: Sequence[Job], jobs: int, console: Console) -> dict[str, list[Figures]]:
    """Every run, the longest first."""
    measured: dict[str, list[Figures]] = defaultdict(list)
    slots = asyncio.Semaphore(jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("runs", total=len(work))

        async def one(job: Job) -> None:
            async with slots:
                figures = await _run(job)
            measured[job.row].append(figures)
            progress.advance(task)

        async with asyncio.TaskGroup() as group:
            for job in work:
                group.create_task(one(job))
    return {name: sorted(runs, key=lambda it: it.seed) for name, runs in measured.items()}


async def _run(job: Job) -> Figures:
    row = next(row for row in ROWS if row.name == job.row)
    command = [sys.executable, "-m", "bench.faults.run", msgspec.json.encode(job).decode()]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(sum(job.phases or row.phases) + GIVE_UP + STARTING + ENDING):
            out, err = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"row {job.row}, seed {job.seed}:\n{err.decode()[-4000:]}")
    return msgspec.json.decode(out, type=Figures)


def _report(rows: Sequence[Row], measured: dict[str, list[Figures]], gateway: str, rate: float) -> dict[str, Any]:
    calm = spread(measured["calm"], lambda it: it.ttft_p99)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "gateway": gateway,
        "rate": rate,
        "rows": [
            {
                "row": row.name,
                "what": row.what,
                "missed": misses(row.goals, measured[row.name], calm[1] if calm else None),
                "runs": [msgspec.to_builtins(run) for run in measured[row.name]],
            }
            for row in rows
        ],
    }


COLUMNS: tuple[tuple[str, Callable[[Figures], float | None], str], ...] = (
    ("errors %", lambda it: it.errors, ".2f"),
    ("broken %", lambda it: it.broken, ".2f"),
    ("trunc.", lambda it: it.truncated, ".0f"),
    ("TTFT p50", lambda it: it.ttft_p50, ".2f"),
    ("p99", lambda it: it.ttft_p99, ".2f"),
    ("longest", lambda it: it.worst_wait, ".1f"),
    ("gap p99", lambda it: it.gap_p99, ".2f"),
    ("lag p99", lambda it: it.lag, ".2f"),
    ("att./req.", lambda it: it.attempts, ".3f"),
    ("on the sick", lambda it: it.sick_attempts, ".0f"),
    ("eject s", lambda it: it.eject, ".1f"),
    ("probe s", lambda it: it.probe, ".1f"),
    ("return s", lambda it: it.full_return, ".1f"),
)


def _table(rows: Sequence[Row], measured: dict[str, list[Figures]], report: dict[str, Any]) -> Table:
    table = Table(box=SIMPLE, title=f"{report['gateway']}, {report['rate']:g} requests a second")
    table.add_column("fault")
    for heading, _, _ in COLUMNS:
        table.add_column(heading, justify="right")
    table.add_column("goals")
    for row, told in zip(rows, report["rows"], strict=True):
        cells = [_cell(spread(measured[row.name], figure), form) for _, figure, form in COLUMNS]
        table.add_row(row.name, *cells, "[red]" + "; ".join(told["missed"]) if told["missed"] else "[green]kept")
    return table


def _markdown(rows: Sequence[Row], measured: dict[str, list[Figures]], report: dict[str, Any]) -> str:
    headings = ["fault", "what happens", *(heading for heading, _, _ in COLUMNS), "goals"]
    lines = [headings, ["---"] * 2 + ["---:"] * len(COLUMNS) + ["---"]]
    for row, told in zip(rows, report["rows"], strict=True):
        cells = [_cell(spread(measured[row.name], figure), form) for _, figure, form in COLUMNS]
        lines.append([row.name, row.what, *cells, "; ".join(told["missed"]) or "kept"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(values: tuple[float, float, float] | None, form: str) -> str:
    if values is None:
        return "–"
    least, median, most = ("never" if value == NEVER else format(value, form) for value in values)
    return median if least == most else f"{median} ({least}…{most})"


if __name__ == "__main__":
    typer.run(main)
