"""The short pages for users repeat figures of the long pages behind them, and invent none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def figures(text: str) -> list[tuple[str, str]]:
    """Row and figure of every table cell but the first, for example ("start to listening", "0.5 s")."""
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return [
        (name, found)
        for name, *cells in rows
        for cell in cells
        for found in re.findall(r"\d[\d,.]*(?: [µm]?s| %)?", cell)
    ]


@pytest.mark.parametrize("name", ["performance", "scale", "faults"])
def test_every_figure_of_a_short_page_is_one_of_the_long_page(name: str):
    short, long = (DOCS / f"{name}.md").read_text(), (DOCS / "internals" / f"{name}.md").read_text()
    found = figures(short)
    assert len(found) > 20
    missing = [(row, figure) for row, figure in found if not re.search(rf"(?<![\d.]){re.escape(figure)}", long)]
    missing = [it for it in missing if not re.search(rf"(?<![\d.]){re.escape(it[1].split()[0])}(?![\d.])", long)]
    assert not missing
