"""`weir status --watch`: the same look again and again, in place, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from weir_cli.cluster.connection import NoPages


@dataclass(frozen=True)
class Look:
    """The output of a command at one moment."""

    shown: RenderableType
    record: dict[str, Any]
    notes: tuple[str, ...] = ()
    bad: bool = False  # something is not well

    @property
    def whole(self) -> RenderableType:
        """The output with its notes below it."""
        return Group(self.shown, *(Text(it, style="yellow") for it in self.notes))


def looks(look: Callable[[], Look], every: float) -> Iterator[Look | NoPages]:
    """A look every so many seconds for ever, and what came instead of one. Raises `NoPages` at the first."""
    yield look()
    while True:
        time.sleep(every)
        try:
            yield look()
        except NoPages as error:  # routers come and go; the next look may find them
            yield error


def in_place(found: Iterable[Look | NoPages], console: Console) -> None:
    """Each in the place of the last; below one another where that is no terminal."""
    if not console.is_terminal:
        for it in found:
            console.print(_shown(it, None))
        return
    last: Look | None = None
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for it in found:
            live.update(_shown(it, last), refresh=True)
            last = it if isinstance(it, Look) else last


def _shown(it: Look | NoPages, last: Look | None) -> RenderableType:
    at = Text(f"{datetime.now():%H:%M:%S}, Ctrl-C ends", style="dim")
    if isinstance(it, Look):
        return Group(at, it.whole)
    return Group(at, *([last.shown] if last else []), Text(f"not reached: {it}", style="red"))


def as_lines(found: Iterable[Look | NoPages]) -> None:
    """Each as one line of JSON with its moment."""
    for it in found:
        told = it.record if isinstance(it, Look) else {"error": str(it)}
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **told}
        sys.stdout.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")
        sys.stdout.flush()
