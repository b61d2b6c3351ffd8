"""`weir probe`, `kubectl weir probe`: which wire formats and endpoints a tier's backends really speak."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from weir_cli.cluster.connection import is_configured
from weir_cli.cluster.flags import Connection, asks_cluster
from weir_cli.cluster.installations import InstallationName, SystemNamespace
from weir_cli.cluster.names import is_name, is_place
from weir_cli.probe.asking import Found, ask_all
from weir_cli.probe.questions import questions
from weir_cli.probe.shown import advice, as_json, bill, is_clear, is_kept, spent, table
from weir_cli.probe.subject import Subject, nothing, of_directory, of_tier
from weir_cli.shared.output import Exit, Format, console, errors, print_json
from weir_cli.shared.tenancy import tenancy
from weir_cli.shared.workspace import counted
from weir_operator.observe.tenancy import Consent

TIMEOUT = 30.0
"""Seconds for one answer: a token takes a second or two, a model that is loaded first takes longer."""


@asks_cluster
def probe(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="DIRECTORY|[NAMESPACE/]TIER",
            help="Directory (or file) of manifests; where there is none of that name, a ModelTier in the cluster.",
        ),
    ],
    backend: Annotated[list[str] | None, typer.Option(help="Only this backend; may be repeated.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds for each answer.")] = TIMEOUT,
    class_name: Annotated[
        str, typer.Option("--class", help="Of a directory, only objects of this className count.")
    ] = "weir",
    system_namespace: SystemNamespace = None,
    installation: InstallationName = None,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for machines.")
    ] = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Asks each backend of a tier for a token in each wire format, and compares with its `dialects` and `endpoints`.

    \b
    weir probe manifests
    kubectl weir probe llm/budget
    kubectl weir probe budget --namespace llm --backend mini --output json

    It spends tokens, and says how many before and after. Pictures and speech are asked without a prompt, which costs
    nothing. Redirects are not followed, and hosts that the installation refuses are not asked. Credentials come from
    the environment (WEIR_SECRET_NAMESPACE_NAME_KEY) or from the tier's Secrets, which you must be allowed to read.

    Exit code 0: as listed; 1: something is listed and not spoken; 2: it could not be found out.
    """
    about = _about(subject, class_name, connection, system_namespace, installation)
    for note in (*about.notes, *(f"not asked: {it}" for it in about.lost)):
        errors.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
    targets = [it for it in about.targets if not backend or it.backend.name in backend]
    if not targets:
        raise nothing(subject)
    asked = [(it, target.backend.price) for target in targets for it in questions(target.backend, None)]
    said = f"Asks {counted(len(targets), 'backend')} {counted(len(asked), 'question')}: {bill(asked)}."
    errors.print(said, highlight=False, soft_wrap=True)
    story = list(zip(targets, _answers(about._replace(targets=targets), timeout, len(asked)), strict=True))
    if output is Format.JSON:
        print_json(as_json(story))
    else:
        console.print(table(story))
        for line in advice(story):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    used = spent(story)
    more = f"; {counted(used['unpriced'], 'answer')} without a known price" if used["unpriced"] else ""
    tokens = f"{used['inputTokens']} tokens of input and {used['outputTokens']} of output"
    errors.print(f"Spent {tokens}, ${used['dollars']:.6f}{more}.", highlight=False, soft_wrap=True)
    everything = [it for _, found in story for it in found]
    if not is_kept(everything):
        raise typer.Exit(Exit.PROBLEMS)
    if not is_clear(everything) or about.lost:
        raise typer.Exit(Exit.USAGE)


def _about(
    subject: str, class_name: str, connection: Connection, system_namespace: str | None, installation: str | None
) -> Subject:
    """A directory, or a tier of the cluster."""
    bare = is_name(subject) and (connection.given or is_configured(os.environ))
    if (is_place(subject) or bare) and not os.path.exists(subject):
        return of_tier(subject, connection, system_namespace, installation)
    namespace = connection.namespace or "default"
    return of_directory(Path(subject), namespace, class_name, tenancy(Consent.ENFORCE, None, "", namespace))


def _answers(about: Subject, timeout: float, number: int) -> list[list[Found]]:
    columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("asking", total=number)
        return asyncio.run(ask_all(about.targets, about.hosts, timeout, lambda: progress.advance(task)))
