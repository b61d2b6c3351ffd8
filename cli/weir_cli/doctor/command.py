"""`weir doctor`, `kubectl weir doctor`: finds the usual mistakes of an installation. Reads, changes nothing."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from weir_cli.cluster.connection import NEEDS_CLIENT, NoPages
from weir_cli.doctor.checks import Finding, Verdict, examine
from weir_cli.shared.admin import AdminTokenFile, admin_headers
from weir_cli.shared.output import Exit, Format, console, fail, print_json

SIGNS = {
    Verdict.GOOD: "[green]✓[/]",
    Verdict.BAD: "[red]✗[/]",
    Verdict.WARNING: "[yellow]![/]",
    Verdict.UNKNOWN: "[yellow]?[/]",
}


def doctor(
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Where Weir is installed; default: that of the context.")
    ] = None,
    installation: Annotated[str, typer.Option(help="Name of the installation: that of the Helm release.")] = "weir",
    admin_token_file: AdminTokenFile = None,
    context: Annotated[str | None, typer.Option(help="Of the kubeconfig; default: the current one.")] = None,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines.")
    ] = Format.TABLE,
) -> None:
    """Looks for the usual mistakes, and says how to mend them.

    \b
    kubectl weir doctor --namespace weir-system

    Version, clock, CRDs, pods, the operator's rights, its certificate, what routers run, Secrets that tiers refer to,
    and ports that every pod can reach. Checks that your rights do not allow are marked with ?, warnings with !. Of
    Secrets it asks for names and labels only.
    Exit code 0: nothing is wrong; 1: something is; 2: there is no cluster.
    """
    try:  # here: it takes a while to load, and the command may be installed without it
        from weir_cli.cluster.connection import connect
        from weir_cli.doctor.look import look
    except ImportError as error:
        raise fail(NEEDS_CLIENT) from error
    try:
        api_client, where = connect(namespace, context)
    except NoPages as error:
        raise fail(str(error)) from error
    with api_client:
        findings = examine(look(api_client, where, installation, admin_headers(admin_token_file)))
    if output is Format.JSON:
        print_json([record(it) for it in findings])
    else:
        for it in findings:
            console.print(f"{SIGNS[it.verdict]} {it.check}: {escape(it.message)}", highlight=False, soft_wrap=True)
            if it.action:
                console.print(f"    {escape(it.action)}", highlight=False, soft_wrap=True)
    if any(it.verdict is Verdict.BAD for it in findings):
        raise typer.Exit(Exit.PROBLEMS)


def record(finding: Finding) -> dict[str, str]:
    """A finding as JSON, for machines."""
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "message": finding.message,
        "action": finding.action,
    }
