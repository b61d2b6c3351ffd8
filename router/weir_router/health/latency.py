"""How fast a backend is and should be: averages, quantiles, and the deadlines that follow. Used within `health`.

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
"""The cost of a backend that nothing is known of: exactly what is expected (linkerd's default RTT, 1 s)."""
FAILURE_COST = 5.0
"""A failure counts as a latency of 5 s, or five times what is expected where that is more (linkerd's penalty)."""

RECENT_SAMPLES = 128
"""Enough for a p95 of six samples' weight; a list insert of this length costs less than a microsecond."""
RECENT_SECONDS = 300.0
"""Older samples are dropped, so that a model whose normal has changed is not held to its past for ever."""
POOL_SAMPLES = 20
"""Samples of a pool and size class before its quantiles are believed."""
OWN_SAMPLES = 5
"""Samples of a backend and size class before its own median serves as its baseline."""

SLOW_OBJECTIVE = 2.0
"""First content later than this many times the TTFT objective counts as bad."""
SLOW_MEDIAN = 4.0
"""The same, against the median where no objective is set."""
SLOW_FLOOR = 1.0
"""Seconds; against a median nothing faster is called slow: 4 x 20 ms is noise, not sickness."""

QUIET = 0.5
"""Share of the time after which an attempt is slow. A backend that has said nothing for so long counts, while that
lasts, as if it had failed; twice as fast as slowness is certain, since this is taken back with the next content.
"""

SLOW_COLD, SLOW_DEADLINE = 5.0, 0.5
"""Seconds at least, and share of the deadline, where nothing says what is normal. A router that starts into a black-out
leaves the backend alone within ten seconds; a healthy one that is slow stays a last resort meanwhile.
"""

DEADLINE_FLOOR = 2.0
"""Seconds; no deadline for the first content is shorter unless the backend's `timeouts.ttft` says so."""
DEADLINE_CAP, DEADLINE_CAP_REASONING = 30.0, 60.0
"""Seconds; reasoning models think before the first token: 30 s opens breakers on healthy ones."""
DEADLINE_P95 = 3.0
DEADLINE_OBJECTIVE = 5.0
"""Without samples: this many times the objective. Generous, since an objective is a wish and a deadline cuts."""
DEADLINE_COLD = 10.0
"""Seconds, with neither samples nor objective: a black hole is noticed in time. Not for long prompts, nor reasoning."""
COLD_LONG_PROMPT = 16_000
"""Prompt tokens beyond which prefill alone may take longer than `DEADLINE_COLD`."""


def size_class(prompt_tokens: int) -> int:
    """The prompt-size class, 0 (at most 1,000 tokens) to 4 (more than 64,000)."""
    return 0 if prompt_tokens <= SIZE_BOUNDS[0] else bisect_left(SIZE_BOUNDS, prompt_tokens)  # most are of the first


class PeakEwma:
    """Cost relative to what is expected: a peak replaces at once, and fades within seconds.

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


class Silence:
    """Whether a backend has gone quiet: no content has come of anything that was asked since its last sign of life.

    One attempt is watched, of those asked since then the first that is due. Content of it or of a later one starts
    anew, with the latest; so a single request that takes long says nothing as long as others are answered. Those that
    end without content only count as no longer waiting: whoever gives up on a black hole must not hide it.
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

        `cost`: what it is worth, as in `PeakEwma`, if it fails.
        """
        self.waiting += 1
        self._latest, self._latest_due, self._cost = number, due, cost
        if due < self._due:
            self._watched, self._due = number, due

    def answered(self, number: int) -> None:
        """Its content has come."""
        if number >= self._watched:
            if self._latest > number:
                self._watched, self._due = self._latest, self._latest_due
            else:
                self._watched, self._due = number + 1, math.inf
        self.gone()

    def gone(self) -> None:
        """It waits no more."""
        self.waiting -= 1
        if self.waiting == 0:
            self._due = math.inf

    def cost(self, now: float) -> float:
        """That of a failure while it is quiet; else nothing."""
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

    def add(self, now: float, value: float) -> None:
        """Takes a sample."""
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
    """As `Recent`, for whoever asks rarely: samples are only kept, and sorted when asked about."""

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
    """What a tier's backends have shown together: the measure against which each is judged."""

    def __init__(self) -> None:
        self.ttft = [Recent() for _ in range(SIZE_CLASSES)]
        self.speed = Recent()  # tokens per second

    def expected_ttft(self, now: float, prompt_tokens: int) -> float:
        """Seconds that are normal for such a prompt here; `NORMAL` while too little is known."""
        return self.ttft[size_class(prompt_tokens)].quantile(now, 0.5, POOL_SAMPLES) or NORMAL


def failure_cost(expected: float, retry_after: float | None, cap: float) -> float:
    """What a failure is worth in `PeakEwma`: 5 s, or the Retry-After up to `cap`; seconds or multiples, the larger."""
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
    return max(SLOW_COLD, SLOW_DEADLINE * ttft_deadline(backend, pool, now, prompt_tokens))


def ttft_deadline(backend: Backend, pool: Recent, now: float, prompt_tokens: int) -> float:
    """Seconds that an attempt may take to its first content. `pool`: the tier's samples of the prompt's size class."""
    if backend.timeouts.ttft is not None:
        return backend.timeouts.ttft
    reasoning = Capability.REASONING in (backend.capabilities or ())
    cap = DEADLINE_CAP_REASONING if reasoning else DEADLINE_CAP
    p95 = pool.quantile(now, 0.95, POOL_SAMPLES)
    if p95 is not None:
        return min(cap, max(DEADLINE_FLOOR, DEADLINE_P95 * p95))
    if backend.objectives.ttft is not None:
        return min(cap, max(DEADLINE_FLOOR, DEADLINE_OBJECTIVE * backend.objectives.ttft))
    return cap if reasoning or prompt_tokens > COLD_LONG_PROMPT else DEADLINE_COLD
