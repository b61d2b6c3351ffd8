"""The health of every backend: what `decide` reads, and where `call` takes a guard per attempt.

Synchronous and single-threaded: a call either happens or not, which makes `begin` atomic on the event loop. It does
no I/O and emits no metrics; `record` hears of state changes through `on_state` and reads the views.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from weir_router.clock import Clock
from weir_router.contract import Backend, CompiledConfig
from weir_router.errors import FailureKind
from weir_router.health import latency
from weir_router.health.guard import Guard
from weir_router.health.latency import Pool, size_class
from weir_router.health.place import Entry, Place
from weir_router.health.settings import Settings
from weir_router.health.view import BackendView
from weir_router.health.witness import Witness

__all__ = ["BackendView", "Board", "Guard", "identity"]


class Board:
    """All backends of the present config. `on_state` gets a backend's key, its old and its new state.

    `on_free`, set by the owner of a queue, gets the key of a backend with limited concurrency that may have a free
    slot. `on_failing`, set by the sender of reports, is called when a backend has failed three times in a row, and when
    it works again.
    """

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        on_state: Callable[[str, str, str], None] = lambda key, old, new: None,
    ) -> None:
        self.on_free: Callable[[str], None] = lambda key: None
        self.on_failing: Callable[[], None] = lambda: None
        self._clock = clock
        self._rng = rng
        self._on_state = on_state
        self._entries: dict[str, Entry] = {}
        self._view: Mapping[str, BackendView] = MappingProxyType(self._entries)
        self._pools: dict[str, Pool] = {}
        self._places: dict[tuple[str, ...], Place] = {}

    def configure(self, config: CompiledConfig) -> None:
        """Takes a new config. Places and pools that it still names keep their state; the others are forgotten.

        A guard of a forgotten place ends there, without effect on the new one.
        """
        old_places, old_pools, old_entries = self._places, self._pools, self._entries
        self._places, self._pools, self._entries = {}, {}, {}
        for place in old_places.values():
            place.entries = []
        for tier_key, tier in sorted(config.tiers.items()):
            pool = self._pools[tier_key] = old_pools.get(tier_key) or Pool()
            for backend in tier.backends:
                place = self._place(backend, old_places)
                key = backend.key(tier_key)
                slots = _slots(backend, config.routers)
                entry = self._entries[key] = Entry(key, backend, place, pool, slots, self._clock)
                before = old_entries.get(key)
                entry.missing = _still_missing(before, entry)
                if before is not None and before.backend != backend:
                    place.refused.clear()  # a changed account or model may accept what it refused before
                    place.streak.forget()
                if not place.entries:  # tiers that share a place should agree; where they do not, the first by name
                    place.breaker.settings = Settings.of(backend.breaker)
                place.entries.append(entry)
        self._view = MappingProxyType(self._entries)
        for key in self._entries:  # with a larger concurrency, or another router gone
            self.on_free(key)

    def view(self) -> Mapping[str, BackendView]:
        """Every backend's live view, by key. Read-only; fetch it anew per request, since `configure` replaces it."""
        return self._view

    def begin(
        self,
        key: str,
        prompt_tokens: int,
        namespace: str = "",
        *,
        panic: bool = False,
        backend: Backend | None = None,
    ) -> Guard | None:
        """Takes the backend for one attempt: pending from now until the guard ends. None: not available after all.

        `namespace`: that of the caller, so that no tenant alone decides about a backend for all.

        `backend`: the backend as the request knows it. A reload may have changed the key's backend since: a refusal of
        the old credential must not eject the new one.

        `panic`: `decide` found nothing available, so a last resort is taken too (`Choice.panic`).
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.slots is not None:
            entry.place.slots.asks(namespace, self._clock.monotonic())
        if not entry.takes(namespace):
            return None
        if backend is not None and backend is not entry.backend and identity(backend) != identity(entry.backend):
            return None
        ticket = entry.place.breaker.acquire(namespace, panic=panic)
        if ticket is None:
            return None
        return Guard(self._clock, entry, ticket, prompt_tokens)

    def witness(self, key: str, namespace: str, backend: Backend) -> Witness | None:
        """Takes the backend for a request that needs no slot. None: it is out, or no longer the one that is meant."""
        entry = self._entries.get(key)
        if entry is None or identity(backend) != identity(entry.backend):
            return None
        ticket = entry.place.breaker.beside(namespace)
        return None if ticket is None else Witness(self._clock, entry.place, ticket)

    def in_doubt(self, key: str) -> bool:
        """Whether a refusal of our credential, credit or model waits for a second request that meets the same."""
        entry = self._entries.get(key)
        return entry is not None and entry.place.breaker.in_doubt

    def refuses(self, key: str) -> dict[str, dict[str, float]]:
        """The fields that a model is known to refuse: for how many seconds so far, and how many more. For people."""
        now = self._clock.monotonic()
        learned = self._entries[key].place.refused.learned.items()
        return {
            field: {"seconds": round(now - it.since), "forgottenIn": round(it.until - now)}
            for field, it in sorted(learned)
            if now < it.until
        }

    def settle(self, key: str, kind: FailureKind | None, backend: Backend) -> None:
        """Takes the result of the router's own request to this `backend`: its failure, or None if it was answered."""
        entry = self._entries.get(key)
        if entry is not None and identity(backend) == identity(entry.backend):
            entry.place.breaker.settle(kind)
            if kind is None:
                entry.place.streak.answered()
            for other in entry.place.entries:  # a request that waits for its slot may wait in vain
                self.on_free(other.key)

    def full(self, key: str, namespace: str = "") -> bool:
        """Whether `begin` gives None only because the backend, or this namespace there, is at its concurrency."""
        entry = self._entries.get(key)
        return entry is not None and entry.full(namespace)

    def ttft_deadline(self, key: str, prompt_tokens: int) -> float:
        """Seconds that an attempt may take to its first content. Raises KeyError for an unknown backend."""
        entry = self._entries[key]
        size = size_class(prompt_tokens)
        pool, own = entry.pool.ttft[size], entry.place.by_size[size]
        return latency.ttft_deadline(entry.backend, pool, own, self._clock.monotonic(), prompt_tokens)

    def slow_after(self, key: str, prompt_tokens: int) -> float:
        """Seconds after which an attempt without content is slow. Raises KeyError as above."""
        return self._entries[key].slow_after(prompt_tokens)

    def _place(self, backend: Backend, old: Mapping[tuple[str, ...], Place]) -> Place:
        whole = identity(backend)
        place = self._places.get(whole) or old.get(whole)
        if place is None:
            place = Place(
                self._clock, self._rng, self._on_state, lambda key: self.on_free(key), lambda: self.on_failing()
            )
        self._places[whole] = place
        return place


def identity(backend: Backend) -> tuple[str, ...]:
    """The place of a backend: what backends must share to be the same server, model and account."""
    extra = "" if backend.extra is None else repr(backend.extra)
    return backend.provider.value, backend.base_url, backend.model, backend.credential or "", extra


def _slots(backend: Backend, routers: int) -> int | None:
    """This router's share of a concurrency limit for all routers, rounded up so that each has at least one slot."""
    concurrency = backend.limits.concurrency
    return None if concurrency is None else max(1, math.ceil(concurrency / max(1, routers)))


def _still_missing(old: Entry | None, new: Entry) -> bool:
    """Keeps the verdict on objectives if a reload changes neither them nor the place."""
    if old is None or old.place is not new.place or old.backend.objectives != new.backend.objectives:
        return False
    return old.missing
