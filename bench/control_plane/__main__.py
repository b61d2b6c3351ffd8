"""`make bench-control-plane`: how long a change takes from `kubectl apply` until the last of many routers has it.

A real API server, the real operator as a process with exactly the chart's rights, and connections of the router's own
config client. Changes come one after the other, each measured from before its request. Writes
`bench/results/control-plane-DATE.json`; exit code 1: a goal is missed.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.control_plane.figures import Figures, Row, rows
from bench.control_plane.measure import Bench, Size
from weir_cli.shared.output import WideConsole
from weir_router.run.process import calm_collector

RESULTS = Path(__file__).parents[1] / "results"


class Output(StrEnum):
    """Form of the results on stdout."""

    TABLE = "table"
    JSON = "json"


def main(
    policies: Annotated[int, typer.Option(min=20, max=20_000, help="RoutingPolicies that are there.")] = 1000,
    tiers: Annotated[int, typer.Option(min=10, max=5_000, help="ModelTiers that are there.")] = 200,
    connections: Annotated[int, typer.Option(min=2, max=5_000, help="Config clients.")] = 100,
    changes: Annotated[int, typer.Option(min=10, max=10_000, help="One after the other.")] = 150,
    idle: Annotated[int, typer.Option(min=5, max=3_600, help="Seconds of watching the idle operator.")] = 180,
    output: Annotated[Output, typer.Option(help="Form of the results on stdout.")] = Output.TABLE,
    save: Annotated[bool, typer.Option(help="Write bench/results/control-plane-*.json.")] = True,
) -> None:
    """Measures and prints what came out."""
    console = WideConsole(stderr=output is not Output.TABLE)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    calm_collector()  # as the operator does, whose compile is measured here
    size = Size(policies, tiers, connections, changes, idle)
    with (
        tempfile.TemporaryDirectory(prefix="weir-bench-") as folder,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        figures = Bench(size, Path(folder), progress).run()
    found = rows(figures)
    if output is Output.JSON:
        sys.stdout.write(json.dumps(report := _report(figures, found), indent=1) + "\n")
    else:
        report = _report(figures, found)
        console.print(_table(figures, found))
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"control-plane-{report['date']}.json").write_text(json.dumps(report, indent=1) + "\n")
    if not all(it.kept for it in found):
        raise typer.Exit(1)


def _report(figures: Figures, found: list[Row]) -> dict[str, object]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "missed": [it.what for it in found if not it.kept],
        **msgspec.to_builtins(figures),
    }


def _table(it: Figures, found: list[Row]) -> Table:
    title = (
        f"{it.policies:,} RoutingPolicies and {it.tiers:,} ModelTiers in {it.namespaces} namespaces, "
        f"{it.connections:,} connections, {len(it.seconds)} changes; "
        f"{it.cores} cores, load {it.load:.1f}"
    )
    table = Table(box=SIMPLE, title=title, title_justify="left")
    for column in ("what", "measured", "goal", ""):
        table.add_column(column, justify="right" if column in ("measured", "goal") else "left")
    for row in found:
        verdict = "" if not row.goal else "[green]kept" if row.kept else "[red]missed"
        table.add_row(row.what, row.value, row.goal, verdict)
    return table


if __name__ == "__main__":
    typer.run(main)
