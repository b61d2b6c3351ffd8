"""`weir up` without the imports of all other commands, which would take 11 MB and a fifth of a second of it. It is in
`weir_cli.app` too. Used by `main`; holds no logic.
"""

from __future__ import annotations

import typer

from weir_cli.up.command import up

app = typer.Typer(name="weir", rich_markup_mode="rich", pretty_exceptions_show_locals=False)
app.command()(up)


@app.callback()  # without one, typer takes a single command for the whole program
def options() -> None:
    """None: `weir --help` and `weir --version` are of the whole."""
