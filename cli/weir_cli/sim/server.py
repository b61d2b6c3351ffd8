"""The simulator itself: models behind a port.

Used by tests, the demo and `weir sim`. It puts the parts together and answers at once where no pace is asked for;
`weir_cli.sim.playback` does the rest. One event loop, no threads (`weir_cli.sim.thread` has one), loopback only
by default.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from weir_cli.sim.connection import EVENT_STREAM, JSON, Connection, head_of
from weir_cli.sim.control import PREFIX, ControlError, control
from weir_cli.sim.endpoints import ENDPOINTS
from weir_cli.sim.exchange import UNKNOWN, Exchange, ExchangeBook
from weir_cli.sim.faults import ANY_MODEL, Fault, FaultBoard, refusal
from weir_cli.sim.frames import as_json, chunked
from weir_cli.sim.http1 import Request
from weir_cli.sim.models import Service, SimModel
from weir_cli.sim.playback import Pace, Playback
from weir_cli.sim.prompt_cache import PromptCache
from weir_cli.sim.refused import Refused
from weir_cli.sim.responses_wire import PATH as RESPONSES
from weir_cli.sim.state import COMPACT, Stored, compacted
from weir_cli.sim.stats import Book, ModelStats, Seen
from weir_cli.sim.wires import WIRES, Wire
from weir_router.contract import WireFormat

AT_ONCE_BYTES = 49_152
"""A stream up to this size is written in one go: it fits under asyncio's high-water mark of 64 KiB."""

BACKLOG = 1024
"""A benchmark opens hundreds of connections at once; with the usual 100 some wait a second for a second SYN."""

_DIALECTS = {wire.PATH: dialect for dialect, wire in WIRES.items()}
_UNMARKED = next(dialect for dialect, wire in WIRES.items() if wire.MARK is None)
_MODELS_PATH = "/v1/models"


