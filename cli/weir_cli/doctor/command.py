"""`weir doctor`, `kubectl weir doctor`: finds the usual mistakes of an installation. Reads, changes nothing."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from weir_cli.cluster.flags import Connection, asks_cluster
from weir_cli.cluster.installations import InstallationName, SystemNamespace, find
from weir_cli.cluster.opening import cluster
from weir_cli.doctor.checks import examine, saw_nothing
from weir_cli.doctor.finding import Finding, Verdict
from weir_cli.shared.admin import AdminTokenFile, admin_headers
from weir_cli.shared.output import Exit, Format, console, errors, fail, print_json

SIGNS = {
    Verdict.GOOD: "[green]✓[/]",
    Verdict.BAD: "[red]✗[/]",
    Verdict.WARNING: "[yellow]![/]",
    Verdict.UNKNOWN: "[yellow]?[/]",
}


@asks_cluster
def doctor(
    system_namespace: SystemNamespace = None,
    installation: InstallationName = None,
    admin_token_file: AdminTokenFile = None,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines.")
    ] = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Looks for the usual mistakes, and says how to mend them.

    \b
    kubectl weir doctor
    kubectl weir doctor --system-namespace weir-system --output json

    Version, clock, CRDs, pods, the operator's rights, its certificate, the sidecars' webhook, what routers run, Secrets
    that tiers refer to, objects and backends that are not well, pods without the sidecar that they should have, and
    ports that every pod can reach. Without rights on all namespaces, objects are those of your namespace: the
    context's, or that of --namespace. Checks that your rights do not allow are marked with ? and name the missing
    right, warnings with !. Of Secrets it asks for names and labels only.
    Exit code 0: nothing is wrong in what you may see; 1: something is; 2: you may see nothing, or there is no cluster.
    """
    headers = admin_headers(admin_token_file)
    with cluster(connection) as there:
        from weir_cli.doctor.look import look  # here: it takes a while to load

        found = find(there.api_client, system_namespace, installation, connection.namespace)
        findings = examine(look(there, found.installation, headers))
    if found.note is not None:
        errors.print(f"note: {escape(found.note)}", highlight=False, soft_wrap=True)
    if output is Format.JSON:
        print_json([record(it) for it in findings])
    else:
        for it in findings:
            console.print(f"{SIGNS[it.verdict]} {it.check}: {escape(it.message)}", highlight=False, soft_wrap=True)
            if it.action:
                console.print(f"    {escape(it.action)}", highlight=False, soft_wrap=True)
    if any(it.verdict is Verdict.BAD for it in findings):
        raise typer.Exit(Exit.PROBLEMS)
    if saw_nothing(findings):
        raise fail("your rights allow none of these checks: see the rights that are named above.")


def record(finding: Finding) -> dict[str, str]:
    """A finding as JSON, for machines."""
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "message": finding.message,
        "action": finding.action,
    }
