"""A bounded collection that many owners fill: one that is full takes from the owner with most, never from another.

So a namespace or an address that sends thousands of new entries crowds out only its own. Used for tokens
(`distribute.reviews`) and connections (`distribute.connections`). PURE but for its memory.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shares(Generic[K, V]):
    """Values by key, each with its owner."""

    def __init__(self) -> None:
        self._values: dict[K, tuple[Hashable, V]] = {}
        self._owned: dict[Hashable, dict[K, None]] = {}  # each owner's keys, oldest first

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """The value of `key`."""
        found = self._values.get(key)
        return found[1] if found else None

    def put(self, owner: Hashable, key: K, value: V) -> None:
        """Sets a value, as the newest of its owner."""
        self.pop(key)
        self._values[key] = owner, value
        self._owned.setdefault(owner, {})[key] = None

    def pop(self, key: K) -> V | None:
        """Removes a value, and returns it."""
        found = self._values.pop(key, None)
        if found is None:
            return None
        owner, value = found
        owned = self._owned[owner]
        del owned[key]
        if not owned:
            del self._owned[owner]
        return value

    def most(self) -> Iterator[tuple[K, V]]:
        """The entries of the owner that has most, oldest first."""
        owned = max(self._owned.values(), key=len, default={})
        return ((key, self._values[key][1]) for key in owned)

    def crowd_out(self) -> None:
        """Removes the oldest value of the owner that has most."""
        for key, _ in self.most():
            self.pop(key)
            return
