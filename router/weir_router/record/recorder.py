"""Hands each ended request to every sink. Called by `serve.story` and `sidecar.relay`."""

from __future__ import annotations

from collections.abc import Sequence

from weir_router.record.finished import Finished, Sink
from weir_router.record.series import Number


class Recorder:
    """The recorder of one router."""

    def __init__(self, in_flight: Number, sinks: Sequence[Sink], aside: Sequence[Sink] = ()) -> None:
        """`in_flight` counts the requests that are being served. Only `aside` hears of those that ask no model."""
        self._in_flight = in_flight
        self._sinks = tuple(sinks)
        self._aside = tuple(aside)

    def started(self) -> None:
        """Counts a request that came in."""
        self._in_flight.value += 1

    def ended(self, finished: Finished) -> None:
        """Hands over a request whose last byte was sent, or that ended without one."""
        self._in_flight.value -= 1
        for sink in self._sinks:
            sink(finished)

    def ended_aside(self, finished: Finished) -> None:
        """Like `ended`, for a request that asked no model. It is no success and no failure of a policy."""
        self._in_flight.value -= 1
        for sink in self._aside:
            sink(finished)
