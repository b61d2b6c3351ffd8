"""Turns at a scarce service, such as the API server: some at once, and namespaces one after the other.

A namespace that asks a thousand times waits behind itself, and delays any other by one turn. Used by
`distribute.reviews` and the sidecar's webhook, from one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator


class TooMany(Exception):
    """There are so many requests of one namespace that another may not even wait."""


class Turns:
    """The turns at one service: at most `at_once` at a time. Of each namespace at most `waiting` wait."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = at_once
        self._bound = waiting
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}  # in the order of their next turns

    @contextlib.asynccontextmanager
    async def turn(self, namespace: str) -> AsyncIterator[None]:
        """Waits for a turn, which lasts as long as the context. Raises `TooMany`."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(namespace)
        try:
            yield
        finally:
            self._give_back()

    async def _wait(self, namespace: str) -> None:
        queue = self._queues.setdefault(namespace, deque())
        if len(queue) >= self._bound:
            raise TooMany
        mine = asyncio.get_running_loop().create_future()
        queue.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._give_back()  # the turn came in the same moment
            elif namespace in self._queues and mine in self._queues[namespace]:
                self._queues[namespace].remove(mine)
                if not self._queues[namespace]:
                    del self._queues[namespace]
            raise

    def _give_back(self) -> None:
        while self._queues:
            namespace = next(iter(self._queues))
            queue = self._queues.pop(namespace)
            following = queue.popleft()
            if queue:
                self._queues[namespace] = queue  # behind all others
            if not following.done():
                following.set_result(None)
                return
        self._free += 1
