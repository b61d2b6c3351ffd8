"""The interface of a ledger, which counts what requests use against their limits. Used by `serve.door` and `call`.

A caller of the ledger reserves an amount before it uses it. Afterwards it either settles or releases the hold:

    hold = ledger.reserve(candidate.limits)  # raises RateLimited, which names the limit
    if hold.pending is not None:
        await hold.pending                   # only a ledger that asks another process has one
    ...
    hold.settle(usage)

`ledger_local` counts within one router and answers at once. A ledger with counts shared by several routers stands
beside it, and answers with `pending`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from weir_router.contract import Limit
from weir_router.dialects.usage import Usage


class Hold(Protocol):
    """The amounts that one request, or one attempt, has reserved."""

    pending: Awaitable[None] | None
    """The ledger's answer, if it is still to come: raises `RateLimited`. Ends within the ledger's own timeout. A hold
    that was refused, or whose answer is no longer awaited, must be released, too."""

    def settle(self, usage: Usage | None, /) -> None:
        """Ends the hold with the tokens that were used. None: the attempt used none, or their number is unknown."""

    def release(self) -> None:
        """Ends the hold of a request that needs nothing more. A request that a rate has counted stays counted."""


class Ledger(Protocol):
    """All counts, by `Limit.key`."""

    def reserve(self, limits: Sequence[Limit], namespace: str = "") -> Hold:
        """Reserves one request of every limit, or of none. Raises `RateLimited`, which names the limit.

        `namespace` is the caller's where the limits count per caller. Limits without it are as many as the config has.
        """
