"""The admin port: `/metrics`, `/state`, `/healthz`, `/readyz`. For people, probes and scrapers; never for callers."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import generate_latest

from weir_router.config.store import ConfigStore
from weir_router.health.board import Board
from weir_router.record.metrics import Metrics


class Admin:
    """Reads; changes nothing."""

    def __init__(self, store: ConfigStore, board: Board, metrics: Metrics) -> None:
        self._store = store
        self._board = board
        self._metrics = metrics

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus text format."""
        self._metrics.rejected.set(self._store.rejected is not None)
        return web.Response(
            body=generate_latest(self._metrics.registry),
            headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def healthz(self, _: web.Request) -> web.Response:
        """Alive: the loop answers."""
        return web.json_response({"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        """Ready once a config runs; says which revision, and why a newer one was refused."""
        config = self._store.config
        body = {
            "ready": config is not None,
            "revision": config.revision if config else None,
            "rejected": self._store.rejected,
        }
        return web.json_response(body, status=200 if config else 503)

    async def state(self, _: web.Request) -> web.Response:
        """What the router believes about every backend, as JSON."""
        config = self._store.config
        body: dict[str, Any] = {
            "revision": config.revision if config else None,
            "rejected": self._store.rejected,
            "policies": [policy.key for policy in config.policies] if config else [],
            "backends": {key: self._backend(key) for key in self._board.view()},
        }
        return web.Response(body=msgspec.json.encode(body), headers={"content-type": "application/json"})

    def _backend(self, key: str) -> dict[str, Any]:
        view = self._board.view()[key]
        return {
            "state": view.state,
            "reason": view.reason,
            "inFlight": view.pending,
            "ttft": view.ttft,
            "ttftP50": view.ttft_p50,
            "ttftP95": view.ttft_p95,
            "tokensPerSecond": view.tokens_per_second,
            "keepsObjectives": view.keeps_objectives,
        }
