"""Wires the router and runs its two ports. Holds no logic."""

from __future__ import annotations

import logging
import random
from functools import partial

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from weir_router.call.transport import AutoTransport
from weir_router.clock import Clock, SystemClock
from weir_router.config.access import Access
from weir_router.config.store import ConfigStore
from weir_router.contract import CompiledConfig, Dialect, Secrets
from weir_router.errors import BadRequest, WeirError
from weir_router.health.board import Board
from weir_router.identify.identifier import Identifier
from weir_router.identify.review_client import ReviewClient
from weir_router.record.metrics import Metrics
from weir_router.record.recorder import Recorder
from weir_router.serve import story
from weir_router.serve.admin import Admin
from weir_router.serve.answers import dialect_of, error_answer, new_request_id

SHUTDOWN_GRACE = 30.0
"""Seconds that open answers may take to end after a SIGTERM; Kubernetes' own default grace period."""


class Router:
    """One router: `async with Router(...) as router`, then `router.store.apply(config, secrets)`."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        admin_host: str = "127.0.0.1",
        admin_port: int = 9090,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        grace: float = SHUTDOWN_GRACE,
        reviewer: Access | None = None,
    ) -> None:
        """`reviewer` is the config server that is asked about callers' tokens, where the config wants it."""
        self.store = ConfigStore()
        self.metrics = Metrics()
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._grace = grace
        self._reviewer = reviewer
        self._review_client: ReviewClient | None = None
        self._addresses = (host, port), (admin_host, admin_port)
        self._runners: list[web.AppRunner] = []
        self.board = Board(self._clock, self._rng, self._state_changed)
        self.store.subscribe(self._configured)

    async def __aenter__(self) -> Router:
        self._transport = AutoTransport()
        recorder = Recorder(self.metrics)
        self._review_client = ReviewClient(self._reviewer) if self._reviewer is not None else None
        identifier = Identifier(self._clock, reviewer=self._review_client)
        gateway = story.Gateway(self.store, self.board, self._transport, recorder, self._clock, self._rng, identifier)
        admin = Admin(self.store, self.board, self.metrics)
        try:
            self.url = await self._serve(_callers_app(gateway), *self._addresses[0])
            self.admin_url = await self._serve(_admin_app(admin), *self._addresses[1])
        except BaseException:  # mostly an address that is in use
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()
        await self._transport.close()
        if self._review_client is not None:
            await self._review_client.close()

    async def _serve(self, app: web.Application, host: str, port: int) -> str:
        # handler_cancellation: a caller that goes away stops the upstream call.
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=self._grace, logger=_http_log()
        )
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        bound = runner.addresses[0]
        return f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"

    def _configured(self, config: CompiledConfig, _: Secrets) -> None:
        self.board.configure(config)
        self.metrics.revision.set(config.revision)
        self.metrics.keep_backends(set(self.board.view()))

    def _state_changed(self, backend: str, _old: str, new: str) -> None:
        self.metrics.breaker_changed(backend, new)


def _http_log() -> logging.Logger:
    """aiohttp's own log without what is no HTTP: it would hold a traceback for each line of a port scanner."""
    log = logging.getLogger("weir.http")
    log.addFilter(_not_the_clients_fault)  # adding it twice does nothing
    return log


def _not_the_clients_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


def _callers_app(gateway: story.Gateway) -> web.Application:
    app = web.Application(client_max_size=story.MAX_REQUEST_BYTES, middlewares=[_unknown_paths])
    app.router.add_post("/v1/chat/completions", partial(gateway.complete, dialect=Dialect.OPENAI))
    app.router.add_post("/v1/messages", partial(gateway.complete, dialect=Dialect.ANTHROPIC))
    app.router.add_get("/v1/models", gateway.list_models)
    app.router.add_get("/v1/models/{id:.+}", gateway.list_models)
    return app


@web.middleware
async def _unknown_paths(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A wrong path gets an answer that the SDKs understand."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        wrong: WeirError = BadRequest(
            f"Weir does not serve {request.method} {request.path}. It serves POST /v1/chat/completions "
            "(OpenAI), POST /v1/messages (Anthropic) and GET /v1/models: an OpenAI SDK's base URL ends in /v1, "
            "an Anthropic SDK's does not."
        )
        wrong.status, wrong.code = error.status, "unknown_path"
        return error_answer(wrong, dialect_of(request.headers), new_request_id())


def _admin_app(admin: Admin) -> web.Application:
    app = web.Application()
    app.router.add_get("/metrics", admin.metrics)
    app.router.add_get("/state", admin.state)
    app.router.add_get("/healthz", admin.healthz)
    app.router.add_get("/readyz", admin.readyz)
    return app
