"""Headers of HTTP/1.1, for callers and upstreams: reading names, and writing lines."""

from __future__ import annotations

MAX_NAMES = 1_000
"""Header names that are cached, at most, so that a client that invents names cannot grow our memory."""

_names: dict[bytes, str] = {}  # at most `MAX_NAMES`, of the whole process


def name_of(raw: bytes) -> str:
    """A header's name in lower case. The same dozen names come with every message, so they are cached."""
    name = _names.get(raw)
    if name is None:
        name = raw.decode("latin-1").lower()
        if len(_names) < MAX_NAMES:
            _names[raw] = name
    return name


def lines(fields: dict[str, str]) -> str | None:
    """`fields` as header lines. None: one holds a line break, with which a sender could inject a line of its own."""
    pieces = [f"{name}: {value}" for name, value in fields.items()]
    text = "".join(pieces)
    if "\n" in text or "\r" in text or "\0" in text:
        return None
    pieces.append("")
    return "\r\n".join(pieces)
