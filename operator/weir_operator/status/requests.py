"""Requests to the API server from the event loop. Each runs in a thread; a failure is logged once.

Used by `status.writer` and `status.teller`, which share one `Requests`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from weir_operator.kube.statuses import Outcome

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("weir_operator.status")


class Requests:
    """Makes requests, and remembers which kinds of them fail now."""

    def __init__(self) -> None:
        self._failing: set[str] = set()

    async def make(
        self, what: str, request: Callable[P, tuple[Outcome, str]], *args: P.args, **kwargs: P.kwargs
    ) -> Outcome:
        """The outcome of `request`. `what` names what it writes in the log, e.g. "the status of ModelTiers"."""
        outcome, why = await _finished(request, *args, **kwargs)
        if outcome is Outcome.DONE and what in self._failing:
            self._failing.discard(what)
            _log.info("%s can be written again", what)
        elif outcome in (Outcome.FORBIDDEN, Outcome.FAILED) and what not in self._failing:
            self._failing.add(what)
            _log.warning("%s cannot be written: %s. (It is tried again every few seconds.)", what, why)
        return outcome


async def _finished(request: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `request`, from a thread. A cancellation waits for it, so the next leader finds none under way."""
    work = asyncio.ensure_future(asyncio.to_thread(request, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise
