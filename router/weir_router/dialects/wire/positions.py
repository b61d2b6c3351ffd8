"""Bounds of the choices, tool calls and content blocks of one answer. Used by the formats' readers and assemblers.

An upstream numbers them. Each costs memory until the answer has ended, so their number has a bound, and an index that
is not a small number is malformed.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.wire.failures import malformed
from weir_router.errors import AttemptFailed

MOST = 1_024
"""Choices, tool calls or content blocks of one answer, at most: OpenAI gives 128 choices, and no model makes a hundred
tool calls at once. Citations can cut a text into hundreds of blocks."""


def is_position(index: Any) -> bool:
    """Whether `index` is a whole number from 0 to 1,023."""
    return type(index) is int and 0 <= index < MOST


def position(index: Any) -> int:
    """`index`, if it is a position. Raises `AttemptFailed` (malformed)."""
    if type(index) is int and 0 <= index < MOST:
        return index
    raise malformed(f"an index that is not a whole number from 0 to {MOST - 1}")


def too_many(what: str) -> AttemptFailed:
    """The failure for an answer with too many of `what`, e.g. "tool calls"."""
    return malformed(f"more than {MOST} {what} in one answer")
