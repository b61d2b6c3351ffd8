"""The queue in which requests wait for room: fair between namespaces, for a short time, bounded. Used by `serve` and
`call.journey`.

There is no room when a router serves as many requests as it may (`Room`), or when every backend that could serve a
request has reached its concurrency. Then a short wait is better than an error, as a slot will soon be free. A long wait
is worse, as the caller could have gone elsewhere meanwhile.

1. A free slot goes to the namespaces of the waiting callers in turns (`admit.turns`), and within a namespace by
   priority, then by arrival. Where the owner of a tier consents (`TierRef.priority`), some go ahead of other
   namespaces'.
2. A free slot is offered in this order, at once: a later request cannot snatch it.
3. A request that has waited for its policy's time is refused; its Retry-After is that time.
4. The queue holds a limited number of requests and bytes. When it is full, the namespace that has most in it gives up
   its last request of the lowest priority. If that would be the new one, it is refused at once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from weir_router.admit.turns import Entry, Line, Turns
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
SHARE = 8
"""Slots that a namespace may hold for each that is free. Alone it gets eight ninths of a large room, two get 8/17 each.
The free rest lets others in at once, even if all slots are held by streams of minutes. Known as a dynamic threshold: A.
Choudhury and E. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches" (1998)."""

ROUTER = "router"
"""Key of the router's own room; the keys of backends are those of the board."""

NOWHERE: frozenset[str] = frozenset()

T = TypeVar("T")


class _Waiter(Entry):
    """One waiting request."""

    __slots__ = ("ahead", "future", "keys", "offer", "since", "what")

    def __init__(
        self,
        namespace: str,
        priority: Priority,
        number: int,
        size: int,
        keys: frozenset[str],
        ahead: frozenset[str],
        offer: Callable[[], Any],
        what: str,
        since: float,
    ) -> None:
        super().__init__(namespace, priority, number, size)
        self.keys: Final = keys
        self.ahead: Final = ahead
        self.offer: Final = offer
        self.what: Final = what
        self.since: Final = since
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def refused(self, why: str, retry_after: float) -> Overloaded:
        return Overloaded(f"{self.what}, and {why}.", retry_after=max(1.0, retry_after))

    def refuse(self, why: str, retry_after: float) -> None:
        if not self.future.done():
            self.future.set_exception(self.refused(why, retry_after))


