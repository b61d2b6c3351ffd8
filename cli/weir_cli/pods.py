"""The `weir` command of a pod: the few commands of `main.IN_PODS`, which are in `weir_cli.app` too. Holds no logic."""

from __future__ import annotations

import typer

from weir_cli.router_command import router
from weir_cli.sidecar import sidecar

app = typer.Typer(name="weir", rich_markup_mode="rich", pretty_exceptions_show_locals=False)
for command in (router, sidecar):
    app.command()(command)
