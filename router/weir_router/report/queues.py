"""Counts of the requests that wait in a router, for its own room or for a tier. Used by `report.report` and
`serve.admin`."""

from __future__ import annotations

from weir_router.admit.queue import ROUTER, Queue
from weir_router.contract import Waiting


def waiting(queue: Queue) -> tuple[Waiting, dict[str, Waiting]]:
    """The requests that wait for room in this router, and those that wait for a backend, by tier ("namespace/name")."""
    room, tiers = Waiting(), dict[str, Waiting]()
    for keys, seconds in queue.waiting():
        if ROUTER in keys:
            room = _joined(room, seconds)
            continue
        for tier in {key.rpartition("/")[0] for key in keys}:
            tiers[tier] = _joined(tiers.get(tier, Waiting()), seconds)
    return room, tiers


def _joined(those: Waiting, seconds: float) -> Waiting:
    return Waiting(depth=those.depth + 1, oldest=max(those.oldest, round(seconds, 3)))
