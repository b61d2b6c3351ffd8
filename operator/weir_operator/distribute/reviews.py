"""Identifies the ServiceAccount of a token: asks the API server, and caches its answers. Used by
`weir_operator.distribute.server`.

A token, and what an API server says about a request that holds one, never enters an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.token_reviews import TokenRefused, TokenReviewer

ACCEPTED_SECONDS = 60.0
"""Seconds that an accepted token is not asked about again. A deleted ServiceAccount gets config that long."""

REFUSED_SECONDS = 5.0
"""Seconds that a refused token is not asked about again: short, since a new ServiceAccount's is accepted soon."""

ACCEPTED_MAX = 10_000
"""Accepted tokens that are remembered, oldest forgotten first; each router has one."""

REFUSED_MAX = 1_000
"""The same for refused ones; apart, so that they cannot drive out the others."""

T = TypeVar("T")


class CachedReviewer:
    """Remembers answers by the hash of the token, and asks once for what many ask at the same time."""

    def __init__(self, reviewer: TokenReviewer, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._reviewer = reviewer
        self._accepted = _Memory[ServiceAccount](ACCEPTED_SECONDS, ACCEPTED_MAX, monotonic)
        self._refused = _Memory[str](REFUSED_SECONDS, REFUSED_MAX, monotonic)
        self._asked: dict[bytes, asyncio.Task[ServiceAccount]] = {}

    async def review(self, token: str) -> ServiceAccount:
        """Raises `TokenRefused` or `ReviewUnavailable`."""
        key = hashlib.sha256(token.encode()).digest()
        if (account := self._accepted.get(key)) is not None:
            return account
        if (reason := self._refused.get(key)) is not None:
            raise TokenRefused(reason)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._ask(key, token))
            task.add_done_callback(_looked_at)
        # Shielded: one who goes away must not cancel what others wait for.
        return await asyncio.shield(task)

    async def _ask(self, key: bytes, token: str) -> ServiceAccount:
        try:
            account = await self._reviewer.review(token)
            self._accepted.put(key, account)
            return account
        except TokenRefused as error:
            self._refused.put(key, str(error))
            raise
        finally:
            del self._asked[key]


def _looked_at(task: asyncio.Task[ServiceAccount]) -> None:
    """Reads the error of a task whose callers have all gone away; asyncio would complain of it."""
    if not task.cancelled():
        task.exception()


class _Memory(Generic[T]):
    """A cache of at most `limit` values, each for `seconds`."""

    def __init__(self, seconds: float, limit: int, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._limit = limit
        self._monotonic = monotonic
        self._values: dict[bytes, tuple[float, T]] = {}  # oldest first

    def get(self, key: bytes) -> T | None:
        until, value = self._values.get(key, (0.0, None))
        return value if self._monotonic() < until else None

    def put(self, key: bytes, value: T) -> None:
        self._values.pop(key, None)
        if len(self._values) >= self._limit:
            del self._values[next(iter(self._values))]
        self._values[key] = (self._monotonic() + self._seconds, value)
