"""The `weir` command with one command of `main.ALONE` in it, which is in `weir_cli.app` too. Holds no logic."""

from __future__ import annotations

from importlib import import_module

import typer


def app_of(command: str, module: str) -> typer.Typer:
    """`weir` with `command`, the function of that name in `module`, and without the imports of all others."""
    app = typer.Typer(name="weir", rich_markup_mode="rich", pretty_exceptions_show_locals=False)
    app.callback()(_options)  # without one, typer takes a single command for the whole program
    app.command()(getattr(import_module(module), command))
    return app


def _options() -> None:
    """None here: `weir --help` and `weir --version` are of the whole."""
