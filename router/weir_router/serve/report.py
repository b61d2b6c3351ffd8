"""What a router tells the operator with each poll. Handed to `config.longpoll` by whoever polls.

A poll waits for most of a minute, and what scales on a router's load wants to know within seconds. So `Reports.news` is
asked every `LOOK_SECONDS` whether the load is another than what was told last; while nothing changes nothing is told.
"""

from __future__ import annotations

from collections import Counter

from weir_router.admit.queue import Room
from weir_router.clock import Clock
from weir_router.config.store import ConfigStore
from weir_router.contract import BackendReport, RouterLoad, RouterReport, Waiting
from weir_router.health.board import Board
from weir_router.health.breaker import NEUTRAL_KINDS, State
from weir_router.record.metrics import Metrics
from weir_router.serve.queues import waiting
from weir_router.serve.rates import Rates

LOOK_SECONDS = 2.0
"""Between two looks at the load: a report costs the operator half a millisecond, a look costs us less."""

SHARE = 0.1
"""Of what was told last by which a figure must differ to be news: a scaler's own tolerance."""

LEAST = {"requests": 2.0, "seconds": 1.0, "tokens": 10.0}
"""The same for small figures, so that one more request of three is none. From and to nothing is always news: it is what
scales to zero and back."""

_NO_FAILURE = {"ok", "cancelled", *NEUTRAL_KINDS}
"""Outcomes of an attempt that say nothing against the backend."""


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
        self._told: RouterReport | None = None

    def report(self) -> RouterReport:
        """The applied revision, why a newer one was refused, state, counts and load of every backend, and our own."""
        self._told = self._made()
        return self._told

    def news(self) -> bool:
        """Whether the load is another than what was told last."""
        return self._told is not None and differs(self._told, self._made())

    def _made(self) -> RouterReport:
        requests, failures = Counter[str](), Counter[str]()
        for (tier, backend, outcome), count in self._metrics.attempts:
            key = f"{tier}/{backend}"
            requests[key] += int(count.value)
            failures[key] += 0 if outcome in _NO_FAILURE else int(count.value)
        self._rates.sample()
        config, backends = self._store.config, self._board.view()
        endpoints = Counter(map(_counted_as, backends))
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
                    tokens_per_second=round(self._rates.of(_counted_as(key)) / endpoints[_counted_as(key)], 1),
                )
                for key, view in backends.items()
                if self._whole or requests[key] or view.pending or view.state != State.CLOSED
            },
            load=self._load(),
        )

    def _load(self) -> RouterLoad:
        room, tiers = waiting(self._room.queue)
        return RouterLoad(
            in_flight=self._room.taken,
            limit=self._room.limit,
            room=room,
            tiers=tiers,
            tokens_per_second=self._rates.whole,
        )


def _counted_as(key: str) -> str:
    """What metrics call a backend: endpoints of a Service are one."""
    return key.partition("@")[0]


def differs(old: RouterReport, new: RouterReport) -> bool:
    """Whether `new` tells of another load than `old`. PURE."""
    was, now = old.load or RouterLoad(), new.load or RouterLoad()
    if _apart(was.in_flight, now.in_flight, "requests") or _waits_otherwise(was.room, now.room):
        return True
    if _apart(was.tokens_per_second, now.tokens_per_second, "tokens"):
        return True
    nobody = Waiting()
    tiers = was.tiers.keys() | now.tiers.keys()
    if any(_waits_otherwise(was.tiers.get(it, nobody), now.tiers.get(it, nobody)) for it in tiers):
        return True
    return any(
        _apart(before.in_flight, after.in_flight, "requests")
        for key, after in new.backends.items()
        if (before := old.backends.get(key)) is not None
    )


def _waits_otherwise(was: Waiting, now: Waiting) -> bool:
    return _apart(was.depth, now.depth, "requests") or _apart(was.oldest, now.oldest, "seconds")


def _apart(was: float, now: float, unit: str) -> bool:
    if not was or not now:
        return was != now
    return abs(now - was) >= max(LEAST[unit], SHARE * was)
