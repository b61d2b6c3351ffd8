"""Token reviews: whether the API server still accepts a token, for installations that cannot wait until it expires.

Used by `identify.identifier` after a token was verified offline, so that garbage never reaches the API server. Routers
have no rights there: the operator's config server asks for them. A good answer counts for `GOOD_SECONDS`. Without an
answer the request is refused, since "unknown" is not "yes".
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from weir_router.clock import Clock
from weir_router.errors import IdentityUnavailable, Unauthenticated

GOOD_SECONDS = 10.0
"""Seconds for which a good answer is remembered. A deleted pod's token works for so long, plus the memory of
`weir_operator.distribute.reviews`."""

GOOD_MAX = 10_000
"""Good answers that are remembered, oldest forgotten first."""

RETRY_AFTER = 1.0
"""Seconds until a client should retry when there was no answer."""


class Reviewer(Protocol):
    """Asks the API server about a token."""

    async def review(self, token: str) -> str | None:
        """The reason why the token is refused; None: it is good. Raises `NoAnswer`."""


class NoAnswer(Exception):
    """The API server could not be asked; the message says why."""


class TokenReviews:
    """Remembers good answers, and asks once for concurrent requests with the same token."""

    def __init__(self, reviewer: Reviewer | None, clock: Clock) -> None:
        self._reviewer = reviewer
        self._clock = clock
        self._good: dict[bytes, float] = {}  # moment until which each is good, oldest first
        self._asked: dict[bytes, asyncio.Task[str | None]] = {}

    async def check(self, token: str, hashed: bytes) -> None:
        """Raises `Unauthenticated` or `IdentityUnavailable` unless the token is good; `hashed` is its key in memory."""
        if self._clock.monotonic() < self._good.get(hashed, 0.0):
            return
        if self._reviewer is None:
            raise _unavailable("this router has no config server to ask (--config-server)")
        task = self._asked.get(hashed)
        if task is None:
            task = self._asked[hashed] = asyncio.create_task(self._reviewer.review(token))
            task.add_done_callback(lambda done: self._answered(hashed, done))
        try:
            # Shielded: a caller that goes away must not cancel a review for which others wait.
            refusal = await asyncio.shield(task)
        except NoAnswer as error:
            raise _unavailable(str(error)) from None
        if refusal is not None:
            raise Unauthenticated(f"This ServiceAccount token is not accepted: {refusal}")

    def _answered(self, hashed: bytes, task: asyncio.Task[str | None]) -> None:
        del self._asked[hashed]
        # Read the exception, too: asyncio warns about one that is never retrieved.
        if not task.cancelled() and task.exception() is None and task.result() is None:
            self._good.pop(hashed, None)
            if len(self._good) >= GOOD_MAX:
                del self._good[next(iter(self._good))]
            self._good[hashed] = self._clock.monotonic() + GOOD_SECONDS


def _unavailable(why: str) -> IdentityUnavailable:
    return IdentityUnavailable(
        f"This installation asks the API server about each token (token review), and there is no answer: {why}.",
        retry_after=RETRY_AFTER,
    )
