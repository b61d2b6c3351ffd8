"""The queue in which requests wait for room: by priority, for a short time, bounded. Used by `serve` and
`call.journey`.

There is no room when a router serves as many requests as it may (`Room`), or when every backend that could serve a
request has reached its concurrency. Then a short wait is better than an error, as a slot will soon be free. A long wait
is worse, as the caller could have gone elsewhere meanwhile.

1. Requests are sorted by priority, then by arrival.
2. A free slot is offered to them in this order, at once: a later request cannot snatch it.
3. A request that has waited for its policy's time is refused; its Retry-After is that time.
4. The queue holds a limited number of requests and bytes. When it is full, a new request is refused at once, unless one
   of a lower priority waits: then the last of those is refused.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from weir_router.clock import Clock
from weir_router.contract import Priority
from weir_router.errors import Overloaded

QUEUE_SIZE = 1_000
"""Requests that may wait in one router. With 200 slots and answers of 5 s, a thousand are served within 25 s; further
ones would only wait in vain."""
QUEUE_BYTES = 64 * 1024 * 1024
"""Bytes of the bodies of waiting requests. The count alone would allow a thousand times the largest body."""
WAIT = 5.0
"""Seconds that a request may wait, also its Retry-After afterwards. Most answers end within this time, so a queue that
moves at all has moved; a caller that still waits does better to come back."""
MAX_IN_FLIGHT = 4_000
"""Requests that one router serves at once: twice the streams that a core carries at 20 chunks per second."""

ROUTER = "router"
"""Key of the router's own room; the keys of backends are those of the board."""

_RANK = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}

T = TypeVar("T")


class _Waiter(Generic[T]):
    """One waiting request; sorted by `order`."""

    __slots__ = ("future", "keys", "offer", "order", "since", "size", "what")

    def __init__(
        self, order: tuple[int, int], keys: frozenset[str], offer: Callable[[], T | None], what: str, size: int
    ) -> None:
        self.order = order  # (rank, number)
        self.keys = keys
        self.offer = offer
        self.what = what
        self.size = size
        self.since = 0.0
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def refuse(self, why: str, retry_after: float) -> None:
        if not self.future.done():
            self.future.set_exception(Overloaded(f"{self.what}, and {why}.", retry_after=max(1.0, retry_after)))


class Queue:
    """All requests that wait in this router."""

    def __init__(self, clock: Clock, size: int = QUEUE_SIZE, max_bytes: int = QUEUE_BYTES) -> None:
        self._clock = clock
        self._size = size
        self._max_bytes = max_bytes
        self._bytes = 0
        self._number = 0
        self._waiters: list[_Waiter[Any]] = []

    def __len__(self) -> int:
        """The number of requests that wait."""
        return len(self._waiters)

    @property
    def oldest(self) -> float:
        """Seconds for which the first arrival has waited; 0: the queue is empty."""
        first = min((waiter.since for waiter in self._waiters), default=None)
        return 0.0 if first is None else self._clock.monotonic() - first

    def waiting(self) -> Iterator[tuple[frozenset[str], float]]:
        """The waiting requests: the keys for which each waits, and the seconds that it has waited."""
        now = self._clock.monotonic()
        return ((waiter.keys, now - waiter.since) for waiter in self._waiters)

    async def wait(
        self,
        keys: frozenset[str],
        offer: Callable[[], T | None],
        give_back: Callable[[T], None],
        *,
        what: str,
        priority: Priority,
        size: int,
        seconds: float,
    ) -> T:
        """Waits until one of `keys` is free and `offer` has taken it; returns the value of `offer` (None: not taken).

        An error of `offer` is raised here. `give_back` gets the value if the caller has gone away in the same moment.
        `what` is a sentence about the full resource, for the error. Raises `Overloaded`.
        """
        self._number += 1
        waiter = _Waiter((_RANK[priority], self._number), keys, offer, what, size)
        waiter.since = self._clock.monotonic()
        if seconds <= 0 or not self._make_room(waiter):
            waiter.refuse("no request may wait" if seconds <= 0 else "the queue is full", seconds)
            return await waiter.future
        insort(self._waiters, waiter, key=lambda it: it.order)
        self._bytes += size
        timer = asyncio.get_running_loop().call_later(seconds, self._expire, waiter, seconds)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                give_back(waiter.future.result())
            raise
        finally:
            timer.cancel()
            self._drop(waiter)

    def free(self, key: str) -> None:
        """A slot of `key` is free: it goes to the first waiting request whose `offer` takes it."""
        for waiter in self._waiters and [it for it in self._waiters if key in it.keys]:
            if waiter.future.done():  # its caller has just gone away
                continue
            try:
                taken = waiter.offer()
            except Exception as error:
                self._drop(waiter)
                waiter.future.set_exception(error)
                continue
            if taken is not None:
                self._drop(waiter)
                waiter.future.set_result(taken)
                return

    def _make_room(self, waiter: _Waiter[Any]) -> bool:
        """Refuses requests of a lower priority, the last first, until there is room; none if that is not enough."""
        if waiter.size > self._max_bytes:
            return False
        leaving: list[_Waiter[Any]] = []
        count, held = len(self._waiters) + 1, self._bytes + waiter.size
        while count > self._size or held > self._max_bytes:
            last = self._waiters[-1 - len(leaving)] if len(leaving) < len(self._waiters) else None
            if last is None or last.order[0] <= waiter.order[0]:
                return False
            leaving.append(last)
            count, held = count - 1, held - last.size
        for last in leaving:
            self._drop(last)
            last.refuse("the queue is full of more important requests", WAIT)
        return True

    def _expire(self, waiter: _Waiter[Any], seconds: float) -> None:
        self._drop(waiter)
        waiter.refuse(f"nothing became free within {seconds:g} s", seconds)

    def _drop(self, waiter: _Waiter[Any]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self._bytes -= waiter.size


class Room:
    """The requests that the router serves at once."""

    def __init__(self, queue: Queue, limit: int = MAX_IN_FLIGHT) -> None:
        self.limit = limit
        self.taken = 0
        self.queue = queue

    @property
    def saturation(self) -> float:
        """Share of the room that is taken, 0 to 1."""
        return min(1.0, self.taken / self.limit)

    def enter(self) -> bool:
        """Takes room for one request if there is any; then the caller must call `leave`."""
        if self.taken >= self.limit:
            return False
        self.taken += 1
        return True

    async def wait(self, *, priority: Priority, size: int, seconds: float) -> None:
        """Waits for room and takes it. Raises `Overloaded`."""
        await self.queue.wait(
            frozenset((ROUTER,)),
            lambda: self.enter() or None,
            lambda _: self.leave(),
            what=f"This router serves {self.limit} requests, as many as it may",
            priority=priority,
            size=size,
            seconds=seconds,
        )

    def leave(self) -> None:
        """One request has ended."""
        self.taken -= 1
        if len(self.queue):
            self.queue.free(ROUTER)
