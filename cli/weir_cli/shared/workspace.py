"""A directory of manifests, loaded and compiled: what `up`, `validate` and `explain` share."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from weir_cli.shared.output import Exit, fail
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.observe.manifests import load
from weir_operator.observe.tenancy import Tenancy
from weir_operator.problems.problem import Problem, Reason, Severity
from weir_router.contract import CompiledConfig, Secrets


class Workspace(NamedTuple):
    """A directory, read and compiled."""

    config: CompiledConfig
    secrets: Secrets
    problems: tuple[Problem, ...]
    notices: tuple[str, ...]
    unreadable: bool  # a file is not YAML: it may hold objects that were there before

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
    tenancy: Tenancy | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Workspace:
    """Loads and compiles `path`. Raises `typer.Exit` when there is no such directory.

    Without `tenancy`, policies of `namespace` are offered to callers of all others.
    """
    if not os.path.exists(path):  # Path.exists raises where a parent may not be read
        raise fail(
            f"{path} is not there; give a directory (or a file) of ModelTier and RoutingPolicy manifests.", Exit.USAGE
        )
    loaded = load(path, KINDS, namespace=namespace, class_name=class_name, environ=environ, tenancy=tenancy)
    compiled = compile_config(loaded.observed, KINDS, catalogue=Catalogue.load(), revision=revision, now=time.time())
    return Workspace(
        compiled.config,
        compiled.secrets,
        (*loaded.problems, *compiled.problems),
        tuple(loaded.notices),
        any(problem.reason is Reason.YAML_INVALID for problem in loaded.problems),
    )


def print_problems(console: Console, problems: Sequence[Problem], notices: Sequence[str]) -> None:
    """A block per problem: where, what, and what to do."""
    for notice in notices:
        console.print(f"[dim]note:[/] {escape(notice)}", highlight=False, soft_wrap=True)
    for problem in problems:
        colour = "red" if problem.severity is Severity.ERROR else "yellow"
        where = f"{problem.where}: " if problem.where else ""
        field = f" {problem.field}" if problem.field else ""
        console.print(
            f"{escape(where)}[{colour}]{problem.severity.value.lower()}[/] {escape(problem.object + field)} "
            f"[dim]({problem.reason})[/]",
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"    {problem.message}", highlight=False, markup=False, soft_wrap=True)
        if problem.action:
            console.print(f"    → {problem.action}", highlight=False, markup=False, soft_wrap=True)


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 policy`, `2 policies`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def summary(config: CompiledConfig) -> Table:
    """Table of the config: a row per policy."""
    table = Table(title="RoutingPolicies", title_justify="left")
    for column in ("policy", "models", "mode", "routes", "serves"):
        table.add_column(column, overflow="fold")
    for policy in config.policies:
        routes = "\n".join(f"{route.name} → {', '.join(ref.tier for ref in route.tiers)}" for route in policy.routes)
        serves = "yes" if policy.not_ready is None else f"no: {policy.not_ready}"
        cells = (policy.key, ", ".join(policy.patterns), policy.mode.value, routes, serves)
        table.add_row(*map(escape, cells))
    return table