class Queue:
    """All requests that wait in this router."""

    def __init__(self, clock: Clock, size: int = QUEUE_SIZE, max_bytes: int = QUEUE_BYTES) -> None:
        self._clock = clock
        self._size = size
        self._max_bytes = max_bytes
        self._bytes = 0
        self._number = 0
        self._waiters: OrderedDict[int, _Waiter] = OrderedDict()  # by number: the first arrival first
        self._namespaces: dict[str, Line[_Waiter]] = {}
        self._keys: dict[str, tuple[Turns[_Waiter], Turns[_Waiter]]] = {}  # those that go ahead, and the others

    def __len__(self) -> int:
        """The number of requests that wait."""
        return len(self._waiters)

    @property
    def oldest(self) -> float:
        """Seconds for which the first arrival has waited; 0: the queue is empty."""
        first = next(iter(self._waiters.values()), None)
        return 0.0 if first is None else self._clock.monotonic() - first.since

    def waiting(self) -> Iterator[tuple[frozenset[str], float]]:
        """The waiting requests: the keys for which each waits, and the seconds that it has waited."""
        now = self._clock.monotonic()
        return ((waiter.keys, now - waiter.since) for waiter in self._waiters.values())

    async def wait(
        self,
        keys: frozenset[str],
        offer: Callable[[], T | None],
        give_back: Callable[[T], None],
        *,
        what: str,
        namespace: str,
        priority: Priority,
        size: int,
        seconds: float,
        ahead: frozenset[str] = NOWHERE,
    ) -> T:
        """Waits until one of `keys` is free and `offer` has taken it; returns the value of `offer` (None: not taken).

        An error of `offer` is raised here. `give_back` gets the value if the caller has gone away in the same moment.
        `what` is a sentence about the full resource, for the error; `namespace` is the caller's. For the keys in
        `ahead` the request goes ahead of other namespaces. Raises `Overloaded`.
        """
        self._number += 1
        now = self._clock.monotonic()
        waiter = _Waiter(namespace, priority, self._number, size, keys, ahead, offer, what, now)
        if seconds <= 0 or not self._make_room(waiter):
            raise waiter.refused("no request may wait" if seconds <= 0 else "the queue is full", seconds)
        self._add(waiter)
        future: asyncio.Future[T] = waiter.future
        timer = asyncio.get_running_loop().call_later(seconds, self._expire, waiter, seconds)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                give_back(future.result())
            raise
        finally:
            timer.cancel()
            self._drop(waiter)

    def free(self, key: str) -> None:
        """A slot of `key` is free: it goes to the first waiting request whose `offer` takes it."""
        self.hand_over(key)

    def hand_over(self, key: str, may: Callable[[str], bool] | None = None) -> bool:
        """Gives a free slot of `key` to a namespace that `may` have it; returns whether a request takes it."""
        turns = self._keys.get(key)
        return turns is not None and (self._offer(turns[0], may) or self._offer(turns[1], may))

    def _offer(self, turns: Turns[_Waiter], may: Callable[[str], bool] | None) -> bool:
        """Offers a free slot to the namespaces in turn; returns whether a request has taken it."""
        out = set[str]()  # namespaces of which no request takes it
        while (line := turns.next(out)) is not None:
            out.add(line.namespace)
            if (may is None or may(line.namespace)) and self._taken(line):
                return True
        return False

    def _taken(self, line: Line[_Waiter]) -> bool:
        """Offers a free slot to the requests of one namespace; returns whether one has taken it."""
        taken: _Waiter | None = None
        failed: list[_Waiter] = []
        for waiter in line:
            if waiter.future.done():  # its caller has just gone away
                continue
            try:
                value = waiter.offer()
            except Exception as error:
                failed.append(waiter)
                waiter.future.set_exception(error)
                continue
            if value is not None:
                waiter.future.set_result(value)
                taken = waiter
                break
        for waiter in failed:
            self._drop(waiter)
        if taken is None:
            return False
        line.credit -= taken.cost
        self._drop(taken)
        return True

    def _make_room(self, waiter: _Waiter) -> bool:
        """Makes room for one more request. False, with nothing changed: its own namespace has most, and nothing less
        important to give up for it.
        """
        if waiter.size > self._max_bytes:
            return False
        count, held = len(self._waiters) + 1, self._bytes + waiter.size
        if count <= self._size and held <= self._max_bytes:
            return True
        weights = {namespace: line.weight for namespace, line in self._namespaces.items()}
        weights[waiter.namespace] = weights.pop(waiter.namespace, 0) + waiter.weight
        last: dict[str, Iterator[_Waiter]] = {}
        leaving: list[_Waiter] = []
        while count > self._size or held > self._max_bytes:
            most = max(weights, key=weights.__getitem__)
            if most not in last:
                last[most] = reversed(self._namespaces[most]) if most in self._namespaces else iter(())
            gives = next(last[most], None)
            if gives is None or (most == waiter.namespace and gives.rank <= waiter.rank):
                return False
            leaving.append(gives)
            count, held = count - 1, held - gives.size
            weights[most] -= gives.weight
        for gives in leaving:
            self._drop(gives)
            gives.refuse("the queue is full, mostly of requests of its namespace", WAIT)
        return True

    def _expire(self, waiter: _Waiter, seconds: float) -> None:
        self._drop(waiter)
        waiter.refuse(f"nothing became free within {seconds:g} s", seconds)

    def _add(self, waiter: _Waiter) -> None:
        self._waiters[waiter.number] = waiter
        self._bytes += waiter.size
        line = self._namespaces.get(waiter.namespace)
        if line is None:
            line = self._namespaces[waiter.namespace] = Line(waiter.namespace)
        line.add(waiter)
        for key in waiter.keys:
            turns = self._keys.get(key)
            if turns is None:
                turns = self._keys[key] = (Turns(), Turns())
            turns[key not in waiter.ahead].add(waiter)

    def _drop(self, waiter: _Waiter) -> None:
        """Takes a request out of the queue; nothing the second time."""
        if self._waiters.pop(waiter.number, None) is None:
            return
        self._bytes -= waiter.size
        line = self._namespaces[waiter.namespace]
        line.drop(waiter)
        if not line.weight:
            del self._namespaces[waiter.namespace]
        for key in waiter.keys:
            turns = self._keys[key]
            turns[key not in waiter.ahead].drop(waiter)
            if not len(turns[0]) and not len(turns[1]):
                del self._keys[key]


class Room:
    """The requests that the router serves at once, also by namespace of their callers."""

    def __init__(self, queue: Queue, limit: int = MAX_IN_FLIGHT) -> None:
        self.limit = limit
        self.taken = 0
        self.queue = queue
        self._held: dict[str, int] = {}

    @property
    def saturation(self) -> float:
        """Share of the room that is taken, 0 to 1."""
        return min(1.0, self.taken / self.limit)

    def enter(self, namespace: str) -> bool:
        """Takes room for one request if there is any for its namespace; then the caller must call `leave`."""
        held = self._held.get(namespace, 0)
        if held >= SHARE * (self.limit - self.taken):
            return False
        self._held[namespace] = held + 1
        self.taken += 1
        return True

    async def wait(self, *, namespace: str, priority: Priority, size: int, seconds: float) -> None:
        """Waits for room and takes it. Raises `Overloaded`."""
        full = f"This router serves {self.limit} requests, as many as it may"
        if self.taken < self.limit:
            full = f"Namespace {namespace} has its share of the {self.limit} requests that this router may serve"
        await self.queue.wait(
            frozenset((ROUTER,)),
            lambda: self.enter(namespace) or None,
            lambda _: self.leave(namespace),
            what=full,
            namespace=namespace,
            priority=priority,
            size=size,
            seconds=seconds,
        )

    def leave(self, namespace: str) -> None:
        """One request of this namespace has ended."""
        self.taken -= 1
        held = self._held[namespace] - 1
        if held:
            self._held[namespace] = held
        else:
            del self._held[namespace]
        if len(self.queue):
            self._hand_over()

    def _hand_over(self) -> None:
        """Lets in all waiting requests that may enter: a free slot may raise the share of several namespaces."""
        while self.taken < self.limit and self.queue.hand_over(ROUTER, self._may):
            pass

    def _may(self, namespace: str) -> bool:
        return self._held.get(namespace, 0) < SHARE * (self.limit - self.taken)
