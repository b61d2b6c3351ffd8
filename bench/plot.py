"""The benchmark as a picture: CPU per unit of work as bars with their spread, an SVG without any library."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape

ROW, GROUP, LEFT, WIDTH = 24, 34, 220, 560
_COLOURS = {"weir": "#2563eb", "weir, compiled": "#1e3a8a"}

Rounds = Sequence[Mapping[str, float]]


def bars(measured: Mapping[tuple[str, str], Rounds]) -> str:
    """A group of bars per work, each group on a scale of its own; a line shows the lowest and highest round."""
    works = list(dict.fromkeys(work for work, _ in measured))
    parts: list[str] = []
    y = 10
    for work in works:
        rows = {name: rounds for (of, name), rounds in measured.items() if of == work and name != "direct"}
        unit = "chunk" if work.startswith("streams") else "request"
        parts.append(_text(10, y + 16, f"{work}: µs of CPU per {unit}", bold=True))
        y += GROUP
        longest = max(statistics.median(cpu(rounds)) for rounds in rows.values()) or 1.0
        for name, rounds in rows.items():
            parts += _row(name, cpu(rounds), y, WIDTH / longest / 1.25)
            y += ROW
        y += 12
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 90}" height="{y}"'
    style = 'font-family="sans-serif" font-size="13"'
    return "\n".join([f"{head} {style}>", '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def cpu(rounds: Rounds) -> list[float]:
    """CPU of each round."""
    return [figures["cpu_us"] for figures in rounds]


def _row(name: str, values: Sequence[float], y: int, scale: float) -> list[str]:
    middle, low, high = statistics.median(values), min(values), max(values)
    colour = _COLOURS.get(name, "#9ca3af")
    line = y + ROW // 2 - 2
    return [
        _text(LEFT - 10, y + 14, name, anchor="end"),
        f'<rect x="{LEFT}" y="{y}" width="{middle * scale:.1f}" height="{ROW - 6}" fill="{colour}"/>',
        f'<path d="M{LEFT + low * scale:.1f} {line}H{LEFT + min(high * scale, WIDTH):.1f}" stroke="black"/>',
        _text(LEFT + min(max(middle, high) * scale, WIDTH) + 8, y + 14, f"{middle:.1f}"),
    ]


def _text(x: float, y: float, text: str, *, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
