"""Turns of the event loop for costly steps: each takes one of its own, so that other requests wait for one at most.

A step is what cannot be divided, such as decoding one large body. Used by `serve.story` and `serve.bodies`.
"""

from __future__ import annotations

import asyncio

HEAVY = 256 * 1024
"""Bytes of a body from which each step on it takes a turn of its own: decoding them takes about 1 ms."""


class Turns:
    """One per event loop. Steps go in the order in which they ask."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def next(self) -> None:
        """Waits for a turn of the loop in which no other costly step runs. The step runs before the next `await`."""
        async with self._lock:
            await asyncio.sleep(0)
