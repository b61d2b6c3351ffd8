"""What a router tells the operator with each poll. Handed to `config.longpoll` by `weir router`."""

from __future__ import annotations

from collections import Counter

from weir_router.config.store import ConfigStore
from weir_router.contract import BackendReport, RouterReport
from weir_router.health.board import Board
from weir_router.health.breaker import NEUTRAL_KINDS
from weir_router.record.metrics import Metrics

_NO_FAILURE = {"ok", "cancelled", *NEUTRAL_KINDS}
"""Outcomes of an attempt that say nothing against the backend."""


def report(router: str, store: ConfigStore, board: Board, metrics: Metrics) -> RouterReport:
    """The applied revision, why a newer one was refused, and state and counts of every backend; `router` is a pod's
    name.
    """
    requests, failures = Counter[str](), Counter[str]()
    for (tier, backend, outcome), count in metrics.attempts:
        key = f"{tier}/{backend}"
        requests[key] += int(count.value)
        failures[key] += 0 if outcome in _NO_FAILURE else int(count.value)
    return RouterReport(
        router=router,
        revision=store.config.revision if store.config else None,
        rejected=store.rejected,
        backends={
            key: BackendReport(state=view.state, reason=view.reason, requests=requests[key], failures=failures[key])
            for key, view in board.view().items()
        },
    )
