"""`weir validate`: what the compiler says about a directory, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weir_cli.output import Exit, Format, console, print_json
from weir_cli.workspace import open_workspace, print_problems, summary


def validate(
    directory: Annotated[Path, typer.Argument(help="Directory (or file) of manifests.")],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of objects that name none.")
    ] = "default",
    class_name: Annotated[str, typer.Option("--class", help="Only objects of this className count.")] = "weir",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines.")
    ] = Format.TABLE,
) -> None:
    """Checks manifests as the operator would, with file and line.

    \b
    weir validate manifests

    Exit code 0: nothing is wrong; 1: there are errors; 2: there is nothing to read.
    """
    workspace = open_workspace(directory, namespace=namespace, class_name=class_name)
    if output is Format.JSON:
        print_json(
            {
                "valid": not workspace.errors,
                "problems": workspace.problems,
                "notices": workspace.notices,
                "tiers": sorted(workspace.config.tiers),
            }
        )
    else:
        print_problems(console, workspace.problems, workspace.notices)
        console.print(summary(workspace.config))
        warnings = len(workspace.problems) - len(workspace.errors)
        console.print(
            f"{len(workspace.config.tiers)} tiers, {len(workspace.config.policies)} policies, "
            f"{len(workspace.errors)} errors, {warnings} warnings"
        )
    if workspace.errors or (strict and workspace.problems):
        raise typer.Exit(Exit.PROBLEMS)
