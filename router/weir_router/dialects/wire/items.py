"""Counts the items of JSON before it is decoded. Used by `body`, `sse` and `call.attempt`.

An item is a comma or an opening bracket or brace: each value has one before it. An object of Python takes 50 to 230
bytes for such a character, so 31 MiB of `{},` would take 848 MiB. Those within texts count, too: telling them
apart would take longer than the count. Prose has one in sixty characters, source code one in twenty.
"""

from __future__ import annotations

WINDOW = 1024 * 1024
"""Bytes counted at once: they stay in the processor's cache, and the count ends early once there are too many."""


def count(data: bytes, most: int) -> int | None:
    """The number of items; None: more than `most`."""
    found = 0
    for start in range(0, len(data), WINDOW):
        end = start + WINDOW
        found += data.count(b",", start, end) + data.count(b"{", start, end) + data.count(b"[", start, end)
        if found > most:
            return None
    return found
