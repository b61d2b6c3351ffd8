"""A ledger of the bytes that this process holds for its callers. Used by `serve` and `call`.

One ledger serves the whole process, so that many small requests cannot take more than a few large ones. A part of the
router takes bytes before it holds them, and gives the same number back afterwards. It only counts: no bytes are kept
here, and no memory is measured.

    memory = Memory(256 * 1024 * 1024)
    if memory.take(len(body)):
        ...
        memory.give_back(len(body))
"""

from __future__ import annotations

from weir_router.errors import Overloaded

PER_BYTE = 3
"""Bytes counted for one byte of a request's body, which is held as received, decoded, and as sent upstream."""

RETRY_AFTER = 2.0
"""Seconds until a caller should retry when the memory is used up: most bodies have been sent upstream by then."""


class Memory:
    """The number of bytes that may be held, and of those that are."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes."""
        self.limit = limit
        self.held = 0

    @property
    def left(self) -> int:
        """Bytes that may still be taken."""
        return self.limit - self.held

    @property
    def scarce(self) -> bool:
        """Whether more than half is held: the rest is kept for callers that are known."""
        return 2 * self.held > self.limit

    def take(self, size: int) -> bool:
        """Counts `size` more bytes as held. False: there is no room for them, and nothing was counted."""
        if self.held + size > self.limit:
            return False
        self.held += size
        return True

    def used_up(self, what: str) -> Overloaded:
        """The error for `what`, e.g. "this answer", for which there are no bytes left."""
        return Overloaded(self.no_room(what), retry_after=RETRY_AFTER)

    def no_room(self, what: str) -> str:
        """Says to a caller that the memory is used up."""
        return (
            f"This router holds as many bytes as it may ({self.limit}, see --memory), and has no room for {what} now."
        )

    def give_back(self, size: int) -> None:
        """Counts `size` bytes as free again; the same number has been taken before."""
        self.held -= size
