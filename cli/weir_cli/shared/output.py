"""Output of every command: tables for people on a terminal, JSON for machines, and exit codes that mean something."""

from __future__ import annotations

import os
from enum import IntEnum, StrEnum
from typing import Any

import msgspec
import typer
from rich.console import Console, ConsoleDimensions
from rich.markup import escape

from weir_router.run.process import UNUSABLE, host_and_port, size_of

NOWHERE_WIDTH = 300
"""Columns where there is no terminal: as many as the widest table takes. Rich's 80 fold what is searched, or kept."""


class WideConsole(Console):
    """A console as wide as the terminal or COLUMNS; where there is neither, as in a job's log, `NOWHERE_WIDTH` wide."""

    @property  # type: ignore[misc]  # nobody sets it
    def size(self) -> ConsoleDimensions:
        """Columns and lines."""
        found = super().size
        known = os.environ.get("COLUMNS") or any(map(os.isatty, (0, 1, 2)))  # one of stdin, stdout and stderr
        return found if known else found._replace(width=NOWHERE_WIDTH)


console = WideConsole()
errors = WideConsole(stderr=True)


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    PROBLEMS = 1  # it ran, and what it looked at has errors
    USAGE = UNUSABLE  # also where a file is not there


class Format(StrEnum):
    """`--output`."""

    TABLE = "table"
    JSON = "json"


def print_json(value: Any) -> None:
    """`value` as indented JSON on stdout, without colours, so that it can be piped."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode())


def fail(message: str, code: Exit = Exit.USAGE) -> typer.Exit:
    """Prints `message` on stderr; raise what this gives back."""
    errors.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def address(text: str) -> tuple[str, int]:
    """An option `HOST:PORT` as a pair. Raises `typer.BadParameter`."""
    try:
        return host_and_port(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def size(text: str) -> int:
    """An option that is a number of bytes, e.g. `256MiB`. Raises `typer.BadParameter`."""
    try:
        return size_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
