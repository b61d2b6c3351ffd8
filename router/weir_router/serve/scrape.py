"""The text of `/metrics`, made once for all who ask at the same time, and beside the callers' loop. Used by `admin`.

The text of a large installation has megabytes and takes a tenth of a second of Python, and any number of scrapers may
ask for it. So a thread makes it, at most once per second, and requests that come meanwhile wait for the next text. None
gets a text that is older than its request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY = 1.0
"""Seconds between the beginnings of two texts, at least. Scrapers ask every 15 s or more, and wait up to 10 s."""


class Scrape:
    """The text of one router's metrics."""

    def __init__(self, prepare: Callable[[], None], make: Callable[[], bytes]) -> None:
        """`prepare` runs in the loop, and `make` then in a thread."""
        self._prepare = prepare
        self._make = make
        self._begun = float("-inf")  # the loop's time
        self._next: asyncio.Task[bytes] | None = None  # a text that is not begun yet
        self._under_way: asyncio.Task[bytes] | None = None

    async def text(self) -> bytes:
        """A text that is begun after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._made(self._under_way))
        return await asyncio.shield(self._next)  # the others wait for it, too, if one goes away

    async def _made(self, before: asyncio.Task[bytes] | None) -> bytes:
        if before is not None:
            await asyncio.wait([before])
        loop = asyncio.get_running_loop()
        if (rest := self._begun + EVERY - loop.time()) > 0:
            await asyncio.sleep(rest)
        self._begun, self._under_way, self._next = loop.time(), self._next, None
        try:
            self._prepare()
            return await asyncio.to_thread(self._make)
        finally:
            if self._under_way is asyncio.current_task():
                self._under_way = None
