"""The admin port: `/metrics`, `/state`, `/healthz`, `/readyz`. For people, probes and scrapers; never for callers."""

from __future__ import annotations

from typing import Any

import msgspec
from prometheus_client import generate_latest

from weir_router.admit.queue import Room
from weir_router.config.store import ConfigStore
from weir_router.health.board import Board
from weir_router.record.metrics import Metrics
from weir_router.report.queues import waiting
from weir_router.serve.answers import json_answer
from weir_router.serve.http import Answer, Places, Request


class Admin:
    """Handlers of the admin port. They only read."""

    def __init__(self, store: ConfigStore, board: Board, metrics: Metrics, room: Room, places: Places) -> None:
        self._store = store
        self._board = board
        self._metrics = metrics
        self._room = room
        self._places = places

    async def metrics(self, _: Request) -> Answer:
        """The metrics, in Prometheus' text format."""
        self._metrics.rejected.value = self._store.rejected is not None
        queue = self._room.queue
        self._metrics.connections.value = float(self._places.taken)
        self._metrics.load(len(queue), queue.oldest, self._room.saturation)
        self._metrics.load_of_backends(
            {key: (it.pending, it.saturation) for key, it in self._board.view().items()},
            {tier: it.depth for tier, it in waiting(queue)[1].items()},
        )
        return Answer(
            200, b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n", generate_latest(self._metrics.registry)
        )

    async def healthz(self, _: Request) -> Answer:
        """Says that the router is alive: its event loop answers."""
        return json_answer(200, b'{"status":"ok"}')

    async def readyz(self, _: Request) -> Answer:
        """Ready once a config is in use. The answer names its revision, and says why a newer one was refused or why
        there is none yet.
        """
        config = self._store.config
        body: dict[str, Any] = {
            "ready": config is not None,
            "revision": config.revision if config else None,
            "rejected": self._store.rejected,
        }
        if config is None:
            body["waiting"] = self._store.waiting
        return json_answer(200 if config else 503, msgspec.json.encode(body))

    async def state(self, _: Request) -> Answer:
        """The state of every backend as this router sees it, as JSON."""
        config = self._store.config
        body: dict[str, Any] = {
            "revision": config.revision if config else None,
            "rejected": self._store.rejected,
            "policies": [policy.key for policy in config.policies] if config else [],
            "backends": {key: self._backend(key) for key in self._board.view()},
        }
        return json_answer(200, msgspec.json.encode(body))

    def _backend(self, key: str) -> dict[str, Any]:
        view = self._board.view()[key]
        return {
            "state": view.state,
            "reason": view.reason,
            "inFlight": view.pending,
            "saturation": view.saturation,
            "ttft": view.ttft,
            "ttftP50": view.ttft_p50,
            "ttftP95": view.ttft_p95,
            "tokensPerSecond": view.tokens_per_second,
            "keepsObjectives": view.keeps_objectives,
            "refuses": self._board.refuses(key),
        }
