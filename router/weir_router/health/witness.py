"""The report of a request that takes no slot, such as one that counts tokens or reads a stored answer. Handed out by
`Board.witness`, used by `call.direct`.

Such a request says nothing about how a backend generates. So its success is no news, and closes no breaker. A provider
limits its counts apart, a key may be good for answers only, and a server may fail on this path alone; all of these
would take the backend from every caller. So only a failure of the connection counts as that of an attempt does.
"""

from __future__ import annotations

from typing import Final

from weir_router.clock import Clock
from weir_router.errors import FailureKind
from weir_router.health.breaker import Ticket
from weir_router.health.place import Place

CONNECTION_KINDS = frozenset({FailureKind.HOST, FailureKind.CONNECT})
"""Failures that every request to the backend would meet."""


class Witness:
    """One request. Any end after the first is ignored."""

    def __init__(self, clock: Clock, place: Place, ticket: Ticket) -> None:
        self._clock: Final = clock
        self._place: Final = place
        self._ticket: Final = ticket
        self._ended = False

    def failed(self, kind: FailureKind, retry_after: float | None, words: str) -> None:
        """The request failed; `retry_after` in seconds as the upstream said. `words`: the failure for people."""
        if self._ended:
            return
        self._ended = True
        if kind in CONNECTION_KINDS:
            self._place.breaker.failed(self._ticket, kind, retry_after)
            self._place.streak.failed(self._clock.monotonic(), words)

    def ended(self) -> None:
        """The request was answered, or given up: counts nothing."""
        self._ended = True
