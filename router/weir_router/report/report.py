"""What a router tells the operator with each poll. Handed to `config.longpoll` by whoever polls.

A poll waits for most of a minute, and what scales on a router's load wants to know within seconds. So `Reports.news` is
asked every `LOOK_SECONDS` whether the load is another than what was told last; while nothing changes nothing is told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from weir_router.admit.queue import Room
from weir_router.clock import Clock
from weir_router.config.store import ConfigStore
from weir_router.contract import BackendReport, RouterLoad, RouterReport, Waiting
from weir_router.health.board import Board
from weir_router.health.breaker import NEUTRAL_KINDS, State
from weir_router.record.metrics import Metrics
from weir_router.report.queues import waiting
from weir_router.report.rates import Rates

LOOK_SECONDS = 2.0
"""Between two looks at the load: with a thousand backends one takes a tenth of a millisecond."""

SHARE = 0.1
"""Of what was told last by which a figure must differ to be news: a scaler's own tolerance."""

LEAST = {"requests": 2.0, "seconds": 1.0, "tokens": 10.0}
"""The same for small figures, so that one more request of three is none. From and to nothing is always news: it is what
scales to zero and back."""

_NO_FAILURE = {"ok", "cancelled", *NEUTRAL_KINDS}
"""Outcomes of an attempt that say nothing against the backend."""


class Busy(NamedTuple):
    """How busy a router is, and which of its backends, by key; those that are not are left out."""

    load: RouterLoad
    backends: Mapping[str, int]


class Reports:
    """Makes the reports of one router, and knows what it has told."""

    def __init__(
        self,
        router: str,
        store: ConfigStore,
        board: Board,
        metrics: Metrics,
        room: Room,
        clock: Clock,
        *,
        whole: bool = True,
    ) -> None:
        """`router` is a pod's name. Unless `whole`, nothing is told of backends that are well and were not used: what
        a sidecar may say is bounded, and a Service may have hundreds of endpoints.
        """
        self._router = router
        self._store = store
        self._board = board
        self._metrics = metrics
        self._room = room
        self._whole = whole
        self._rates = Rates(metrics, clock)
        self._told: Busy | None = None

    def report(self) -> RouterReport:
        """The applied revision, why a newer one was refused, state, counts and load of every backend, and our own."""
        self._told = self._busy()
        requests, failures = Counter[str](), Counter[str]()
        for (tier, backend, outcome), count in self._metrics.attempts:
            key = f"{tier}/{backend}"
            requests[key] += int(count.value)
            failures[key] += 0 if outcome in _NO_FAILURE else int(count.value)
        config, backends = self._store.config, self._board.view()
        rates = shared(self._rates.of_backends, backends)
        return RouterReport(
            router=self._router,
            revision=config.revision if config else None,
            rejected=self._store.rejected,
            backends={
                key: BackendReport(
                    state=view.state,
                    reason=view.reason,
                    requests=requests[key],
                    failures=failures[key],
                    in_flight=view.pending,
                    tokens_per_second=rates.get(key, 0.0),
                )
                for key, view in backends.items()
                if self._whole or requests[key] or view.pending or view.state != State.CLOSED
            },
            load=self._told.load,
        )

    def news(self) -> bool:
        """Whether the load is another than what was told last. Asked often, so it looks only at what is busy."""
        return self._told is not None and differs(self._told, self._busy())

    def _busy(self) -> Busy:
        self._rates.sample()
        room, tiers = waiting(self._room.queue)
        load = RouterLoad(
            in_flight=self._room.taken,
            limit=self._room.limit,
            room=room,
            tiers=tiers,
            tokens_per_second=self._rates.whole,
        )
        return Busy(load, {key: count for key, view in self._board.view().items() if (count := view.pending)})


def shared(rates: Mapping[str, float], keys: Collection[str]) -> dict[str, float]:
    """Of each key its rate. Endpoints of a Service, which metrics count as one, share it equally. PURE."""
    endpoints: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        if "@" in key:
            endpoints[key.partition("@")[0]].append(key)
    found = {key: round(rate, 1) for key, rate in rates.items()}
    for name in endpoints.keys() & rates.keys():
        found |= dict.fromkeys(endpoints[name], round(rates[name] / len(endpoints[name]), 1))
    return found


def differs(old: Busy, new: Busy) -> bool:
    """Whether `new` is another load than `old`. PURE."""
    was, now = old.load, new.load
    if _apart(was.in_flight, now.in_flight, "requests") or _waits_otherwise(was.room, now.room):
        return True
    if _apart(was.tokens_per_second, now.tokens_per_second, "tokens"):
        return True
    nobody = Waiting()
    tiers = was.tiers.keys() | now.tiers.keys()
    if any(_waits_otherwise(was.tiers.get(it, nobody), now.tiers.get(it, nobody)) for it in tiers):
        return True
    backends = old.backends.keys() | new.backends.keys()
    return any(_apart(old.backends.get(it, 0), new.backends.get(it, 0), "requests") for it in backends)


def _waits_otherwise(was: Waiting, now: Waiting) -> bool:
    return _apart(was.depth, now.depth, "requests") or _apart(was.oldest, now.oldest, "seconds")


def _apart(was: float, now: float, unit: str) -> bool:
    if not was or not now:
        return was != now
    return abs(now - was) >= max(LEAST[unit], SHARE * was)
