"""A ledger of the bytes that this process holds for its callers, by namespace. Used by `serve` and `call`.

One ledger serves the whole process, so that many small requests cannot take more than a few large ones. A part of the
router takes bytes before it holds them, and gives the same number back afterwards. It only counts: no bytes are kept
here, and no memory is measured. A namespace has a share, as it has of `admit.queue.Room`.

    memory = Memory(256 * 1024 * 1024)
    if memory.take(len(body), "team-a"):
        ...
        memory.give_back(len(body), "team-a")
"""

from __future__ import annotations

from typing import Final

from weir_router.errors import Overloaded

PER_BYTE = 3
"""Bytes counted for one byte of a request's body, which is held as received, decoded, and as sent upstream."""

RETRY_AFTER = 2.0
"""Seconds until a caller should retry when the memory is used up: most bodies have been sent upstream by then."""

SHARE = 8
"""Bytes that a namespace may hold for each that is free, as of the slots of a `Room`: eight ninths alone, so that a
ninth lets others in at once."""

STRANGERS_SHARE = 1
"""Bytes that all callers together may hold for each that is free before they are identified. They hold only what came
with their heads, 256 KiB each, and mostly for less than a millisecond."""

STRANGERS = ""
"""Stands for the namespace of callers that are not identified yet."""


class Holder:
    """The owner of counted bytes, such as a request, which gives them back in the end."""

    __slots__ = ("held", "namespace")

    held: int  # bytes
    namespace: str  # for which they are counted


class Memory:
    """The number of bytes that may be held, and of those that are."""

    __slots__ = ("_by_namespace", "_shared", "_strangers", "held", "limit")

    def __init__(self, limit: int, *, shared: bool = True) -> None:
        """`limit` is in bytes. `shared`: several namespaces use it, so each has a share."""
        self.limit = limit
        self.held = 0
        self._shared: Final = shared
        self._by_namespace: Final[dict[str, int]] = {}  # only of those that hold some
        self._strangers = 0  # bytes held for `STRANGERS`, apart because every request begins there

    @property
    def scarce(self) -> bool:
        """Whether more than half is held: then bodies must come faster."""
        return 2 * self.held > self.limit

    @property
    def largest(self) -> int:
        """Bytes that one namespace may hold while nothing else is held."""
        return SHARE * self.limit // (SHARE + 1) if self._shared else self.limit

    def left(self, namespace: str) -> int:
        """Bytes that `namespace` may still take."""
        free = self.limit - self.held
        if not self._shared:
            return free
        held = self._held_by(namespace)
        share = SHARE if namespace else STRANGERS_SHARE
        return max(0, free - (free + held + share) // (share + 1))  # it leaves that much, rounded up, to others

    def take(self, size: int, namespace: str) -> bool:
        """Counts `size` more bytes as held for `namespace`. False: it has no room for them, and nothing was counted."""
        if size > self.left(namespace):
            return False
        if size:
            self._add(size, namespace)
        return True

    def claim(self, size: int, namespace: str, what: str) -> None:
        """Takes `size` bytes for `what`, e.g. "this answer". Raises `Overloaded`."""
        if not self.take(size, namespace):
            raise self.used_up(what, namespace)

    def give_back(self, size: int, namespace: str) -> None:
        """Counts `size` bytes as free again; the same number has been taken before for this namespace."""
        if size:
            self._add(-size, namespace)

    def own(self, holder: Holder, namespace: str) -> bool:
        """Counts the bytes of `holder` for `namespace` from now on. False: it has no room for them."""
        before, size = holder.namespace, holder.held
        if size and before != namespace:
            self._add(-size, before)
            if size > self.left(namespace):
                self._add(size, before)
                return False
            self._add(size, namespace)
        holder.namespace = namespace
        return True

    def used_up(self, what: str, namespace: str) -> Overloaded:
        """The error for `what`, e.g. "this answer", for which `namespace` has no bytes left."""
        return Overloaded(self.no_room(what, namespace), retry_after=RETRY_AFTER)

    def no_room(self, what: str, namespace: str) -> str:
        """Says to a caller that the memory, or its namespace's share, is used up."""
        held = self._held_by(namespace)
        if self._shared and not namespace:
            full = f"This router holds as many of its {self.limit} bytes (see --memory) as callers that are not "
            full += "identified yet may use"
        elif self._shared and held >= self.limit - self.held:
            share = f"its share of the {self.limit} bytes that this router may hold (see --memory)"
            full = f"Namespace {namespace} holds {held} bytes, {share}"
        else:  # others hold most
            full = f"This router holds as many bytes as it may ({self.limit}, see --memory)"
        return f"{full}, and has no room for {what} now."

    def _held_by(self, namespace: str) -> int:
        return self._by_namespace.get(namespace, 0) if namespace else self._strangers

    def _add(self, size: int, namespace: str) -> None:
        self.held += size
        if not namespace:
            self._strangers += size
            return
        held = self._by_namespace.get(namespace, 0) + size
        if held:
            self._by_namespace[namespace] = held
        else:
            del self._by_namespace[namespace]
