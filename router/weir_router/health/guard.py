"""The report of one attempt to health. Handed out by `Board.begin`, used by `call.attempt`; ends exactly once.

An attempt stays pending until its stream has ended. Success is recorded then, since a stall comes after the first
token.
"""

from __future__ import annotations

from collections.abc import Iterable

from weir_router.clock import Clock
from weir_router.errors import FailureKind
from weir_router.health.breaker import Ticket
from weir_router.health.kinds import BLAMELESS_KINDS
from weir_router.health.latency import POOL_SAMPLES, QUIET, failure_cost, size_class
from weir_router.health.place import Entry
from weir_router.health.refused import NOTHING
from weir_router.health.streak import REFUSED_KINDS

SPEED_SECONDS, SPEED_TOKENS = 0.2, 8
"""Seconds and tokens of the shortest stream from which tokens per second are taken."""
HELD_UP_SHARE = 0.2
"""Share of a stream's time spent in waiting for the caller, above which its speed is the caller's. The rest of the time
says nothing either, since the upstream went on and filled the buffers.
"""
CRAWL_SECONDS = 4.0
"""Seconds of streaming over which its speed can count as bad: above any pause between two thoughts, and short enough
that a backend whose streams all crawl is left alone within ten seconds.
"""
CRAWL_SHARE = 0.1
"""Share of the pool's median tokens per second below which a stream is bad. No idle timer sees a stream of one token a
second."""
RELIABLE = 10
"""Good answers in a row after which one failure of a backend looks like an accident."""


