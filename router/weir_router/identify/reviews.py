"""Whether the API server still stands by a token, for installations that cannot wait until it expires.

Used by `identify.identifier` after a token was verified offline, so that nobody can keep the API server busy with
garbage. Routers have no rights there: the operator's config server asks for them. A good answer counts for
`GOOD_SECONDS`; without an answer the request is refused, since "cannot tell" is not "yes".
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from weir_router.clock import Clock
from weir_router.errors import IdentityUnavailable, Unauthenticated

GOOD_SECONDS = 10.0
"""That a good answer is not asked for again: so long does a deleted pod's token work, and the operator's own memory
of `weir_operator.distribute.reviews` on top."""

GOOD_MAX = 10_000
"""Good answers that are remembered, oldest forgotten first."""

RETRY_AFTER = 1.0
"""Seconds until a client should ask again when there was no answer."""


class Reviewer(Protocol):
    """Asks the API server."""

    async def review(self, token: str) -> str | None:
        """None: the token is good. Otherwise why not. Raises `NoAnswer`."""


class NoAnswer(Exception):
    """Nobody could be asked; the message says why."""


class TokenReviews:
    """Remembers good answers, and asks once for what many ask at the same time."""

    def __init__(self, reviewer: Reviewer | None, clock: Clock) -> None:
        self._reviewer = reviewer
        self._clock = clock
        self._good: dict[bytes, float] = {}  # until when, oldest first
        self._asked: dict[bytes, asyncio.Task[str | None]] = {}

    async def check(self, token: str, hashed: bytes) -> None:
        """Raises `Unauthenticated` or `IdentityUnavailable`; `hashed` stands for the token in our memory."""
        if self._clock.monotonic() < self._good.get(hashed, 0.0):
            return
        if self._reviewer is None:
            raise _unavailable("this router has no config server to ask (--config-server)")
        task = self._asked.get(hashed)
        if task is None:
            task = self._asked[hashed] = asyncio.create_task(self._reviewer.review(token))
            task.add_done_callback(lambda done: self._answered(hashed, done))
        try:
            # Shielded: one who goes away must not cancel what others wait for.
            refusal = await asyncio.shield(task)
        except NoAnswer as error:
            raise _unavailable(str(error)) from None
        if refusal is not None:
            raise Unauthenticated(f"This ServiceAccount token is not accepted: {refusal}")

    def _answered(self, hashed: bytes, task: asyncio.Task[str | None]) -> None:
        del self._asked[hashed]
        # Looking at the exception, too: asyncio complains of one that nobody has looked at.
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
