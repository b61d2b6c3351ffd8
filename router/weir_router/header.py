"""Header lines of HTTP/1.1, as the router writes them to callers and to upstreams."""

from __future__ import annotations

from collections.abc import Mapping


def lines(fields: Mapping[str, str]) -> str | None:
    """`fields` as they are sent. None: one holds a line break, which would begin a line of somebody else's choice."""
    text = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    if text.count("\n") != len(fields) or text.count("\r") != len(fields) or "\0" in text:
        return None
    return text
