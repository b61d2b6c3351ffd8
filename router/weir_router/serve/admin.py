"""The admin port: `/metrics`, `/state`, `/healthz`, `/readyz`. For people, probes and scrapers; never for callers."""

from __future__ import annotations

import hmac
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import generate_latest

from weir_router.admit.memory import Memory
from weir_router.admit.queue import Room
from weir_router.config.store import ConfigStore
from weir_router.health.board import Board
from weir_router.record.metrics import Metrics
from weir_router.report.queues import waiting
from weir_router.serve.answers import json_answer
from weir_router.serve.http import Answer, Places, Request, fields
from weir_router.serve.http.places import is_local
from weir_router.serve.scrape import Scrape

TOKEN_HEADER = "x-weir-admin-token"
"""The header with the token for those who ask by way of the API server, which removes `Authorization`."""

_TEXT = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"
_REFUSED = Answer(
    401,
    fields({"content-type": "text/plain", "www-authenticate": "Bearer"}),
    b"This router shows its metrics to those who send the token of --admin-token-file, and on loopback.\n",
)


class Admin:
    """Handlers of the admin port. They only read."""

    def __init__(
        self,
        store: ConfigStore,
        board: Board,
        metrics: Metrics,
        room: Room,
        places: Places,
        memory: Memory,
        token_file: Path | None = None,
    ) -> None:
        """`token_file` has the token that metrics and names are shown for; it is read for each request."""
        self._store = store
        self._board = board
        self._metrics = metrics
        self._room = room
        self._places = places
        self._memory = memory
        self._token_file = token_file
        self._scrape = Scrape(self._load, partial(generate_latest, metrics.registry))

    async def metrics(self, request: Request) -> Answer:
        """The metrics, in Prometheus' text format."""
        if not self._may_see(request):
            return _REFUSED
        return Answer(200, _TEXT, await self._scrape.text())

    def _load(self) -> None:
        """Sets the gauges that are read at the moment of a scrape."""
        self._metrics.rejected.value = self._store.rejected is not None
        queue = self._room.queue
        self._metrics.connections.value = float(self._places.taken)
        self._metrics.held.value = float(self._memory.held)
        self._metrics.load(len(queue), queue.oldest, self._room.saturation)
        self._metrics.load_of_backends(
            {key: (it.pending, it.saturation) for key, it in self._board.view().items()},
            {tier: it.depth for tier, it in waiting(queue)[1].items()},
        )

    def _may_see(self, request: Request) -> bool:
        """Whether tenants' names may be shown: on loopback, where `kubectl port-forward` comes from, or with the token.

        Without a token's file the network decides who reaches this port.
        """
        if self._token_file is None or is_local(request.peer):
            return True
        shown = request.headers.get(TOKEN_HEADER) or request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            token = self._token_file.read_text().strip()
        except (OSError, ValueError):
            token = ""
        return bool(token) and hmac.compare_digest(shown.encode("utf-8", "replace"), token.encode())

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

    async def state(self, request: Request) -> Answer:
        """The state of every backend as this router sees it, as JSON. Without the token: numbers in place of names."""
        config = self._store.config
        policies = config.policies if config else ()
        body: dict[str, Any] = {"revision": config.revision if config else None}
        if self._may_see(request):
            body["rejected"] = self._store.rejected
            body["policies"] = [policy.key for policy in policies]
            body["backends"] = {key: self._backend(key) for key in self._board.view()}
        else:
            body["rejected"] = self._store.rejected is not None
            body["policies"] = len(policies)
            body["backends"] = Counter(view.state for view in self._board.view().values())
        return json_answer(200, msgspec.json.encode(body))

    def _backend(self, key: str) -> dict[str, Any]:
        view = self._board.view()[key]
        return {
            "state": view.state,
            "reason": view.reason,
            "tried": view.tried,
            "failing": view.failing,
            "words": view.words,
            "inFlight": view.pending,
            "saturation": view.saturation,
            "ttft": view.ttft,
            "ttftP50": view.ttft_p50,
            "ttftP95": view.ttft_p95,
            "tokensPerSecond": view.tokens_per_second,
            "keepsObjectives": view.keeps_objectives,
            "refuses": self._board.refuses(key),
        }
