"""The clocks of one attempt: silence before the first content, a stall between contents, and the total time.

The clocks for silence and stalls are there to ask another candidate in time. While there is none, they do not end the
attempt: it may use what is left of the policy's deadline.

`Watchdog` checks an attempt's clocks when the first of them may have run out, so that a chunk costs an assignment and
no timer. Only time in which the attempt waits for the upstream counts: a caller that reads slowly is not a stall of the
upstream. All watchdogs share `Timers`, at a third of the cost of timers of their own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from weir_router.clock import LATE, Clock
from weir_router.errors import AttemptFailed, FailureKind
from weir_router.health.guard import CRAWL_SECONDS

CONNECT_TIMEOUT = 2.0
"""Seconds to make a TCP and TLS connection. A healthy handshake across an ocean takes under one."""

IDLE_TIMEOUT = 8.0
"""Seconds between two contents. Well above Envoy AI Gateway's example of 5, since reasoning models pause; below 10, so
that a backend whose streams all stall is avoided within ten seconds.
"""

TOTAL_TIMEOUT = 600.0
"""Seconds for a whole answer: the SDKs' own default timeout. Streams have none while they flow, as in the SDKs, whose
timeout is for each read; long agents write for more than ten minutes.
"""

UNREAD_SECONDS, UNREAD_BYTES = 30.0, 1024
"""Seconds in which a caller must take so many bytes of a stream that waits for it, or all. One that does not has
stopped, and holds a slot of its backend.
"""

FINE, FINE_BELOW = 0.05, 5.0
"""Seconds by which a clock below `FINE_BELOW` seconds may run too long: a fortieth of the shortest deadline."""

WORKING = 300.0
"""Seconds since the last sign of work, such as a ping between two contents, for which a stream is waited for. Claude
sends a tool's argument one value at a time, and pings meanwhile; silences of up to 330 s were measured in agents."""

ALONE_CHECK = 0.5
"""Seconds until an attempt that is too slow looks again whether another candidate has become available."""

COARSE = 0.25
"""Seconds by which a longer clock may run too long: a twentieth at most, and no more than 2,400 timers in the ten
minutes of `TOTAL_TIMEOUT`."""

PUT_OFF = 5.0
"""Seconds for which a `LATE` check is put off at most; otherwise for as long as it is late. Data that the upstream sent
while the router did not run is still unread, and its absence would count as silence.
"""

_COARSE_STEPS = round(COARSE / FINE)
_BUSY_CHECK = 0.05  # seconds until the next check of a clock that ran out while the attempt did not wait

_MESSAGES = {
    FailureKind.SILENT: "no content within {:.1f} s",
    FailureKind.STALLED: "no further content for {:.1f} s",
    FailureKind.TOO_LONG: "not finished within {:.1f} s",
    FailureKind.UNREAD: "the caller took less than 1 KiB in {:.1f} s",
    FailureKind.DEADLINE: "no content within {:.1f} s, the rest of the policy's deadline",
}

_FOR_OTHERS = frozenset({FailureKind.SILENT, FailureKind.STALLED})
# The clocks that are there for other candidates.

T = TypeVar("T")


