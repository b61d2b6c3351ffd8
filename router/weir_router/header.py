"""Headers of HTTP/1.1, as the router reads and writes them on both sides: names as they come, lines as they go."""

from __future__ import annotations

MAX_NAMES = 1_000
"""Names that are remembered: every SDK's and proxy's, while whoever makes up ever new ones gains no memory of ours."""

_names: dict[bytes, str] = {}


def name_of(raw: bytes) -> str:
    """A header's name in lower case. The same dozen come with every message, and are looked up only."""
    name = _names.get(raw)
    if name is None:
        name = raw.decode("latin-1").lower()
        if len(_names) < MAX_NAMES:
            _names[raw] = name
    return name


def lines(fields: dict[str, str]) -> str | None:
    """`fields` as they are sent. None: one holds a line break, which would begin a line of somebody else's choice."""
    pieces = [f"{name}: {value}" for name, value in fields.items()]
    text = "".join(pieces)
    if "\n" in text or "\r" in text or "\0" in text:
        return None
    return "\r\n".join([*pieces, ""])
