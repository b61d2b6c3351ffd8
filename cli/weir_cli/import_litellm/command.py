"""The command `weir import litellm`: reads the config, writes manifests, prints what was not carried over.

Mounted by `weir_cli.app`; decides nothing about the conversion.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table
from rich.text import Text

from weir_cli.import_litellm.convert import Imported, NotLiteLLM, convert
from weir_cli.import_litellm.findings import Finding
from weir_cli.shared.manifests import SecretSource, instructions, render, write_files
from weir_cli.shared.output import errors, fail

STDOUT = "-"
_FILES = {"ModelTier": "modeltiers.yaml", "RoutingPolicy": "routingpolicies.yaml"}
_SECRETS = "secrets.yaml"


def litellm(
    config: Annotated[Path, typer.Argument(help="Config of the LiteLLM proxy.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Directory for the manifests; - prints them.")] = STDOUT,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace that the manifests name; default: none.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Turns a LiteLLM config into ModelTiers and RoutingPolicies, and says on stderr what has no equivalent.

    \b
    weir import litellm config.yaml --output manifests

    Keys in the environment stay there. Keys in the config go into secrets.yaml, which only you can read, and never to
    stdout.

    Exit code 0: converted, even if something was left out; 2: the file cannot be read, or files are in the way.
    """
    imported = _convert(config, namespace)
    if output == STDOUT:
        _print(imported, namespace)
    else:
        _write(imported, Path(output), namespace, force=force)
    report(imported.unsupported)


def _convert(config: Path, namespace: str | None) -> Imported:
    try:
        return convert(yaml.safe_load(config.read_text(encoding="utf-8")), namespace=namespace, environ=os.environ)
    except yaml.MarkedYAMLError as error:
        # The problem and the place, not the text around it: that may hold a key.
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise fail(f"{config}{line}: no YAML: {error.problem}") from None
    except NotLiteLLM as error:
        raise fail(f"{config}: {error}. Give the file that LiteLLM is started with (--config).") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:  # ValueError: no UTF-8, no such date
        raise fail(f"{config} cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}") from None


def _print(imported: Imported, namespace: str | None) -> None:
    literal = [secret(it, namespace, shown=False) for it in imported.secrets if it.literal]
    typer.echo(render([*imported.manifests, *literal], instructions(imported.secrets, namespace)).rstrip())
    if literal:
        message = f"Not printed: {len(literal)} of the config's own keys. Write to a directory, or fill in the Secrets."
        errors.print(message, highlight=False, soft_wrap=True)


def _write(imported: Imported, directory: Path, namespace: str | None, *, force: bool) -> None:
    by_kind = {name: [it for it in imported.manifests if it["kind"] == kind] for kind, name in _FILES.items()}
    texts = {name: render(manifests) for name, manifests in by_kind.items() if manifests}
    if imported.secrets:
        literal = [secret(it, namespace, shown=True) for it in imported.secrets if it.literal]
        texts[_SECRETS] = render(literal, instructions(imported.secrets, namespace))
    write_files(directory, texts, force=force, private=frozenset({_SECRETS}))
    counts = ", ".join(f"{len(manifests)} {kind}s" for kind, manifests in zip(_FILES, by_kind.values(), strict=True))
    errors.print(
        f"{directory}: {counts}, {len(imported.secrets)} Secrets needed. Next: weir validate {directory}",
        highlight=False,
        soft_wrap=True,
    )


def secret(source: SecretSource, namespace: str | None, *, shown: bool) -> dict[str, Any]:
    """The Secret for a key that stands in the config; its value only where `shown`."""
    metadata = {
        "name": source.name,
        **({"namespace": namespace} if namespace else {}),
        "labels": {"weir.dev/credential": "true"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        **({"stringData": {source.key: source.literal}} if shown else {}),
    }


def report(findings: Sequence[Finding]) -> None:
    """The findings as a table on stderr."""
    if not findings:
        errors.print("Everything in the config has an equivalent.")
        return
    table = Table(title=f"Without an exact equivalent: {len(findings)}", title_justify="left", show_lines=True)
    for heading in ("where and what", "why, and what to do instead"):
        table.add_column(heading, overflow="fold", ratio=1)
    for it in findings:
        table.add_row(Text.assemble((it.where, "dim"), "\n", (it.what, "bold")), Text(f"{it.why}\n→ {it.instead}"))
    errors.print(table)