class Timers:
    """Timers of all watchdogs: one for those that are due in the same `FINE` or `COARSE` step, at its end."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None  # the running one, once a watchdog has joined
        self._due: dict[int, set[Watchdog]] = {}  # by the loop's time, in steps of `FINE`
        self._time: Callable[[], float] = lambda: 0.0

    def join(self, dog: Watchdog, seconds: float) -> set[Watchdog]:
        """Has `dog` check its clocks after `seconds` or a little later, unless it leaves the returned group."""
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
            self._time = self.loop.time
        steps = 1 if seconds < FINE_BELOW else _COARSE_STEPS
        at = (int((self._time() + seconds) / (FINE * steps)) + 1) * steps
        due = self._due.get(at)
        if due is None:
            due = self._due[at] = set()
            self.loop.call_at(at * FINE, self._on_time, at)
        due.add(dog)
        return due

    def _on_time(self, at: int) -> None:
        late = self._time() - at * FINE
        if late > LATE and self.loop is not None:
            self.loop.call_later(min(late, PUT_OFF), self._look, at)
        else:
            self._look(at)

    def _look(self, at: int) -> None:
        due = self._due[at]
        try:
            while due:  # one by one: a check may end other attempts, whose watchdogs then leave
                due.pop().look()
            del self._due[at]
        finally:
            if due and self.loop is not None:
                self.loop.call_soon(self._look, at)  # an error of one watchdog must not stop the others' clocks


class Watched(Protocol):
    """The owner of a watched attempt."""

    def slow(self) -> None:
        """Called once, if there is no content after `Clocks.slow_after`."""

    def flows(self) -> None:
        """Called every `CRAWL_SECONDS`, once content has come."""

    def alone(self) -> bool:
        """Whether no other candidate could answer the request now."""


class Others(Protocol):
    """The other candidates of a request."""

    def available(self, besides: str) -> bool:
        """Whether another than this one, by its key, could be tried now."""


class Waiting(Protocol):
    """The way of a stream to its caller."""

    def waiting(self) -> int:
        """Bytes that the caller has not taken yet."""


class _NoOwner:
    """Owner of an attempt that has ended."""

    def slow(self) -> None:
        pass

    def flows(self) -> None:
        pass

    def alone(self) -> bool:
        return False


_NO_OWNER = _NoOwner()


class Clocks:
    """Bounds of one attempt, in seconds."""

    __slots__ = ("connect", "hurried", "idle", "last", "slow_after", "total", "ttft")

    def __init__(
        self,
        connect: float,
        ttft: float,
        slow_after: float | None,
        idle: float,
        total: float,
        hurried: bool = False,
        last: float = 0.0,
    ) -> None:
        self.connect = connect
        self.ttft = ttft
        self.last = last  # for silence and stalls while there is no other candidate: the rest of the policy's deadline
        self.slow_after = slow_after  # slow after so long without content, although the attempt goes on
        self.idle = idle
        self.total = total
        self.hurried = hurried  # `ttft` is the rest of the policy's deadline, and the backend may take longer


class Watchdog:
    """Ends an attempt whose clocks run out while it waits for the upstream."""

    __slots__ = (
        "_clock",
        "_clocks",
        "_content_at",
        "_due",
        "_expired",
        "_flowing",
        "_held",
        "_left_at",
        "_slow_reported",
        "_task",
        "_timers",
        "_unread",
        "_unread_at",
        "_watched",
        "_worked_at",
        "caller",
        "held_up",
        "started",
    )

    def __init__(self, clock: Clock, clocks: Clocks, watched: Watched, timers: Timers) -> None:
        # Fields used for every chunk come first, so that they share cache lines.
        self._content_at = 0.0  # the last one, if any has come
        self._worked_at = 0.0  # the last sign of work without content, after the first content
        self._flowing = False  # content has come
        self._clock = clock
        self._clocks = clocks
        self._watched: Watched = watched
        self._slow_reported = clocks.slow_after is None
        self.started = clock.monotonic()  # the attempt's beginning
        self._left_at: float | None = None
        self._expired: FailureKind | None = None
        self.held_up = 0.0  # seconds since the first content in which the attempt did not wait for the upstream
        self._held = False
        self.caller: Waiting | None = None  # once a stream goes to it
        self._unread, self._unread_at = 0, 0.0  # bytes that waited for the caller at this moment
        self._task: asyncio.Task[object] | None = None
        self._timers = timers
        self._due = timers.join(self, self._first_look())

    def _first_look(self) -> float:
        slow = self._clocks.slow_after
        first = min(self._clocks.ttft, self._clocks.total)
        return first if slow is None else min(slow, first)

    def content(self) -> None:
        """Content has come: the idle clock starts again."""
        if not self._flowing:  # the timer was set for the first content, and idle may be due earlier
            self._due.discard(self)
            self._due = self._timers.join(self, min(self._clocks.idle, self._clocks.total, CRAWL_SECONDS))
            self._flowing = True
        self._content_at = self._clock.monotonic()

    def works(self) -> None:
        """A sign of work without content has come, such as a ping. Before the first content it says nothing."""
        self._worked_at = self._clock.monotonic()

    async def waits_for(self, upstream: Awaitable[T]) -> T:
        """Awaits `upstream`. Raises `AttemptFailed` when a clock runs out meanwhile."""
        self._resume()
        # Pass the loop: looking it up is slower. Not in a local variable: the traceback of a cancelled task holds the
        # frame, and so the task.
        self._task = asyncio.current_task(self._timers.loop)
        try:
            return await upstream
        except asyncio.CancelledError:
            # Another part may have cancelled the task, too (the caller went away): then that wins.
            if self._expired is None or self._task is None or self._task.uncancel() > 0:
                raise
            raise self._ran_out(self._expired) from None
        finally:
            self._task = None
            if self._flowing:
                self._left_at = self._clock.monotonic()

    def hold(self, held: bool) -> None:
        """Stops the clocks while the router does not read from the upstream, because the caller reads too slowly."""
        if held == self._held:
            return
        self._held = held
        if held:
            self._left_at = self._unread_at = self._clock.monotonic()
            self._unread = 0 if self.caller is None else self.caller.waiting()
            self._due.discard(self)
            self._due = self._timers.join(self, min(UNREAD_SECONDS, self._clocks.total))
        else:
            self._resume()
            self._left_at = None

    def stop(self) -> None:
        """Stops all clocks for good."""
        self._due.discard(self)
        self._watched = _NO_OWNER  # the owner refers to us: without the cycle, both are freed at once
        self.caller = None  # the stream refers to the owner

    def _resume(self) -> None:
        if self._flowing and self._left_at is not None:
            away = self._clock.monotonic() - self._left_at
            self._content_at += away
            self._worked_at += away
            self.held_up += away

    def _ran_out(self, kind: FailureKind) -> AttemptFailed:
        """The failure for a clock that has run out."""
        since = self._content_at if kind is FailureKind.STALLED else self.started
        seconds = UNREAD_SECONDS if kind is FailureKind.UNREAD else self._clock.monotonic() - since
        return AttemptFailed(kind, _MESSAGES[kind].format(seconds))

    def _deadline(self) -> tuple[float, FailureKind]:
        total = self.started + self._clocks.total, FailureKind.TOO_LONG
        if self._held:
            return min((self._unread_at + UNREAD_SECONDS, FailureKind.UNREAD), total)
        if not self._flowing:
            silent = FailureKind.DEADLINE if self._clocks.hurried else FailureKind.SILENT
            return min((self.started + self._clocks.ttft, silent), total)
        stalled = self._content_at + self._clocks.idle
        if self._worked_at > self._content_at:
            stalled = max(stalled, self._worked_at + WORKING)
        return min((stalled, FailureKind.STALLED), total)

    def _may_wait(self, kind: FailureKind, now: float) -> bool:
        """Whether the attempt goes on, since no other candidate could answer now."""
        late = now >= self.started + self._clocks.last
        return kind in _FOR_OTHERS and not late and self._watched.alone()

    def look(self) -> None:
        """Checks the clocks. Called by `Timers`."""
        now = self._clock.monotonic()
        if not self._slow_reported and not self._flowing and now >= self.started + (self._clocks.slow_after or 0.0):
            self._slow_reported = True
            self._watched.slow()
        later = math.inf
        if self._flowing:
            self._watched.flows()
            later = CRAWL_SECONDS
        due, kind = self._deadline()
        if now >= due and self._may_wait(kind, now):
            left = self.started + self._clocks.last - now
            self._due = self._timers.join(self, min(ALONE_CHECK, left, later))
            return
        if now >= due and self._task is not None and not (kind is FailureKind.UNREAD and self._was_read(now)):
            self._expired = FailureKind.UNREAD if self._is_callers(kind, now) else kind
            self._task.cancel()
            return
        self._due = self._timers.join(self, min(max(due - now, _BUSY_CHECK), later))

    def _was_read(self, now: float) -> bool:
        """Whether the caller has taken enough since the last check, which begins anew."""
        left = 0 if self.caller is None else self.caller.waiting()
        taken, self._unread, self._unread_at = self._unread - left, left, now
        return taken >= UNREAD_BYTES

    def _is_callers(self, kind: FailureKind, now: float) -> bool:
        """Whether a stream would not have been too long without the time in which the caller did not read."""
        held = self.held_up + (now - self._left_at if self._held and self._left_at is not None else 0.0)
        return kind is FailureKind.TOO_LONG and now - held < self.started + self._clocks.total
