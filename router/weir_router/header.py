"""Header lines of HTTP/1.1, as the router writes them to callers and to upstreams."""

from __future__ import annotations

from collections.abc import Mapping


def lines(fields: Mapping[str, str]) -> str | None:
    """`fields` as they are sent. None: one holds a line break, which would begin a line of somebody else's choice."""
    names, values = "".join(fields), "".join(fields.values())
    if "\n" in values or "\r" in values or "\0" in values or "\n" in names or "\r" in names or "\0" in names:
        return None
    return "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
