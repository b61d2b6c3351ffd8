"""Turns of namespaces that wait for the same thing: deficit round-robin. PURE; used by `admit.queue`.

Namespaces stand in a ring. At each turn a namespace is credited `QUANTUM` bytes, and its first entry goes once the
credit covers the entry's cost; what is left stays for its next turn. So namespaces get the same number of bytes,
however many entries each of them has, and a large entry waits for as many turns as it has quanta. Between two
namespaces that both wait, the bytes served differ by at most one quantum and two of the largest entries. A turn costs
the same for any number of entries. See M. Shreedhar and G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin"
(1996).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from weir_router.contract import Priority

QUANTUM = 256 * 1024
"""Bytes per turn, and the least cost of an entry. Nearly all prompts are smaller, so a turn is one request for nearly
all: a slot is held for as long by a short prompt as by a long one."""

PER_ENTRY = 64 * 1024
"""Bytes that an entry weighs besides its body, so that many small requests weigh as much as a few large ones: a full
queue has a thousand entries or a thousand times this in bodies."""

_RANK = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


class Entry:
    """One waiting request of a namespace."""

    __slots__ = ("cost", "namespace", "number", "rank", "size", "weight")

    def __init__(self, namespace: str, priority: Priority, number: int, size: int) -> None:
        """`number` is its place in the order of arrival; `size` is in bytes."""
        self.namespace: Final = namespace
        self.rank: Final = _RANK[priority]
        self.number: Final = number
        self.size: Final = size
        self.cost: Final = max(size, QUANTUM)
        self.weight: Final = size + PER_ENTRY


E = TypeVar("E", bound=Entry)


class Line(Generic[E]):
    """The entries of one namespace: by priority, then by arrival. `weight` is the sum of theirs."""

    __slots__ = ("_ranks", "credit", "namespace", "weight")

    def __init__(self, namespace: str) -> None:
        self.namespace: Final = namespace
        self.credit = QUANTUM  # of its first turn
        self.weight = 0
        # Ordered dicts: the first item of a plain one is found by stepping over all that were removed before it.
        self._ranks: tuple[OrderedDict[int, E], ...] = (OrderedDict(), OrderedDict(), OrderedDict())

    def add(self, entry: E) -> None:
        """Puts an entry behind those of its priority."""
        self._ranks[entry.rank][entry.number] = entry
        self.weight += entry.weight

    def drop(self, entry: E) -> None:
        """Removes an entry that is there."""
        del self._ranks[entry.rank][entry.number]
        self.weight -= entry.weight

    def __iter__(self) -> Iterator[E]:
        """The entries, the first to go first. The line must not change meanwhile."""
        for rank in self._ranks:
            yield from rank.values()

    def __reversed__(self) -> Iterator[E]:
        """The entries, the last to go first."""
        for rank in reversed(self._ranks):
            yield from reversed(rank.values())

    @property
    def cost(self) -> int:
        """The cost of the first entry."""
        return next(iter(self)).cost


class Turns(Generic[E]):
    """The lines of all namespaces that wait for one thing, in a ring."""

    __slots__ = ("_ring",)

    def __init__(self) -> None:
        self._ring: OrderedDict[str, Line[E]] = OrderedDict()

    def __len__(self) -> int:
        """The number of namespaces that wait."""
        return len(self._ring)

    def add(self, entry: E) -> None:
        """Puts an entry into its namespace's line. A namespace that did not wait joins the end of the ring."""
        line = self._ring.get(entry.namespace)
        if line is None:
            line = self._ring[entry.namespace] = Line(entry.namespace)
        line.add(entry)

    def drop(self, entry: E) -> None:
        """Removes an entry. A namespace without entries leaves the ring, and its credit with it."""
        line = self._ring[entry.namespace]
        line.drop(entry)
        if not line.weight:
            del self._ring[entry.namespace]

    def next(self, out: set[str]) -> Line[E] | None:
        """The line whose turn it is, except those of the namespaces `out`. The caller takes the cost off its credit."""
        ring = self._ring
        while len(out) < len(ring):
            for _ in range(len(ring)):
                line = next(iter(ring.values()))
                if line.namespace not in out:
                    if line.credit >= line.cost:
                        return line
                    line.credit += QUANTUM
                ring.move_to_end(line.namespace)
            self._skip_rounds(out)
        return None

    def _skip_rounds(self, out: set[str]) -> None:
        """Gives at once the credit of all rounds in which no line could go: large entries may wait for hundreds."""
        lines = [line for line in self._ring.values() if line.namespace not in out]
        rounds = min((line.cost - line.credit + QUANTUM - 1) // QUANTUM for line in lines)
        if rounds > 0:
            for line in lines:
                line.credit += rounds * QUANTUM
