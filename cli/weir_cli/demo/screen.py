"""The demo's picture: a live table while it runs, and the same table with a summary when it ends."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from weir_cli.demo.tally import Place, Tally
from weir_router.contract import CompiledConfig
from weir_router.health.board import BackendView

WIDTH = 88
"""Columns of the picture, where there are so many: no event wraps."""

_COLOURS = {"closed": "green", "open": "red", "half-open": "yellow", "ejected": "red"}
_BAR = 8  # characters: the table fits a terminal of 80


def screen(
    config: CompiledConfig,
    tally: Tally,
    view: Mapping[str, BackendView],
    *,
    elapsed: float,
    duration: float,
    events: Sequence[str],
) -> RenderableType:
    """The whole picture."""
    bar = ProgressBar(total=duration, completed=min(elapsed, duration), width=24)
    head = Table.grid(padding=(0, 2))
    head.add_row(bar, f"{min(elapsed, duration):.0f}/{duration:.0f} s", _classes(tally))
    body: list[RenderableType] = [head, Text(), _places(config, tally, view), Text(), _money(tally)]
    if events:
        body += [Text(), *(Text(f"  {event}") for event in events[-6:])]
    return Panel(Group(*body), title="[bold]weir demo[/]: where each request goes", padding=(1, 2), width=WIDTH)


def _classes(tally: Tally) -> str:
    return ", ".join(f"{tally.classes[name]} {name.lower()}" for name in ("Simple", "Moderate", "Complex"))


def _places(config: CompiledConfig, tally: Tally, view: Mapping[str, BackendView]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    for name, justify in (
        ("tier", "left"),
        ("backend", "left"),
        ("breaker", "left"),
        ("answered", "left"),
        ("failed", "right"),
        ("TTFT p50", "right"),
        ("spent", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    most = max((place.answered for place in tally.places.values()), default=0) or 1
    tiers = sorted(
        config.tiers.items(), key=lambda item: max((b.price.output for b in item[1].backends if b.price), default=0.0)
    )
    for key, tier in tiers:
        for number, backend in enumerate(tier.backends):
            place = tally.places.get(f"{key}/{backend.name}", Place())
            state = view[f"{key}/{backend.name}"].state
            table.add_row(
                tier.name if number == 0 else "",
                backend.name,
                f"[{_COLOURS[state]}]{state}[/]",
                f"[cyan]{'█' * round(place.answered / most * _BAR)}[/] {place.answered}",
                f"[red]{place.failed}[/]" if place.failed else "0",
                f"{statistics.median(place.ttfts) * 1000:.0f} ms" if place.ttfts else "–",
                f"${place.dollars:.5f}",
            )
    return table


def _money(tally: Tally) -> Text:
    total = tally.answered + tally.unanswered
    share = 1 - tally.dollars / tally.baseline_dollars if tally.baseline_dollars else 0.0
    return Text.assemble(
        (f"{tally.answered} of {total} answered", "bold green" if not tally.unanswered else "bold red"),
        f", {tally.failovers} by failing over\nSpent ",
        (f"${tally.dollars:.4f}", "bold"),
        f"; all-premium ${tally.baseline_dollars:.4f}: ",
        (f"{share:.0%} saved", "bold green"),
    )
