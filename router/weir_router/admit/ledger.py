"""The interface of a ledger, which counts what requests use against their limits. Used by `serve.door` and `call`.

What a request may use is reserved before it is used, and settled or released afterwards, exactly one of the two:

    hold = ledger.reserve(candidate.limits)  # raises RateLimited, which names the limit
    if hold.pending is not None:
        await hold.pending                   # only a ledger that asks another process has one
    ...
    hold.settle(usage)

`ledger_local` counts within one router and answers at once. A ledger whose counts are shared by several routers stands
beside it, and answers with `pending`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from weir_router.contract import Limit
from weir_router.record.events import Usage


class Hold(Protocol):
    """What one request, or one attempt, has reserved."""

    pending: Awaitable[None] | None
    """The ledger's answer, if it is still to come: raises `RateLimited`. Ends within the ledger's own timeout. A hold
    that was refused, or whose answer nobody awaits any more, is released too."""

    def settle(self, usage: Usage | None, /) -> None:
        """Ends the hold with the tokens that were used. None: the attempt used none, or their number is unknown."""

    def release(self) -> None:
        """Ends the hold of a request that needs nothing more. A request that a rate has counted stays counted."""


class Ledger(Protocol):
    """All that is counted, by `Limit.key`."""

    def reserve(self, limits: Sequence[Limit]) -> Hold:
        """Reserves one request of every limit, or of none. Raises `RateLimited`, which names the limit."""
