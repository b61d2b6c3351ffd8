"""The ledger of one router: rate and concurrency limits of policies and grants, counted in memory. See `ledger`.

A limit of N requests per minute is a token bucket. It refills evenly and lets a burst of ten seconds' worth through,
or of ten requests where that is more (but never more than N). For example, a limit of 5 lets five through at once, and
a limit of 3,000 does not let 3,000 through in the same second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from weir_router.clock import Clock
from weir_router.contract import Limit
from weir_router.dialects.usage import Usage
from weir_router.errors import RateLimited

BURST_SECONDS = 10.0
"""Seconds whose worth of the rate a burst may be."""
BURST_FLOOR = 10.0
"""Requests that any limit lets through at once, if it allows as many per minute."""
IN_FLIGHT_RETRY_AFTER = 1.0
"""Seconds of the Retry-After at the in-flight limit: the shortest that clients honour, since the end of a request in
flight is unknown."""
IDLE_SECONDS = 60.0
"""Seconds after which an unused key is dropped. By then its bucket is full again, so nothing is lost."""

MAX_CALLERS = 2_000
"""Callers of one namespace whose limits are counted at the same time. Beyond it, one of the same namespace that has no
request in flight starts anew: so a tenant with very many ServiceAccounts only resets counts of its own."""


class _Count:
    """The state behind one key."""

    __slots__ = ("at", "in_flight", "tokens")

    def __init__(self, now: float, tokens: float) -> None:
        self.at = now
        self.tokens = tokens
        self.in_flight = 0


class LocalHold:
    """The share that one request has taken of its limits. See `ledger.Hold`."""

    __slots__ = ("_counts", "pending")

    def __init__(self, counts: list[_Count]) -> None:
        self.pending: Awaitable[None] | None = None  # the answer is always known
        self._counts = counts

    def settle(self, _: Usage | None, /) -> None:
        """Like `release`, since no limit of one router counts tokens."""
        if self._counts:
            self.release()

    def release(self) -> None:
        """Ends the request's share of every in-flight count. Calling it again changes nothing."""
        if self._counts:
            for count in self._counts:
                count.in_flight -= 1
            self._counts = []


_FREE = LocalHold([])  # for requests under no limit


class LocalLedger:
    """All counts of this router, by `Limit.key`. See `ledger.Ledger`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[str, _Count] = {}
        self._callers: dict[str, dict[str, None]] = {}  # keys that count one caller, by its namespace, oldest first
        self._swept = clock.monotonic()

    def __len__(self) -> int:
        """The number of keys in memory."""
        return len(self._counts)

    def reserve(self, limits: Sequence[Limit], namespace: str = "") -> LocalHold:
        """Takes one request from every limit, or from none. Raises `RateLimited`, which names the limit."""
        if not limits and not self._counts:
            return _FREE
        now = self._clock.monotonic()
        self._sweep(now)
        if not limits:
            return _FREE
        # One count per key, even if a policy and a grant name the same key.
        taken = [
            (limit, self._count(limit, now, namespace)) for limit in {limit.key: limit for limit in limits}.values()
        ]
        for limit, count in taken:
            _check(limit, count)
        for limit, count in taken:
            count.in_flight += 1
            if limit.requests_per_minute is not None:
                count.tokens -= 1
        return LocalHold([count for _, count in taken])

    def _count(self, limit: Limit, now: float, namespace: str) -> _Count:
        """The count of a limit, refilled at the limit's present rate, which a new config may have changed."""
        per_minute = limit.requests_per_minute or 0
        burst = _burst(per_minute)
        count = self._counts.get(limit.key)
        if count is None:
            if namespace:
                self._make_room(limit, namespace)
            count = self._counts[limit.key] = _Count(now, burst)
        count.tokens = min(burst, count.tokens + (now - count.at) * per_minute / 60)
        count.at = now
        return count

    def _make_room(self, limit: Limit, namespace: str) -> None:
        """Counts one more caller of `namespace`, and forgets another one of it where there are too many."""
        keys = self._callers.setdefault(namespace, {})
        if len(keys) >= MAX_CALLERS:
            idle = next((key for key in keys if not self._counts[key].in_flight), None)
            if idle is None:
                message = f"Limit {limit.key}: {MAX_CALLERS} callers of namespace {namespace} have requests in flight."
                raise RateLimited(message, retry_after=IN_FLIGHT_RETRY_AFTER)
            del keys[idle], self._counts[idle]
        keys[limit.key] = None

    def _sweep(self, now: float) -> None:
        if now - self._swept < IDLE_SECONDS:
            return
        self._swept = now
        self._counts = {k: c for k, c in self._counts.items() if c.in_flight or now - c.at < IDLE_SECONDS}
        kept = {name: {key: None for key in keys if key in self._counts} for name, keys in self._callers.items()}
        self._callers = {name: keys for name, keys in kept.items() if keys}


def _burst(per_minute: int) -> float:
    return max(per_minute * BURST_SECONDS / 60, min(per_minute, BURST_FLOOR))


def _check(limit: Limit, count: _Count) -> None:
    if limit.in_flight is not None and count.in_flight >= limit.in_flight:
        message = f"Limit {limit.key}: {limit.in_flight} requests are in flight. Retry when one of them has ended."
        raise RateLimited(message, retry_after=IN_FLIGHT_RETRY_AFTER)
    per_minute = limit.requests_per_minute
    if per_minute is not None and count.tokens < 1:
        wait = (1 - count.tokens) * 60 / per_minute if per_minute else IDLE_SECONDS
        raise RateLimited(f"Limit {limit.key}: {per_minute} requests per minute are used up.", retry_after=wait)
