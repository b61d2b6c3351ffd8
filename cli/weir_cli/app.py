"""The `weir` command: mounts its subcommands, holds no logic. Run by `weir_cli.main`."""

from __future__ import annotations

from typing import Annotated

import typer

from weir_cli.breakglass.override import override
from weir_cli.breakglass.pause import pause, resume
from weir_cli.catalogue.command import catalogue
from weir_cli.connect.command import connect
from weir_cli.demo.command import demo
from weir_cli.diff.command import diff
from weir_cli.doctor.command import doctor
from weir_cli.explain.command import explain
from weir_cli.import_litellm import litellm
from weir_cli.key import command as key
from weir_cli.operator.command import operator
from weir_cli.probe.command import probe
from weir_cli.router import command as router_command
from weir_cli.sidecar import command as sidecar
from weir_cli.sim.command import sim
from weir_cli.status.command import status
from weir_cli.up.command import up
from weir_cli.validate.command import validate
from weir_router.__about__ import __version__

app = typer.Typer(
    name="weir",
    no_args_is_help=True,
    rich_markup_mode="rich",  # keeps the lines of examples apart
    pretty_exceptions_show_locals=False,  # locals may hold secrets
    help="Sends each LLM request to the cheapest model tier that is good enough and healthy.\n\n"
    "Begin with [bold]weir demo[/], or with a key: [bold]OPENAI_API_KEY=... weir up[/].",
)
imports = typer.Typer(help="Turn another gateway's config into manifests.", no_args_is_help=True)
imports.command("litellm")(litellm)

IN_CLUSTERS = (status, doctor, probe, diff, pause, resume, override)
"""Commands that ask a cluster; `kubectl weir` runs them, and `explain` too."""

IN_PODS = {"router": router_command, "sidecar": sidecar}
"""Commands with parsers of their own, which `main` runs without this module."""


def _in_pod(context: typer.Context) -> None:
    IN_PODS[context.info_name or ""].main(context.args)


for command in (up, connect, demo, validate, explain, catalogue, sim, operator, *IN_CLUSTERS):
    app.command()(command)
for name, module in IN_PODS.items():
    as_it_is = {"allow_extra_args": True, "ignore_unknown_options": True}
    summary = module.HELP.strip().splitlines()[0]
    app.command(name, help=summary, add_help_option=False, context_settings=as_it_is)(_in_pod)
app.add_typer(key.app, name="key")
app.add_typer(imports, name="import")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"weir {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options of every command."""
