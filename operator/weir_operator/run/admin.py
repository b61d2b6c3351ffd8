"""The operator's admin port: `/metrics`, `/healthz`, `/readyz`. For probes, scrapers and people. It changes nothing."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web
from prometheus_client import generate_latest

from weir_operator.distribute import connections
from weir_operator.kube.unknowns import Unknown
from weir_operator.run.metrics import Metrics


class State(Protocol):
    """The state to show; `replica.Replica` has it."""

    metrics: Metrics

    @property
    def ready(self) -> bool:
        """Whether routers can have their config here."""

    @property
    def leads(self) -> bool:
        """Whether this replica leads."""

    @property
    def revision(self) -> int:
        """The revision that routers get; 0: none yet."""

    def unknown(self) -> tuple[Unknown, ...]:
        """The unknown parts of the cluster."""

    def troubles(self) -> tuple[str, ...]:
        """Other faults, one line each."""

    def refresh_metrics(self) -> None:
        """Brings figures up to date that are not counted as they happen."""


class Admin:
    """Reads one replica's state."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def listen(self, host: str, port: int) -> web.AppRunner:
        """Serves until `cleanup` of the returned runner. Raises `OSError`."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        return await connections.listen(app, host, port, None)

    async def _metrics(self, _: web.Request) -> web.Response:
        self._state.refresh_metrics()
        return web.Response(
            body=generate_latest(self._state.metrics.registry),
            headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _healthz(self, _: web.Request) -> web.Response:
        """Alive: the loop answers."""
        return web.json_response({"status": "ok"})

    async def _readyz(self, _: web.Request) -> web.Response:
        """Ready once there is a config to hand out; says who leads, and everything that is not as it should be."""
        state = self._state
        body = {
            "ready": state.ready,
            "revision": state.revision or None,
            "leads": state.leads,
            "unknown": [str(it) for it in state.unknown()],
            "troubles": list(state.troubles()),
        }
        return web.json_response(body, status=200 if state.ready else 503)
