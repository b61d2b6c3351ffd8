"""Tables of what `weir up` found without a directory. Used by `keys`; pure. They show variables and never a key."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from weir_cli.up.probe import Listing
from weir_cli.up.sources import Source
from weir_cli.up.tiers import AUTO, Choice, Made


def found_table(answered: Sequence[tuple[Source, Listing]], made: Made) -> Table:
    """A row for each source."""
    table = Table(title="Found", title_justify="left")
    for heading in ("provider", "by"):
        table.add_column(heading, overflow="fold")
    table.add_column("models", justify="right")
    table.add_column("in tiers", overflow="fold")
    for source, listing in answered:
        table.add_row(source.title, escape(source.origin), _count(listing), escape(_used(source, listing, made)))
    return table


def _count(listing: Listing) -> str:
    if not listing.models:
        return "none"
    return f"{len(listing.models)}{'?' if listing.problem else ''}"


def _used(source: Source, listing: Listing, made: Made) -> str:
    if not listing.models:
        return "not used"
    used = [f"{tier} {it.model.name}" for tier, choices in made.tiers.items() for it in choices if it.source is source]
    return ", ".join(used) or "only by name"


def tiers_table(made: Made) -> Table:
    """A row for each tier of `auto`, with prices in US dollars."""
    table = Table(title=f"Tiers of {AUTO}", title_justify="left")
    table.add_column("tier")
    table.add_column("model", overflow="fold")
    for heading in ("$ per million tokens in", "out"):
        table.add_column(heading, justify="right", no_wrap=True)
    for tier, choices in made.tiers.items():
        models, inputs, outputs = zip(*(_cells(it) for it in choices), strict=True)
        table.add_row(tier, *map("\n".join, (models, inputs, outputs)))
    return table


def _cells(choice: Choice) -> tuple[str, str, str]:
    price = choice.price
    if price is None:
        return escape(choice.model.name), "unknown", "unknown"
    return escape(choice.model.name), *(f"{figure:f}" for figure in price)  # type: ignore[return-value]


def wrapped(text: str) -> str:
    """`text` without control characters: a provider's words go to a terminal."""
    return "".join(it if it.isprintable() else " " for it in text)
