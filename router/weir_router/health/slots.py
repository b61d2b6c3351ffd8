"""The slots of one place that each namespace holds, and its share of a limited concurrency. Used by `health.place`.

While one namespace alone asks for a place, it may hold every slot. Once another has asked, it may hold eight slots for
each free one, as of `admit.queue.Room`, and never the last slot beside all others: so another
namespace finds a free slot, even beside streams of minutes. A place with one slot is left to the turns of the queue.
"""

from __future__ import annotations

from typing import Final

SHARE = 8
"""Slots that a namespace may hold for each free one, see `admit.queue.SHARE`."""

REMEMBERED = 3600.0
"""Seconds for which a namespace that has asked counts as another: one that asks each hour finds a free slot."""


class Slots:
    """Those of one place. Every step takes the same time, however many namespaces there are."""

    def __init__(self) -> None:
        self._held: Final[dict[str, int]] = {}
        self._last, self._last_at = "", 0.0  # the namespace that asked last, in seconds of the monotonic clock
        self._other, self._other_at = "", 0.0  # the last one before it that was another

    def asks(self, namespace: str, now: float) -> None:
        """A request of this namespace wants a slot."""
        if namespace != self._last:
            self._other, self._other_at = self._last, self._last_at
            self._last = namespace
        self._last_at = now

    def may(self, namespace: str, slots: int, taken: int, now: float) -> bool:
        """Whether this namespace may take one more of so many slots, of which `taken` are taken."""
        if taken >= slots:
            return False
        other, at = (self._other, self._other_at) if namespace == self._last else (self._last, self._last_at)
        held = self._held.get(namespace, 0)
        if not other or not held or now - at > REMEMBERED:
            return True
        return held < SHARE * (slots - taken) and held + 1 < slots

    def take(self, namespace: str) -> None:
        """Counts one more slot."""
        self._held[namespace] = self._held.get(namespace, 0) + 1

    def give_back(self, namespace: str) -> None:
        """Counts one slot less."""
        held = self._held[namespace] - 1
        if held:
            self._held[namespace] = held
        else:
            del self._held[namespace]
