"""Reports of a router, which go to the operator with each poll. Used by `config.longpoll`; made in `run.process`.

A poll waits for most of a minute, but an autoscaler needs a router's load within seconds. So the router checks
`Reports.news` every `LOAD_CHECK_SECONDS`, and ends the poll early when its load has changed since the last report, a
backend was tried for the first time, or a policy's requests begin or end to fall.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from weir_router.admit.queue import Room
from weir_router.clock import Clock
from weir_router.config.store import ConfigStore
from weir_router.contract import BackendReport, RouterLoad, RouterReport, Waiting
from weir_router.health.board import BackendView, Board
from weir_router.health.breaker import State
from weir_router.health.kinds import BLAMELESS_KINDS, NEUTRAL_KINDS
from weir_router.record.metrics import Metrics
from weir_router.report.bounds import bounded
from weir_router.report.queues import waiting
from weir_router.report.rates import Rates

LOAD_CHECK_SECONDS = 2.0
"""Seconds between two checks of the load: with a thousand backends one check takes less than a millisecond."""

SHARE = 0.1
"""Share of the last reported figure by which the present one must differ to be news: an autoscaler's own tolerance."""

LEAST = {"requests": 2.0, "seconds": 1.0, "tokens": 10.0}
"""Amounts by which small figures must differ at least, so that a fourth request beside three is not news. A change from
or to 0 is always news, for scaling to zero and back."""

_NO_FAILURE = {"ok", "cancelled", *NEUTRAL_KINDS, *BLAMELESS_KINDS}
"""Outcomes of an attempt that say nothing against the backend."""


class Busy(NamedTuple):
    """The load of a router, of its busy backends by key, and what statuses say of its requests; idle ones are left
    out.
    """

    load: RouterLoad
    backends: Mapping[str, int]
    tried: frozenset[str] = frozenset()  # keys of backends
    fallen: frozenset[str] = frozenset()  # policies with requests that were not answered where their routes want it


class Reports:
    """Makes the reports of one router, and remembers the last load reported."""

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
        """`router` is a pod's name. Unless `whole`, reports leave out healthy backends without requests: a sidecar's
        report is bounded, and a Service may have hundreds of endpoints.
        """
        self._router = router
        self._store = store
        self._board = board
        self._metrics = metrics
        self._room = room
        self._whole = whole
        self._rates = Rates(metrics, clock)
        self._clock = clock
        self._reported: Busy | None = None

    def report(self) -> RouterReport:
        """The report: the applied revision, the reason why a newer one was refused, state, counts and load of every
        backend, and our own load.
        """
        self._reported = self._busy()
        requests, failures = Counter[str](), Counter[str]()
        for (tier, backend, outcome), count in self._metrics.attempts:
            key = f"{tier}/{backend}"
            requests[key] += int(count.value)
            failures[key] += 0 if outcome in _NO_FAILURE else int(count.value)
        config, backends = self._store.config, self._board.view()
        rates = shared(self._rates.of_backends, backends)
        report = RouterReport(
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
                    tried=view.tried,
                    failing=view.failing,
                    words=view.words,
                )
                for key, view in backends.items()
                if self._whole or requests[key] or _says_something(view)
            },
            load=self._reported.load,
            policies=self._metrics.falls.report(self._clock.monotonic()),
        )
        return bounded(report, whole=self._whole)

    def news(self) -> bool:
        """Whether the load differs from the last one reported, or a status would. Called often, so it reads little."""
        return self._reported is not None and differs(self._reported, self._busy())

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
        view = self._board.view()
        backends = {key: count for key, it in view.items() if (count := it.pending)}
        tried = frozenset([key for key, it in view.items() if it.tried])
        return Busy(load, backends, tried, self._metrics.falls.fallen(self._clock.monotonic()))


def _says_something(view: BackendView) -> bool:
    """Whether the report of a sidecar has room for the backend."""
    return view.tried or view.state != State.CLOSED or view.pending > 0 or view.failing > 0


def shared(rates: Mapping[str, float], keys: Collection[str]) -> dict[str, float]:
    """The rate of each key. Endpoints of a Service, which metrics count as one, share its rate equally. Pure."""
    endpoints: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        if "@" in key:
            endpoints[key.partition("@")[0]].append(key)
    found = {key: round(rate, 1) for key, rate in rates.items()}
    for name in endpoints.keys() & rates.keys():
        found |= dict.fromkeys(endpoints[name], round(rates[name] / len(endpoints[name]), 1))
    return found


def differs(old: Busy, new: Busy) -> bool:
    """Whether `new` differs enough from `old` to be reported. Pure."""
    was, now = old.load, new.load
    if (old.tried, old.fallen) != (new.tried, new.fallen):
        return True
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