class Guard:
    """One attempt. Any end after the first is ignored, so a `finally` may always call `cancelled`."""

    __slots__ = (
        "_clock",
        "_content_at",
        "_cost_before",
        "_ended",
        "_entry",
        "_expected",
        "_flow",
        "_prompt_tokens",
        "_slow_after",
        "_start",
        "_ticket",
        "_waits",
        "refuses",
        "was_reliable",
    )

    def __init__(self, clock: Clock, entry: Entry, ticket: Ticket, prompt_tokens: int) -> None:
        self._clock = clock
        self._entry = entry
        self._ticket = ticket
        self._prompt_tokens = prompt_tokens
        self._start = clock.monotonic()
        self._expected = entry.pool.expected_ttft(self._start, prompt_tokens)
        self._content_at: float | None = None
        self._flow: tuple[float, int, float] | None = None  # the last check: moment, events, seconds held up
        self._waits = False
        self._ended = False
        self._cost_before: tuple[float, tuple[float, float]] | None = None  # moment of the failure, cost before it
        self._slow_after: float | None = None
        self.was_reliable = False  # the attempt has failed, and the backend's last `RELIABLE` answers were good
        refused = entry.place.refused
        self.refuses = refused.at(self._start) if refused.learned else NOTHING  # fields, as far as that is known
        entry.place.take(ticket.namespace)

    @property
    def slow_after(self) -> float:
        """Seconds after which `slow` is due. Computed on first use, since a whole answer is never slow."""
        if self._slow_after is None:
            self._slow_after = self._entry.slow_after(self._prompt_tokens)
        return self._slow_after

    def awaits_content(self) -> None:
        """A stream was asked for, so silence counts from now on. A whole answer only comes when it is finished."""
        self._waits = True
        due, cost = self._start + QUIET * self.slow_after, failure_cost(self._expected, None, 0.0)
        self._entry.place.silence.asked(self._ticket.number, due, cost)

    def first_content(self) -> None:
        """The first content has come: the TTFT is taken now. Later calls change nothing."""
        if self._ended or self._content_at is not None:
            return
        now = self._content_at = self._clock.monotonic()
        ttft, place = now - self._start, self._entry.place
        if self._waits:
            self._waits = False
            place.silence.answered(self._ticket.number)
        place.breaker.content(self._ticket)
        if ttft > self.slow_after:
            place.breaker.slow(self._ticket)
        place.cost.observe(now, ttft / self._expected)
        place.ttft.observe(now, ttft)
        size = size_class(self._prompt_tokens)
        place.recent.add(now, ttft)
        place.by_size[size].add(now, ttft)
        self._entry.pool.ttft[size].add(now, ttft)
        place.judge_objectives()

    def slow(self) -> None:
        """No content after `slow_after` seconds: counts one bad at once, while the attempt goes on."""
        if self._ended or self._content_at is not None:
            return
        now = self._clock.monotonic()
        self._entry.place.cost.observe(now, (now - self._start) / self._expected)
        self._entry.place.breaker.slow(self._ticket)

    def flowing(self, events: int, held_up: float) -> None:
        """The stream goes on, with `events` contents so far: counts one bad while it crawls, without ending it.

        Only the speed since the last check counts, over `CRAWL_SECONDS` at least, so that a good beginning does not
        hide a slow rest. `held_up`: as in `succeeded`, so far.
        """
        now = self._clock.monotonic()
        at, seen, held_before = self._flow or (self._content_at or now, 0, 0.0)
        seconds = now - at
        if self._ended or seconds < CRAWL_SECONDS:
            return
        self._flow = now, events, held_up
        coarseness = self._entry.place.tokens_per_event.value
        median = self._entry.pool.speed.quantile(now, 0.5, POOL_SAMPLES)
        if median is None or coarseness is None or held_up - held_before > HELD_UP_SHARE * seconds:
            return
        if (events - seen) * coarseness < CRAWL_SHARE * median * seconds:
            self._entry.place.breaker.slow(self._ticket)

    def succeeded(self, output_tokens: int, held_up: float = 0.0, events: int = 0) -> None:
        """The stream completed, with a stop reason and `events` contents (0: it was no stream).

        `held_up`: seconds in which the router did not read from the upstream.
        """
        if not self._end():
            return
        if events and output_tokens >= SPEED_TOKENS:
            self._entry.place.tokens_per_event.observe(self._clock.monotonic(), output_tokens / events)
        breaker = self._entry.place.breaker
        if self._crawled(output_tokens, held_up):
            breaker.slow(self._ticket)
        breaker.good(self._ticket)
        place = self._entry.place
        place.good_in_a_row += 1
        place.streak.at = self._start if self._content_at is None else self._content_at
        if place.streak.failing:
            place.streak.answered()
        place.free(self._ticket.namespace)

    def failed(self, kind: FailureKind, retry_after: float | None = None, words: str = "") -> None:
        """The attempt failed; `retry_after` in seconds as the upstream said, uncapped. `words`: the failure for people,
        without secrets.
        """
        if not self._end():
            return
        place = self._entry.place
        self.was_reliable, place.good_in_a_row = place.good_in_a_row >= RELIABLE, 0
        if kind is FailureKind.SILENT:  # a backend that is always slow must be learned, too
            now = self._clock.monotonic()
            place.by_size[size_class(self._prompt_tokens)].add(now, now - self._start)
        bad = place.breaker.failed(self._ticket, kind, retry_after)
        if bad or kind in REFUSED_KINDS:
            place.streak.failed(self._clock.monotonic(), words or kind.value)
        elif kind not in BLAMELESS_KINDS:
            place.streak.passed(self._clock.monotonic())
        if bad:
            now, cap = self._clock.monotonic(), place.breaker.settings.retry_after_cap
            self._cost_before = now, place.cost.state
            place.cost.observe(now, failure_cost(self._expected, retry_after, cap))
        place.free(self._ticket.namespace)

    def met(self, field: str) -> None:
        """The upstream has refused the request for this field."""
        self._entry.place.refused.met(field, self._ticket.namespace, self._clock.monotonic())

    def takes_without(self, fields: Iterable[str]) -> None:
        """The upstream has taken the request without these fields, for which it had refused it."""
        for field in fields:
            self._entry.place.refused.confirm(field, self._clock.monotonic())

    def take_back(self) -> None:
        """Takes back the failure that was reported: the request has failed alike at another backend."""
        if self._cost_before is not None:
            since, before = self._cost_before
            self._entry.place.cost.restore(before, since)
            if self._entry.place.breaker.take_back(self._ticket):
                self._entry.place.streak.take_back()
            self._cost_before = None

    def cancelled(self) -> None:
        """The client went away, or the attempt was never sent: neutral."""
        if self._end():
            self._entry.place.breaker.cancelled(self._ticket)
            self._entry.place.free(self._ticket.namespace)

    def _end(self) -> bool:
        """Whether this is the first end."""
        if self._ended:
            return False
        self._ended = True
        if self._waits:
            self._entry.place.silence.gone()
        return True

    def _crawled(self, output_tokens: int, held_up: float) -> bool:
        """Takes the stream's speed as a sample, and says whether it was far below the pool's."""
        if self._content_at is None:
            return False
        now = self._clock.monotonic()
        seconds = now - self._content_at
        if seconds < SPEED_SECONDS or output_tokens < SPEED_TOKENS or held_up > HELD_UP_SHARE * seconds:
            return False
        speed, pool = output_tokens / seconds, self._entry.pool.speed
        median = pool.quantile(now, 0.5, POOL_SAMPLES)
        pool.add(now, speed)
        self._entry.place.speed.observe(now, speed)
        self._entry.place.judge_objectives()
        return seconds >= CRAWL_SECONDS and median is not None and speed < CRAWL_SHARE * median
