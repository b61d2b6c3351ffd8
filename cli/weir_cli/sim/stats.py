"""Statistics of the simulator: counts per model, and its last requests.

Filled by `weir_cli.sim.server`; read by tests and by `GET /_sim/stats` and `GET /_sim/requests/{model}`. Kept in the
raw, because most requests are never looked at.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from weir_cli.sim.http1 import Request

RING = 50
"""Requests kept per model: enough for any test, and megabyte bodies stay bounded."""


class ModelStats(msgspec.Struct):
    """Counts of one model since the start or the last reset."""

    requests: int = 0
    in_flight: int = 0
    answered: int = 0  # in full, with status 200 and no fault
    refused: int = 0  # with an HTTP error, a fault's included
    faulted: int = 0  # met a fault of any kind
    cancelled: int = 0  # the client went away first


class Seen(msgspec.Struct, frozen=True):
    """A request as it reached the simulator, credentials included."""

    method: str
    path: str
    headers: dict[str, str]  # lower-case names
    body: bytes

    def json(self) -> Any:
        """The decoded body. Raises `msgspec.DecodeError`."""
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        """No headers and no body: both hold what must not reach a log."""
        return f"Seen({self.method} {self.path}, {len(self.body)} bytes)"


class Book:
    """Counts and last requests per model."""

    def __init__(self) -> None:
        self._stats: dict[str, ModelStats] = {}
        self._rings: dict[str, deque[Request]] = {}

    def of(self, model: str) -> ModelStats:
        """The counts of one model; zeroes where nothing came."""
        found = self._stats.get(model)
        if found is None:
            found = self._stats[model] = ModelStats()
        return found

    def note(self, model: str, request: Request) -> ModelStats:
        """Counts one more request and keeps it."""
        ring = self._rings.get(model)
        if ring is None:
            ring = self._rings[model] = deque(maxlen=RING)
        ring.append(request)
        stats = self.of(model)
        stats.requests += 1
        return stats

    def seen(self, model: str) -> list[Seen]:
        """The last requests to one model, oldest first."""
        return [Seen(r.method, r.target, r.headers, r.body) for r in self._rings.get(model, ())]

    def snapshot(self) -> dict[str, ModelStats]:
        """A copy of all counts, by model."""
        return {model: msgspec.structs.replace(stats) for model, stats in self._stats.items()}

    def reset(self) -> None:
        """Forgets everything but what is in flight."""
        self._rings.clear()
        # The objects stay: requests in flight count themselves out on them.
        for stats in self._stats.values():
            stats.requests = stats.answered = stats.refused = stats.faulted = stats.cancelled = 0
