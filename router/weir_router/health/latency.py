"""The speed of a backend, and the speed to expect: averages, quantiles and deadlines. Used within `health`.

Everything takes `now` (monotonic seconds) instead of a clock, and keeps bounded memory.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

from weir_router.contract import Backend, Capability

SIZE_BOUNDS: tuple[int, ...] = (1_000, 4_000, 16_000, 64_000)
"""Upper bounds of the prompt-size classes in tokens; TTFT grows with the prompt, so only like is compared with like."""
SIZE_CLASSES = len(SIZE_BOUNDS) + 1

DECAY = 10.0
"""Seconds over which an average forgets (linkerd's and Finagle's peak-EWMA)."""
NORMAL = 1.0
"""Cost of an unknown backend: exactly as expected (linkerd's default RTT, 1 s)."""
FAILURE_COST = 5.0
"""Cost of a failure: a latency of 5 s, or five times the expected one where that is more (linkerd's penalty)."""

RECENT_SAMPLES = 128
"""Samples that are kept: six of them lie above the p95. Inserting into a list of this length takes less than a
microsecond."""
RECENT_SECONDS = 300.0
"""Seconds after which a sample is dropped, so that a model is not judged by its distant past."""
POOL_SAMPLES = 20
"""Samples of a pool and size class before its quantiles are believed."""
OWN_SAMPLES = 5
"""Samples of a backend and size class before its own median serves as its baseline."""

SLOW_OBJECTIVE = 2.0
"""Multiple of the TTFT objective after which missing first content counts as bad."""
SLOW_MEDIAN = 4.0
"""Multiple of the median TTFT after which it counts as bad where no objective is set."""
SLOW_FLOOR = 1.0
"""Seconds below which nothing is slow against a median: 4 x 20 ms is noise, not sickness."""

QUIET = 0.5
"""Share of the time after which an attempt is slow. A backend that has been silent for so long costs as much as one
that failed, until its next content. Half the time is enough, since this is taken back so easily.
"""

SLOW_COLD, SLOW_DEADLINE = 5.0, 0.5
"""Seconds (at least), and share of the deadline, after which an attempt is slow without samples and objective. A router
that starts in a black-out avoids the backend within ten seconds; a healthy slow backend stays a last resort meanwhile.
"""

DEADLINE_FLOOR = 2.0
"""Seconds of the shortest deadline for the first content, unless the backend's `timeouts.ttft` says otherwise."""
DEADLINE_CAP, DEADLINE_CAP_REASONING = 30.0, 60.0
"""Seconds of the longest deadline. Reasoning models think before the first token: 30 s opens breakers on healthy
ones."""
DEADLINE_P95 = 3.0
DEADLINE_OBJECTIVE = 5.0
"""Multiple of the objective that is the deadline without samples. An objective is a wish, but a deadline cuts."""
DEADLINE_COLD = 10.0
"""Seconds of the deadline without samples and objective, so that a black hole is noticed in time. Long prompts and
reasoning models have more."""
COLD_LONG_PROMPT = 16_000
"""Prompt tokens beyond which prefill alone may take longer than `DEADLINE_COLD`."""


def size_class(prompt_tokens: int) -> int:
    """The prompt-size class, 0 (at most 1,000 tokens) to 4 (more than 64,000)."""
    return 0 if prompt_tokens <= SIZE_BOUNDS[0] else bisect_left(SIZE_BOUNDS, prompt_tokens)  # most are of the first


class PeakEwma:
    """Cost relative to the expected latency: a peak replaces it at once, and fades within seconds.

    Bad news fades towards `NORMAL` and not to zero: a backend left alone for a minute must not look so cheap that all
    traffic falls on it before its first answer is in.
    """

    def __init__(self) -> None:
        self._value = NORMAL
        self._at = -math.inf

    def read(self, now: float) -> float:
        """The cost as of `now`."""
        if self._value <= NORMAL:
            return self._value
        return NORMAL + (self._value - NORMAL) * math.exp((self._at - now) / DECAY)

    def observe(self, now: float, value: float) -> None:
        """Takes a sample."""
        current = self.read(now)
        weight = math.exp((self._at - now) / DECAY)
        self._value = value if value > current else current * weight + value * (1 - weight)
        self._at = now

    @property
    def state(self) -> tuple[float, float]:
        """Its value and moment, for `restore`."""
        return self._value, self._at

    def restore(self, state: tuple[float, float], since: float) -> None:
        """Takes back the sample of the moment `since`, if it is the last one. `state`: before that sample."""
        if self._at == since:
            self._value, self._at = state


class Silence:
    """Whether a backend has gone quiet: no request since its last sign of life has brought content.

    One attempt is watched: of those since the last sign of life, the one that is due first. Content of it or of a later
    attempt starts anew with the latest, so one long request says nothing while others are answered. An attempt that
    ends without content no longer waits, but proves nothing: callers who give up must not hide a black hole.
    """

    def __init__(self) -> None:
        self.waiting = 0  # attempts without content
        self._watched = 0
        self._due = math.inf  # the moment at which the watched one has been silent for too long
        self._latest = 0
        self._latest_due = math.inf
        self._cost = NORMAL

    def asked(self, number: int, due: float, cost: float) -> None:
        """An attempt begins to wait, `number` in the order of starting; its content should be there at `due`.

        `cost`: the cost of its failure, as in `PeakEwma`.
        """
        self.waiting += 1
        self._latest, self._latest_due, self._cost = number, due, cost
        if due < self._due:
            self._watched, self._due = number, due

    def answered(self, number: int) -> None:
        """The attempt's content has come."""
        if number >= self._watched:
            if self._latest > number:
                self._watched, self._due = self._latest, self._latest_due
            else:
                self._watched, self._due = number + 1, math.inf
        self.gone()

    def gone(self) -> None:
        """One attempt has ended without content."""
        self.waiting -= 1
        if self.waiting == 0:
            self._due = math.inf

    def cost(self, now: float) -> float:
        """The cost of a failure while the backend is quiet; otherwise 0."""
        return self._cost if now >= self._due else 0.0


class Ewma:
    """An average that forgets over `DECAY` seconds, however many samples come."""

    def __init__(self) -> None:
        self.value: float | None = None
        self.samples = 0
        self.at = -math.inf

    def observe(self, now: float, value: float) -> None:
        """Takes a sample."""
        weight = math.exp((self.at - now) / DECAY)
        # Samples of the same instant still have to count for something.
        share = max(1 - weight, 1 / RECENT_SAMPLES)
        self.value = value if self.value is None else self.value + (value - self.value) * share
        self.samples += 1
        self.at = now


class Recent:
    """The last samples, at most `RECENT_SAMPLES` and none older than `RECENT_SECONDS`, kept sorted."""

    def __init__(self) -> None:
        self._order: deque[tuple[float, float]] = deque()  # (moment, value)
        self._sorted: list[float] = []
        self.kept = False  # whether a sample was ever taken

    def add(self, now: float, value: float) -> None:
        """Takes a sample."""
        self.kept = True
        if len(self._order) == RECENT_SAMPLES:
            self._drop()
        self._order.append((now, value))
        insort(self._sorted, value)

    def quantile(self, now: float, q: float, minimum: int = 1) -> float | None:
        """The `q` quantile (nearest rank); None with fewer than `minimum` samples."""
        while self._order and self._order[0][0] < now - RECENT_SECONDS:
            self._drop()
        return _nearest(self._sorted, q) if len(self._sorted) >= max(minimum, 1) else None

    def _drop(self) -> None:
        _, value = self._order.popleft()
        del self._sorted[bisect_left(self._sorted, value)]


class Latest:
    """Like `Recent`, for rare readers: samples are only sorted when a quantile is read."""

    def __init__(self) -> None:
        self._order: deque[tuple[float, float]] = deque(maxlen=RECENT_SAMPLES)  # (moment, value)

    def add(self, now: float, value: float) -> None:
        """Takes a sample."""
        self._order.append((now, value))

    def quantile(self, now: float, q: float) -> float | None:
        """The `q` quantile (nearest rank); None without samples."""
        values = sorted(value for moment, value in self._order if moment >= now - RECENT_SECONDS)
        return _nearest(values, q) if values else None


def _nearest(values: list[float], q: float) -> float:
    return values[max(math.ceil(q * len(values)) - 1, 0)]


class Pool:
    """The samples of all backends of a tier: the measure against which each is judged."""

    def __init__(self) -> None:
        self.ttft = [Recent() for _ in range(SIZE_CLASSES)]
        self.speed = Recent()  # tokens per second

    def expected_ttft(self, now: float, prompt_tokens: int) -> float:
        """Seconds that are normal for such a prompt here; `NORMAL` while too little is known."""
        return self.ttft[size_class(prompt_tokens)].quantile(now, 0.5, POOL_SAMPLES) or NORMAL


def failure_cost(expected: float, retry_after: float | None, cap: float) -> float:
    """The cost of a failure in `PeakEwma`: 5 s, or the Retry-After up to `cap`; as seconds or as a multiple of
    `expected`, whichever is larger.
    """
    seconds = min(retry_after, cap) if retry_after and retry_after > 0 else FAILURE_COST
    return max(seconds, seconds / expected)


def slow_after(backend: Backend, pool: Recent, own: Recent, now: float, prompt_tokens: int) -> float:
    """Seconds after which missing content counts as bad.

    `pool` and `own` hold samples of the prompt's size class: of the tier, and of the backend alone.
    """
    if backend.objectives.ttft is not None:
        return SLOW_OBJECTIVE * backend.objectives.ttft
    median = pool.quantile(now, 0.5, POOL_SAMPLES)
    if median is None:
        median = own.quantile(now, 0.5, OWN_SAMPLES)
    if median is not None:
        return max(SLOW_FLOOR, SLOW_MEDIAN * median)
    return max(SLOW_COLD, SLOW_DEADLINE * ttft_deadline(backend, pool, own, now, prompt_tokens))


def ttft_deadline(backend: Backend, pool: Recent, own: Recent, now: float, prompt_tokens: int) -> float:
    """Seconds that an attempt may take to its first content. `pool` and `own`: as for `slow_after`."""
    if backend.timeouts.ttft is not None:
        return backend.timeouts.ttft
    reasoning = Capability.REASONING in (backend.capabilities or ())
    cap = DEADLINE_CAP_REASONING if reasoning else DEADLINE_CAP
    p95 = pool.quantile(now, 0.95, POOL_SAMPLES)
    if p95 is not None:
        return min(cap, max(DEADLINE_FLOOR, DEADLINE_P95 * p95))
    if backend.objectives.ttft is not None:
        return min(cap, max(DEADLINE_FLOOR, DEADLINE_OBJECTIVE * backend.objectives.ttft))
    cold = cap if reasoning or prompt_tokens > COLD_LONG_PROMPT else DEADLINE_COLD
    own_p95 = own.quantile(now, 0.95, OWN_SAMPLES) if own.kept else None
    return cold if own_p95 is None else min(cap, max(cold, DEADLINE_P95 * own_p95))