class Simulator:
    """Fake models on a port: `async with Simulator([SimModel("m")]) as sim: ... sim.url`."""

    def __init__(
        self,
        models: Iterable[SimModel],
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` is the clock of the prompt caches."""
        self._exchanges = ExchangeBook(models, seed)
        self._names = frozenset({*self._exchanges.models, ANY_MODEL})
        self._host = host
        self._port = port
        self._board = FaultBoard(seed)
        self._rng = random.Random(f"pace {seed}")
        self._book = Book()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._count = 0
        self._prompt_cache = PromptCache()
        self._now = now
        self._stored = Stored()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def __aenter__(self) -> Self:
        await self.accept_connections()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse_connections()

    @property
    def url(self) -> str:
        """`http://host:port`, without a trailing slash. OpenAI's base URL is this and `/v1`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def models(self) -> tuple[SimModel, ...]:
        """Every model, in the order given."""
        return tuple(self._exchanges.models.values())

    def fault(self, model: str, *faults: Fault) -> None:
        """Switches faults on for `model`, in place of those that were on; `"*"`: for every model without its own.

        Raises `KeyError` for an unknown model.
        """
        if model not in self._names:
            raise KeyError(model)
        self._board.set(model, *faults)

    def clear(self, model: str | None = None) -> None:
        """Switches faults off, for all models or one. Requests that already hang go on hanging."""
        self._board.clear(model)

    def reset(self) -> None:
        """Faults off, counts to zero, requests forgotten."""
        self._board.clear()
        self._book.reset()

    @property
    def stats(self) -> dict[str, ModelStats]:
        """A copy of the counts by model: every model's, and "-" once an unknown one was asked for."""
        return {**{name: ModelStats() for name in self._exchanges.models}, **self._book.snapshot()}

    def requests(self, model: str) -> list[Seen]:
        """The last requests to `model` ("-": to unknown ones), oldest first."""
        return self._book.seen(model)

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Waits until `condition` (of `stats`, `requests`) holds. Raises `TimeoutError`."""
        if not condition():
            waiter = (condition, asyncio.get_running_loop().create_future())
            self._waiters.append(waiter)
            try:
                await asyncio.wait_for(waiter[1], timeout)
            finally:
                self._waiters.remove(waiter)

    async def refuse_connections(self) -> None:
        """Closes the port and every connection (RST): from now on the kernel refuses. Keeps the port's number."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            open_now, self._connections = self._connections, set()
            for connection in open_now:
                connection.abort()
            await server.wait_closed()

    async def accept_connections(self) -> None:
        """Opens the port, or opens it again. Raises `OSError` when it is taken."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._connect, self._host, self._port, backlog=BACKLOG)
            self._port = self._server.sockets[0].getsockname()[1]

    def _connect(self) -> Connection:
        return Connection(self._handle, self._opened)

    def _opened(self, connection: Connection, is_open: bool) -> None:
        if is_open and self._server is None:
            connection.abort()  # accepted just before the port closed, and so not among those that were open then
        elif is_open:
            self._connections.add(connection)
        else:
            self._connections.discard(connection)

    def _handle(self, out: Connection, request: Request) -> None:
        if request.method == "POST" and (exchange := self._asked(request)) is not None:
            self._serve(out, request, exchange)
        elif request.path.startswith(PREFIX):
            self._control(out, request)
        elif request.path.startswith(f"{RESPONSES}/"):
            self._look_up(out, request)
        elif request.method == "GET" and (request.path == _MODELS_PATH or request.path.startswith(f"{_MODELS_PATH}/")):
            self._list(out, request, unquote(request.path[len(_MODELS_PATH) + 1 :]))
        else:
            dialect = _dialect_of(request)
            self._refuse(out, dialect, WIRES[dialect].unknown_path(request.method, request.path))
        if self._waiters:
            self._wake()

    def _asked(self, request: Request) -> Exchange | None:
        """The exchange that a request begins; None: it is for no model."""
        dialect = _DIALECTS.get(request.path)
        if dialect is not None:
            return self._exchanges.look_up(dialect, request.body)
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is None:
            return None
        return self._exchanges.reply(endpoint, request.header(b"content-type"), request.body)

    def _serve(self, out: Connection, request: Request, exchange: Exchange) -> None:
        dialect = exchange.dialect
        model, stats = exchange.model, self._book.note(exchange.name, request)
        refused = exchange.refused or _wrong_credentials(model, dialect, request) or self._stored.refusal(exchange)
        fault = self._board.take(exchange.name) if self._board and refused is None else None
        if fault is not None:
            stats.faulted += 1
            refused = refusal(fault, WIRES[dialect].ERRORS, exchange.name, stream=exchange.stream)
        if model is not None and model.prompt_cache and refused is None:
            exchange = exchange.read_from(self._prompt_cache, _given_key(request), self._now())
        if refused is not None or model is None:
            stats.refused += 1
            self._refuse(out, dialect, refused or WIRES[dialect].unknown_model(UNKNOWN))
        elif fault is None and (begun := self._kept(exchange)) is not None:
            stats.answered += 1
            out.whole(200, JSON, {WIRES[dialect].REQUEST_ID_HEADER: self._request_id()}, begun)
        elif fault is None and model.instant and self._at_once(out, request, exchange):
            stats.answered += 1
        else:
            play = Playback(out, exchange, fault, Pace(model, fault, self._rng), self._request_id())
            stats.in_flight += 1
            out.run(play.run()).add_done_callback(partial(self._played, stats, fault is None))

    def _kept(self, exchange: Exchange) -> bytes | None:
        """Keeps the answer. Gives it, if it is written in the background."""
        self._stored.keep(exchange)
        return self._stored.begun(exchange)

    def _look_up(self, out: Connection, request: Request) -> None:
        """Answers a request for a stored response."""
        dialect = WireFormat.RESPONSES
        headers = {WIRES[dialect].REQUEST_ID_HEADER: self._request_id()}
        given = _given_key(request)
        wrong = [m for m in self.models if m.key is not None]
        found = compacted(request) if request.path == COMPACT else self._stored.answer(request)
        if wrong and all(m.key != given for m in wrong):
            self._refuse(out, dialect, WIRES[dialect].wrong_key(given))
        elif found is None:
            self._refuse(out, dialect, WIRES[dialect].unknown_path(request.method, request.path))
        elif isinstance(found, Refused):
            self._refuse(out, dialect, found)
        elif isinstance(found, bytes):
            out.whole(200, JSON, headers, found)
        else:
            out.transport.write(head_of(200, EVENT_STREAM, headers, None))
            for event in found:
                out.transport.write(chunked(event))
            out.transport.write(b"0\r\n\r\n")

    def _at_once(self, out: Connection, request: Request, exchange: Exchange) -> bool:
        """The fast path: no task, no clock, bytes that were made before. False: too large a stream for it."""
        write, header = out.transport.write, WIRES[exchange.dialect].REQUEST_ID_HEADER
        if not exchange.stream:
            head = head_of(200, exchange.content_type, {header: self._request_id()}, len(exchange.body))
            write(head + exchange.body)
            return True
        if exchange.wire_size > AT_ONCE_BYTES or not request.chunks:
            return False
        write(head_of(200, exchange.stream_type, {header: self._request_id(), "cache-control": "no-cache"}, None))
        for chunk in exchange.wire:
            write(chunk)
        return True

    def _played(self, stats: ModelStats, clean: bool, task: asyncio.Task[None]) -> None:
        # In a callback, because a task that is cancelled before its first step runs no line of its own.
        stats.in_flight -= 1
        if task.cancelled():
            stats.cancelled += 1
        elif task.exception() is None:
            stats.answered += clean
        if self._waiters:
            self._wake()

    def _list(self, out: Connection, request: Request, name: str) -> None:
        """Answers with the models of an API, or with the one that is called `name`."""
        dialect = _dialect_of(request)
        wire, given = WIRES[dialect], _given_key(request)
        models = [m for m in self.models if _is_listed(m, dialect)]
        visible = [m for m in models if m.key is None or m.key == given]
        if models and not visible:
            self._refuse(out, dialect, wire.wrong_key(given))
        elif name:
            found = next((m for m in visible if m.name == name), None)
            if found is None:
                self._refuse(out, dialect, wire.unknown_model(name))
            else:
                out.whole(200, JSON, {wire.REQUEST_ID_HEADER: self._request_id()}, as_json(wire.described(found)))
        else:
            out.whole(200, JSON, {wire.REQUEST_ID_HEADER: self._request_id()}, wire.listing(visible))

    def _control(self, out: Connection, request: Request) -> None:
        try:
            out.whole(200, JSON, {}, control(request, self._board, self._book, self._names))
        except ControlError as error:
            out.whole(error.status, JSON, {}, as_json({"error": error.message}))

    def _refuse(self, out: Connection, dialect: WireFormat, refused: Refused) -> None:
        request_id = self._request_id()
        body, content_type = refused.render(WIRES[dialect].payload, request_id)
        out.whole(refused.status, content_type, {WIRES[dialect].REQUEST_ID_HEADER: request_id, **refused.headers}, body)

    def _request_id(self) -> str:
        self._count += 1
        return f"req_{self._count:012x}"

    def _wake(self) -> None:
        for condition, future in self._waiters:
            if not future.done() and condition():
                future.set_result(None)


def _dialect_of(request: Request) -> WireFormat:
    return next((dialect for dialect, wire in WIRES.items() if _is_marked(wire, request)), _UNMARKED)


def _is_listed(model: SimModel, dialect: WireFormat) -> bool:
    """Whether an API lists the model: Anthropic's those that take messages, OpenAI's those that take anything else."""
    if dialect is WireFormat.MESSAGES:
        return Service.MESSAGES in model.offered
    return any(service is not Service.MESSAGES for service in model.offered)


def _is_marked(wire: Wire, request: Request) -> bool:
    return wire.MARK is not None and request.header(wire.MARK) is not None


def _given_key(request: Request) -> str | None:
    bearer = request.header(b"authorization")
    return (
        request.header(b"x-api-key")
        or request.header(b"api-key")
        or (bearer.removeprefix("Bearer ") if bearer else None)
    )


def _wrong_credentials(model: SimModel | None, dialect: WireFormat, request: Request) -> Refused | None:
    wire = WIRES[dialect]
    if (refused := wire.missing_header(_is_marked(wire, request))) is not None:
        return refused
    if model is None or model.key is None:
        return None
    given = _given_key(request)
    return None if given == model.key else wire.wrong_key(given)
