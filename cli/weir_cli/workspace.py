"""A directory of manifests, loaded and compiled: what `up`, `validate` and `explain` share."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from weir_operator.compile import compile_config
from weir_operator.manifests import load
from weir_operator.problems import Problem, Severity

from weir_cli.output import Exit, fail
from weir_operator.catalogue import Catalogue
from weir_router.contract import CompiledConfig, Secrets


class Workspace(NamedTuple):
    """What a directory says."""

    config: CompiledConfig
    secrets: Secrets
    problems: tuple[Problem, ...]
    notices: tuple[str, ...]
    unreadable: bool  # a file is not YAML: objects may be missing that were there before

    @property
    def errors(self) -> list[Problem]:
        """The problems that make something not work."""
        return [problem for problem in self.problems if problem.severity is Severity.ERROR]


def open_workspace(
    path: Path,
    *,
    namespace: str = "default",
    class_name: str = "weir",
    revision: int = 1,
    environ: Mapping[str, str] = os.environ,
) -> Workspace:
    """Loads and compiles `path`. Raises `typer.Exit` when there is no such directory."""
    if not path.exists():
        raise fail(
            f"{path} is not there; give a directory (or a file) of ModelTier and RoutingPolicy manifests.", Exit.USAGE
        )
    loaded = load(path, namespace=namespace, class_name=class_name, environ=environ)
    compiled = compile_config(loaded.observed, catalogue=Catalogue.load(), revision=revision, now=time.time())
    return Workspace(
        compiled.config,
        compiled.secrets,
        (*loaded.problems, *compiled.problems),
        tuple(loaded.notices),
        bool(loaded.problems),
    )


def print_problems(console: Console, problems: Sequence[Problem], notices: Sequence[str]) -> None:
    """A block per problem: where, what, and what to do."""
    for notice in notices:
        console.print(f"[dim]note:[/] {notice}", highlight=False, soft_wrap=True)
    for problem in problems:
        colour = "red" if problem.severity is Severity.ERROR else "yellow"
        where = f"{problem.where}: " if problem.where else ""
        field = f" {problem.field}" if problem.field else ""
        console.print(
            f"{where}[{colour}]{problem.severity.value.lower()}[/] {problem.object}{field} [dim]({problem.reason})[/]",
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"    {problem.message}", highlight=False, markup=False, soft_wrap=True)
        if problem.action:
            console.print(f"    → {problem.action}", highlight=False, markup=False, soft_wrap=True)


def summary(config: CompiledConfig) -> Table:
    """What will be served: a row per policy."""
    table = Table(title="RoutingPolicies", title_justify="left")
    for column in ("policy", "models", "mode", "routes", "serves"):
        table.add_column(column, overflow="fold")
    for policy in config.policies:
        routes = "\n".join(f"{route.name} → {', '.join(ref.tier for ref in route.tiers)}" for route in policy.routes)
        table.add_row(
            policy.key,
            ", ".join(policy.models),
            policy.mode.value,
            routes,
            "yes" if policy.not_ready is None else f"no: {policy.not_ready}",
        )
    return table
