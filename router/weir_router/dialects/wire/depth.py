"""The depth of decoded JSON: lists and objects within each other. Used by `wire.body`.

The check goes level by level through containers only, in C: some 15 us for the 200 KB of an agent's conversation. An
object that holds nothing but texts and numbers is no container for Python's collector, so a last level of such objects
is not counted.
"""

from __future__ import annotations

import gc
from typing import Any

MAX_DEPTH = 128
"""Levels of lists and objects in a request. Schemas of tools have some twenty. Servers of models read JSON by
recursion, and many give up, or break the connection, at a few hundred.
"""

_held_by, _is_container = gc.get_referents, gc.is_tracked


def too_deep(value: Any, most: int = MAX_DEPTH) -> bool:
    """Whether a decoded value has more than `most` levels."""
    level = [value]
    for _ in range(most):
        level = [*filter(_is_container, _held_by(*level))]
        if not level:
            return False
    return True


def deepest(fields: dict[str, Any]) -> str:
    """The first field that is too deep, with the index of its item if it is a list; e.g. `messages[3]`."""
    for name, value in fields.items():
        if too_deep(value, MAX_DEPTH - 1):
            items = value if isinstance(value, list) else ()
            index = next((f"[{index}]" for index, it in enumerate(items) if too_deep(it, MAX_DEPTH - 2)), "")
            return f"{name}{index}"
    return ""
