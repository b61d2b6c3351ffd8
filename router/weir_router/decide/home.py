"""The home of a conversation: the backend of a tier to which all its requests go, so that prompt caches hit. Pure.

Providers keep the beginning of a prompt for minutes, for each model and account. A conversation that moves pays its
whole history anew: ten times as much. Its home follows from its session by rendezvous hashing over the backends'
places, so all routers agree without a store, and a backend that comes or goes moves its own conversations only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from weir_router.contract import Backend
from weir_router.health.board import identity

HOME_ROOM = 16
"""Requests in flight that a home may always have: fewer than one server of a model of one's own works on at once. Below
it an uneven share is chance. A backend that takes fewer has a `limits.concurrency`."""

HOME_LOAD = 1.25
"""Multiple of the mean requests in flight of the tier's backends above which a home is left (consistent hashing with
bounded loads)."""

HOME_COST = 5.0
"""Multiple of the expected latency at which a home is left: the cost of a backend that has gone quiet, or has just
failed (`health.latency`)."""


class Load(NamedTuple):
    """A backend that a conversation may live at."""

    backend: Backend
    pending: int  # attempts in flight
    score: float  # expected cost of one more request, see `health.view.Judged`
    weight: float = 1.0


def at_home(session: str, loads: Sequence[Load]) -> tuple[list[int], str]:
    """The indexes of these in the session's order, and why the first is first. Where the home is left, the next that
    has room comes first.
    """
    # An exponential variable with its weight as rate: the least one wins as often as the weight says.
    arrivals = [(_arrival(session, load), at) for at, load in enumerate(loads)]
    ordered = [at for _, at in sorted(arrivals)]
    bound = HOME_LOAD * (1 + sum([load.pending for load in loads])) / len(loads)
    reasons = [_left(loads[at], bound) for at in ordered]
    first = next((place for place, reason in enumerate(reasons) if reason is None), 0)
    why = "home of this conversation" if first == 0 else f"next after this conversation's home, which {reasons[0]}"
    return [ordered[first], *ordered[:first], *ordered[first + 1 :]], why


def _left(load: Load, bound: float) -> str | None:
    """Why a session leaves this home; None: it stays."""
    if load.score >= HOME_COST * (load.pending + 1):
        return "has just failed or is slow"
    if load.pending >= HOME_ROOM and load.pending + 1 > bound:
        return f"has {load.pending} requests in flight, more than its share"
    return None


def _arrival(session: str, load: Load) -> float:
    if load.weight <= 0:
        return math.inf
    digest = blake2b("\0".join((session, *identity(load.backend))).encode("utf-8", "replace"), digest_size=6).digest()
    return -math.log((int.from_bytes(digest, "big") + 1) / 2**48) / load.weight
