"""`weir diff -f`: what `kubectl apply -f` would change for routing, status and dollars. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from weir_cli.cluster.connection import NoPages
from weir_cli.cluster.flags import Connection, asks_cluster
from weir_cli.cluster.installations import RELEASE, Installation, InstallationName, SystemNamespace, find
from weir_cli.cluster.opening import cluster
from weir_cli.diff.applied import applied
from weir_cli.diff.compare import Change, ObjectChange, compare, side
from weir_cli.diff.dollars import Estimate, estimates
from weir_cli.diff.traffic import traffic
from weir_cli.shared.admin import AdminTokenFile, admin_headers
from weir_cli.shared.output import Exit, Format, console, errors, print_json
from weir_cli.shared.tenancy import SYSTEM_NAMESPACE, ConsentOption, Offering, UserTierNamespaces, tenancy
from weir_cli.status.pages import from_urls
from weir_operator.observe.tenancy import Consent

if TYPE_CHECKING:
    from weir_cli.cluster.api import Cluster
    from weir_cli.status.figures import Page

SIGNS = {Change.ADDED: "[green]+[/]", Change.CHANGED: "[yellow]~[/]", Change.AFFECTED: "[yellow]![/]"}


@asks_cluster
def diff(
    filename: Annotated[list[str], typer.Option("--filename", "-f", help="File, directory, URL or -; again for each.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Directories with all below them.")] = False,
    class_name: Annotated[str, typer.Option("--class", help="Only objects of this className count.")] = "weir",
    system_namespace: SystemNamespace = None,
    installation: InstallationName = None,
    offering_namespaces: Offering = None,
    user_tier_namespaces: UserTierNamespaces = "",
    consent: ConsentOption = Consent.WARN,
    urls: Annotated[
        list[str] | None, typer.Option("--url", help="Admin port of a router, instead of the cluster's; for dollars.")
    ] = None,
    admin_token_file: AdminTokenFile = None,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines.")
    ] = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Shows what an apply would change: what routers run, conditions, and dollars on recent traffic.

    \b
    kubectl weir diff -f manifests/
    kubectl kustomize overlays/prod | kubectl weir diff -f -

    `kubectl apply --dry-run=server` says what the objects would be, so that defaults, validation and what others have
    set count as they will. ~ changes, + is new, ! stays as it is but is affected.

    Exit code 0: nothing would change; 1: something would; 2: it could not be found out.
    """
    headers = admin_headers(admin_token_file)
    with cluster(connection) as there:
        weir, unknown = _installation(there, system_namespace, installation, connection)
        found = applied(
            there,
            filename,
            recursive=recursive,
            class_name=class_name,
            tenancy=tenancy(consent, offering_namespaces, user_tier_namespaces, weir.namespace),
            connection=connection,
        )
        now = time.time()
        before, after = side(found.before, now), side(found.after, now)
        changes = compare(before, after)
        notes = list(found.notes)
        costs: list[Estimate] = []
        if changes:
            try:
                if unknown is not None and not urls:
                    raise unknown
                pages = from_urls(urls, headers) if urls else _pages(there, weir, headers)
                sides = before.compiled.config, after.compiled.config
                costs = estimates(*sides, traffic(pages), now, hidden=found.hidden)
            except NoPages as error:
                notes.append(f"no dollars: {error}")
    _show(changes, costs, notes, output)
    if changes:
        raise typer.Exit(Exit.PROBLEMS)


def _installation(
    there: Cluster, namespace: str | None, name: str | None, connection: Connection
) -> tuple[Installation, NoPages | None]:
    """The installation, or the usual one and why it is not known. Without it, only dollars are missing."""
    try:
        return find(there.api_client, namespace, name, connection.namespace).installation, None
    except NoPages as error:
        return Installation(RELEASE, SYSTEM_NAMESPACE), error


def _pages(there: Cluster, installation: Installation, headers: Mapping[str, str]) -> list[Page]:
    from weir_cli.status.cluster import gateway_pages

    return gateway_pages(there.api_client, installation, headers)


def _show(changes: list[ObjectChange], costs: list[Estimate], notes: list[str], output: Format) -> None:
    for note in notes:
        errors.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
    if output is Format.JSON:
        print_json({"objects": changes, "dollars": costs})
    else:
        _print(changes, costs)


def _print(changes: list[ObjectChange], costs: list[Estimate]) -> None:
    for it in changes:
        console.print(f"{SIGNS[it.change]} [bold]{escape(it.object)}[/]", highlight=False, soft_wrap=True)
        for line in it.lines:
            told = f"{line.before or '–'} → {line.after or '–'}" if it.change is not Change.ADDED else line.after or ""
            console.print(escape(f"    {line.path}: {told}"), highlight=False, soft_wrap=True)
        for condition in it.conditions:
            told = f"{condition.before or '–'} → {condition.after}: {condition.message}"
            colour = "red" if condition.worse else "green"
            console.print(f"    [{colour}]{condition.type}[/]: {escape(told)}", highlight=False, soft_wrap=True)
        if not it.lines and not it.conditions:
            console.print("    only what neither routers nor its status tell", highlight=False)
    if not changes:
        console.print("Nothing would change.")
    if costs:
        console.print(table(costs))


def table(costs: list[Estimate]) -> Table:
    """A row per route that has had traffic."""
    listing = Table(title="US dollars, on the traffic since the routers started", title_justify="left")
    for heading in ("policy", "route", "first choice"):
        listing.add_column(heading, overflow="fold")
    for heading in ("requests", "dollars", "would be", "change"):
        listing.add_column(heading, justify="right", no_wrap=True)
    for it in costs:
        way = it.goes if it.goes == it.would_go else f"{it.goes} → {it.would_go}"
        figures = (_dollars(it.before), _dollars(it.after), _change(it.before, it.after) or it.why)
        listing.add_row(*map(escape, (it.policy, it.route, way, f"{it.requests:,.0f}", *figures)))
    known = [(it.before, it.after) for it in costs if it.before is not None and it.after is not None]
    if len(costs) > 1 and known:
        before, after = sum(each[0] for each in known), sum(each[1] for each in known)
        listing.add_section()
        listing.add_row("all that is known", "", "", "", _dollars(before), _dollars(after), _change(before, after))
    return listing


def _dollars(amount: float | None) -> str:
    return "?" if amount is None else f"{amount:.4f}"


def _change(before: float | None, after: float | None) -> str:
    """The difference, e.g. `-4.0430 (-96%)`; empty where one of both is unknown."""
    if before is None or after is None:
        return ""
    return f"{after - before:+.4f}" + (f" ({(after - before) / before:+.0%})" if before else "")
