"""`weir validate`: what the compiler says about a directory, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weir_cli.shared.output import Exit, Format, console, print_json
from weir_cli.shared.tenancy import ConsentOption, Offering, UserTierNamespaces, tenancy
from weir_cli.shared.workspace import counted, open_workspace, print_problems, summary
from weir_operator.observe.tenancy import Consent


def validate(
    directory: Annotated[Path, typer.Argument(help="Directory (or file) of manifests.")],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of objects that name none.")
    ] = "default",
    class_name: Annotated[str, typer.Option("--class", help="Only objects of this className count.")] = "weir",
    offering_namespaces: Offering = None,
    user_tier_namespaces: UserTierNamespaces = "",
    consent: ConsentOption = Consent.ENFORCE,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines.")
    ] = Format.TABLE,
) -> None:
    """Checks manifests as the operator would, with file and line.

    \b
    weir validate manifests
    weir validate manifests --strict --output json

    Secrets that are not among them may come from the environment, as for `weir up`.

    Exit code 0: nothing is wrong; 1: there are errors, or with --strict warnings; 2: there is nothing to read.
    """
    rules = tenancy(consent, offering_namespaces, user_tier_namespaces, namespace)
    workspace = open_workspace(directory, namespace=namespace, class_name=class_name, tenancy=rules)
    if output is Format.JSON:
        print_json(
            {
                "valid": not workspace.errors,
                "problems": workspace.problems,
                "notices": workspace.notices,
                "tiers": sorted(workspace.config.tiers),
                "policies": [policy.key for policy in workspace.config.policies],
            }
        )
    else:
        print_problems(console, workspace.problems, workspace.notices)
        console.print(summary(workspace.config))
        wrong = len(workspace.errors)
        config = workspace.config
        counts = (
            counted(len(config.tiers), "tier"),
            counted(len(config.policies), "policy", "policies"),
            counted(wrong, "error"),
            counted(len(workspace.problems) - wrong, "warning"),
        )
        console.print(", ".join(counts))
    if workspace.errors or (strict and workspace.problems):
        raise typer.Exit(Exit.PROBLEMS)
