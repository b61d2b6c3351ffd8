"""The state of one place (server, model and credential), and of each backend entry of a tier that points to it.

Used by `health.board` and `health.guard`. Two tiers that list the same place share its breaker, its pending count and
its speed: an outage or a revoked key concerns the place, not the tier.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from weir_router.clock import Clock
from weir_router.contract import Backend, BackendState
from weir_router.health import latency
from weir_router.health.breaker import Breaker, State
from weir_router.health.latency import SIZE_CLASSES, Ewma, Latest, PeakEwma, Pool, Recent, Silence, size_class
from weir_router.health.objectives import SAMPLES, TRIAL_AFTER, misses
from weir_router.health.refused import NOTHING, Refused
from weir_router.health.slots import Slots
from weir_router.health.streak import Streak


class Place:
    """One place, shared by all backends with the same provider, base URL, model and credential."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        on_state: Callable[[str, str, str], None],
        on_free: Callable[[str], None],
        on_failing: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._on_state = on_state
        self._on_free = on_free
        self.breaker = Breaker(clock, rng, self._changed)
        self.entries: list[Entry] = []  # of the present config
        self.pending = 0
        self.slots = Slots()
        self.cost = PeakEwma()
        self.silence = Silence()
        self.refused = Refused()
        self.streak = Streak(on_failing)
        self.good_in_a_row = 0  # answers since the last failure
        self.ttft = Ewma()
        self.speed = Ewma()  # tokens per second
        self.tokens_per_event = Ewma()  # how coarse its streams are
        self.recent = Latest()  # TTFT of every size, for people
        self.by_size = [Recent() for _ in range(SIZE_CLASSES)]  # TTFT, as the backend's own baseline

    def score(self, now: float) -> float:
        """Cost of one more request: penalised peak-EWMA times the queue it would join."""
        return max(self.cost.read(now), self.silence.cost(now)) * (self.pending + 1)

    def take(self, namespace: str) -> None:
        """An attempt of this namespace begins."""
        self.pending += 1
        self.slots.take(namespace)

    def free(self, namespace: str) -> None:
        """An attempt has ended. Where concurrency is limited, a request may be waiting for its slot."""
        self.pending -= 1
        self.slots.give_back(namespace)
        for entry in self.entries:
            if entry.slots is not None:
                self._on_free(entry.key)

    def judge_objectives(self) -> None:
        """Renews every entry's verdict after a sample; each entry may have objectives of its own."""
        ttft = self.ttft.value if self.ttft.samples >= SAMPLES else None
        speed = self.speed.value if self.speed.samples >= SAMPLES else None
        for entry in self.entries:
            entry.missing = misses(entry.missing, entry.backend.objectives, ttft, speed)

    def _changed(self, old: State, new: State) -> None:
        for entry in self.entries:
            self._on_state(entry.key, old.value, new.value)


class Entry:
    """One backend of one tier. Also its live `BackendView`."""

    def __init__(self, key: str, backend: Backend, place: Place, pool: Pool, slots: int | None, clock: Clock) -> None:
        self.key = key
        self.backend = backend
        self.place = place
        self.pool = pool
        self.slots = slots  # of limits.concurrency, for this router
        self.missing = False  # whether it misses its objectives
        self._clock = clock

    def takes(self, namespace: str) -> bool:
        """Whether it is active, and has a slot for this namespace."""
        return self.backend.state is BackendState.ACTIVE and (self.slots is None or self._has_slot(namespace))

    def full(self, namespace: str) -> bool:
        """Whether it only lacks a free slot for this namespace."""
        if self.backend.state is not BackendState.ACTIVE or self.slots is None or self.place.breaker.available_at:
            return False
        return not self._has_slot(namespace)

    def _has_slot(self, namespace: str) -> bool:
        assert self.slots is not None
        return self.place.slots.may(namespace, self.slots, self.place.pending, self._clock.monotonic())

    @property
    def state(self) -> str:
        return self.place.breaker.state

    @property
    def reason(self) -> str | None:
        reason = self.place.breaker.reason
        return None if reason is None else str(reason)

    @property
    def available_at(self) -> float:
        return self.place.breaker.available_at

    @property
    def last_resort(self) -> bool:
        return self.place.breaker.last_resort

    @property
    def credential_out(self) -> bool:
        return self.place.breaker.credential_out

    @property
    def healthy(self) -> bool:
        return self.place.breaker.healthy

    @property
    def pending(self) -> int:
        return self.place.pending

    @property
    def saturated(self) -> bool:
        return self.slots is not None and self.place.pending >= self.slots

    @property
    def saturation(self) -> float | None:
        return None if self.slots is None else min(1.0, self.place.pending / self.slots)

    @property
    def share(self) -> float:
        return self.place.breaker.share

    @property
    def score(self) -> float:
        return self.place.score(self._clock.monotonic())

    @property
    def keeps_objectives(self) -> bool:
        if not self.missing:
            return True
        idle = self._clock.monotonic() - max(self.place.ttft.at, self.place.speed.at)
        return self.place.pending == 0 and idle >= TRIAL_AFTER

    @property
    def refuses(self) -> frozenset[str]:
        refused = self.place.refused
        return refused.at(self._clock.monotonic()) if refused.learned else NOTHING

    def slow_after(self, prompt_tokens: int) -> float:
        """Seconds after which an attempt without content is slow."""
        size, now = size_class(prompt_tokens), self._clock.monotonic()
        return latency.slow_after(self.backend, self.pool.ttft[size], self.place.by_size[size], now, prompt_tokens)

    @property
    def tried(self) -> bool:
        return self.place.streak.tried(self._clock.monotonic())

    @property
    def failing(self) -> int:
        return self.place.streak.failing

    @property
    def words(self) -> str:
        return self.place.streak.words

    @property
    def ttft(self) -> float | None:
        return self.place.ttft.value

    @property
    def ttft_p50(self) -> float | None:
        return self.place.recent.quantile(self._clock.monotonic(), 0.5)

    @property
    def ttft_p95(self) -> float | None:
        return self.place.recent.quantile(self._clock.monotonic(), 0.95)

    @property
    def tokens_per_second(self) -> float | None:
        return self.place.speed.value
