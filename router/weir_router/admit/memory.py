"""The bytes that this process may hold for its callers, counted. Used by `serve`.

One ledger for the whole process, so that many requests together cannot take more than a few may. A part of the router
that is about to hold bytes takes them before, and gives the same number back after. Counting only: no bytes are kept
here, and no memory is measured.

    memory = Memory(256 * 1024 * 1024)
    if memory.take(len(body)):
        ...
        memory.give_back(len(body))
"""

from __future__ import annotations

PER_BYTE = 3
"""Bytes counted for one byte of a request's body: it is held as it came, decoded, and as it is sent on."""

RETRY_AFTER = 2.0
"""Seconds until a caller should ask again when the memory is used up: most bodies have been sent on by then."""


class Memory:
    """How many bytes may be held, and how many are."""

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

    def give_back(self, size: int) -> None:
        """Counts `size` bytes as free again; the same number has been taken before."""
        self.held -= size
