"""Signs of life for callers whose stream has not begun: `failover.keepAlive`. Used by `serve.story`.

Balancers cut a connection on which nothing comes for a minute, while a model may think for longer. So a streaming
caller gets 200 and a comment after a while, and a further one each time that it passes again.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

STEP = 0.1
"""Seconds by which a sign may come too late: callers whose signs are due in the same step share a timer."""


class Waits(Protocol):
    """A request that waits for its answer."""

    def sign(self) -> None:
        """Sends a sign of life to the caller."""


class Waiting:
    """The requests of one router that wait."""

    def __init__(self) -> None:
        self._due: dict[
            int, dict[Waits, float]
        ] = {}  # by the loop's time in steps: requests, with seconds until the next
        self._at: dict[Waits, int] = {}

    def join(self, request: Waits, seconds: float) -> None:
        """Gives the caller a sign of life every so many seconds, until the request leaves."""
        loop = asyncio.get_running_loop()
        at = int((loop.time() + seconds) / STEP) + 1
        due = self._due.get(at)
        if due is None:
            due = self._due[at] = {}
            loop.call_at(at * STEP, self._look, at)
        due[request] = seconds
        self._at[request] = at

    def leave(self, request: Waits) -> None:
        """The request waits no more."""
        due = self._due.get(self._at.pop(request))
        if due is not None:
            due.pop(request, None)

    def _look(self, at: int) -> None:
        for request, seconds in self._due.pop(at).items():
            self.join(request, seconds)
            request.sign()
