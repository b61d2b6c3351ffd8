"""429s as evidence that a backend refuses everything, and not only the excess. Used by `health.breaker` alone.

A backend at its rate limit still serves its share, so some 429s say nothing against it, nor do many in one burst. The
difference is that *nothing* is let through: ten attempts that started one after another were all refused, and for a
second none that started meanwhile was served. An attempt without an answer ends the row, too: refusals come at once, so
it was most likely let through.
"""

from __future__ import annotations

ROW = 10
"""Refusals in a row that are believed: a backend that serves every other request shows ten once in a thousand times."""
REFUSING = 1.0
"""Seconds in which nothing was served. Providers may enforce a limit per minute by the second, so a backend that serves
its share lets a request through within this time. A burst of requests is over sooner.
"""
KEPT = 4 * ROW
"""Refusals that are kept to look for a row among them, since answers may overtake each other."""


class Refusals:
    """The latest 429s that no later success has refuted, by the attempts' numbers in the order of starting."""

    def __init__(self) -> None:
        self.times: dict[int, float] = {}  # number -> monotonic moment of the refusal
        self._first, self._since = 0, 0.0  # of all that are not refuted, whether or not they are kept

    def clear(self) -> None:
        """Forgets everything."""
        self.times = {}

    def served(self, number: int) -> None:
        """This attempt was let through, which refutes the refusals of attempts that started before it."""
        if number < self._first:
            return
        self.times = {n: at for n, at in self.times.items() if n > number}
        if self.times:
            self._first, self._since = next(iter(self.times.items()))

    def all_refused(self, number: int, now: float) -> bool:
        """Takes one refusal; returns whether the backend refuses everything."""
        if not self.times:
            self._first, self._since = number, now
        self.times[number] = now
        if len(self.times) > KEPT:
            del self.times[next(iter(self.times))]
        if now - self._since < REFUSING:
            return False
        first = last = number
        while first - 1 in self.times:
            first -= 1
        while last + 1 in self.times:
            last += 1
        return last - first + 1 >= ROW
