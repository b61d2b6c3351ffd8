"""`weir catalogue`: what the catalogue knows about models. Mounted by `weir_cli.app`; looks nothing up by itself."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
import yaml
from rich.table import Table

from weir_cli.shared.output import Exit, console, fail, print_json
from weir_operator.compile.catalogue import Catalogue, Entry
from weir_router.contract import Price, PriceStep


class Output(StrEnum):
    """`--output` of this command; YAML because its lines can be pasted into a ModelTier."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def catalogue(
    pattern: Annotated[str, typer.Argument(help="Part of a vendor's or model's name; * and ? are wildcards.")] = "",
    output: Annotated[
        Output, typer.Option("--output", "-o", help="table for people; json and yaml in a backend's own fields.")
    ] = Output.TABLE,
) -> None:
    """Lists known models: price, context, what they can do and what they refuse.

    \b
    weir catalogue "gpt-*"

    A backend that states no price, limits, capabilities or parameters gets them from here.

    Exit code 0: listed; 1: nothing matches.
    """
    known = Catalogue.load()
    entries = known.search(pattern)
    if not entries:
        raise fail(
            f"The catalogue of {known.date} has no model like {pattern!r}; state price and limits in the backend.",
            Exit.PROBLEMS,
        )
    if output is Output.TABLE:
        console.print(table(entries, known))
        return
    listing = {"date": known.date, "source": known.source, "models": [record(entry) for entry in entries]}
    if output is Output.JSON:
        print_json(listing)
    else:
        typer.echo(yaml.safe_dump(listing, sort_keys=False, allow_unicode=True).rstrip())


def table(entries: Sequence[Entry], known: Catalogue) -> Table:
    """A row per model; the title carries the date and the source, because prices go stale."""
    shown = f"{len(entries)} of {len(known.entries)} models"
    title = f"Catalogue of {known.date}: {shown}, US dollars per million tokens\n[dim]{known.source}[/]"
    listing = Table(title=title, title_justify="left", show_lines=True)
    listing.add_column("vendor/model, what it can and what it refuses", overflow="fold")
    for heading in ("input", "cached", "output", "context", "answer"):
        listing.add_column(heading, justify="right", no_wrap=True)
    for entry in entries:
        listing.add_row(*_row(entry))
    return listing


def record(entry: Entry) -> dict[str, Any]:
    """An entry in the words of a ModelTier's backend."""
    return {
        "vendor": entry.vendor,
        "provider": entry.provider.value,
        "model": entry.model,
        "price": {**prices(entry.price), **_stated({"steps": [_step(it) for it in entry.price.steps]})},
        "limits": _stated({"contextTokens": entry.limits.context_tokens, "outputTokens": entry.limits.output_tokens}),
        "capabilities": [ability.value for ability in sorted(entry.capabilities)],
        "parameters": _stated({"drop": list(entry.parameters.drop), "rename": entry.parameters.rename}),
        "traits": msgspec.to_builtins(entry.traits),
    }


def _step(step: PriceStep) -> dict[str, Any]:
    return {"above": step.above, **prices(step)}


def prices(price: Price | PriceStep) -> dict[str, str]:
    """The figures of a price as the decimal strings that a manifest takes."""
    figures = {
        "input": price.input,
        "cachedInput": price.cached_input,
        "cacheWrite": price.cache_write,
        "cacheWriteLong": price.cache_write_long,
        "output": price.output,
    }
    return {name: dollars(figure) for name, figure in figures.items() if figure is not None}


def dollars(amount: float) -> str:
    """`0.15`, `10`: six decimals at most, no exponent, no trailing zeros."""
    return f"{amount:.6f}".rstrip("0").rstrip(".")


def _stated(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _row(entry: Entry) -> tuple[str, ...]:
    stated, limits = prices(entry.price), entry.limits
    tokens = (_count(limits.context_tokens), _count(limits.output_tokens))
    return (_described(entry), stated["input"], stated.get("cachedInput", "–"), stated["output"], *tokens)


def _described(entry: Entry) -> str:
    """Name, abilities and refusals below each other: beside each other they fit into no terminal."""
    renamed = (f"{old} (takes {new})" for old, new in entry.parameters.rename.items())
    refused = ", ".join((*entry.parameters.drop, *renamed))
    lines = [
        f"[bold]{entry.vendor}/{entry.model}[/]",
        ", ".join(ability.value for ability in sorted(entry.capabilities)),
    ]
    return "\n".join([*lines, *([f"[dim]refuses {refused}[/]"] if refused else [])])


def _count(tokens: int | None) -> str:
    """`128k`, `1.05M`: whole figures would not fit beside the rest."""
    if tokens is None:
        return "–"
    return f"{tokens / 1e6:.3g}M" if tokens >= 1_000_000 else f"{tokens / 1e3:.3g}k"
