"""Connections of the operator's ports: how many there may be, and how long one may take to say who it is.

Routers, scalers, replicas and the API server connect to the config server, and so may strangers. A connection counts
from its first moment, before its TLS handshake:

1. until it has shown a good token it is a stranger's. Of strangers there are at most `STRANGERS_MAX`: one more closes
   the oldest idle one of the address with most, or is closed itself where a request runs on each of those;
2. a stranger's connection closes `STRANGER_SECONDS` after its start, or after its last answer, unless a request runs;
3. with a token it counts for the ServiceAccount's namespace, which may have `NAMESPACE_MAX`.

The API server sends AdmissionReviews without a token; it opens a new connection where an idle one was closed. So do
probes and scrapers of the admin port, which asks for no token.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from asyncio import sslproto
from collections import Counter
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from weir_operator.distribute.shares import Shares

STRANGERS_MAX = 1_000
"""Connections without a good token at once: 45 MiB with TLS. Thousands of routers that come at the same moment, because
another replica has gone, take their turns."""

STRANGER_SECONDS = 15
"""Seconds for a handshake and the head of a request. A healthy router needs a fraction of one."""

NAMESPACE_MAX = 3_000
"""Connections of one namespace, one per router: half as many again as routers whose reports are kept."""

TLS_BUFFER = 4 * 1024
"""Bytes per TLS connection, enough for a poll. asyncio's default of 256 KiB would cost a thousand routers 280 MB; only
a report that is larger takes more than one turn to read."""

BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted."""

ACCEPTED_AT_ONCE = 16
"""Connections that are accepted per turn of the event loop. A flood takes a small part of each turn, and a stranger's
connection has some sixty turns until `STRANGERS_MAX` others have come: a router shows its token in five."""

LINGER_SECONDS = 1.0
"""Seconds in which the rest of a refused body is read and thrown away, so that the caller sees why."""

IDLE_SECONDS = 75.0
"""Seconds that a connection with a good token may be idle between two requests: routers poll again within 10."""


class TooManyConnections(Exception):
    """The namespace has its share of connections; the message says so."""


class Connection:
    """One connection, as the port counts it."""

    __slots__ = ("_limits", "_open", "_requests", "_timer", "namespace", "transport")

    def __init__(self, limits: Limits, transport: asyncio.Transport) -> None:
        self._limits = limits
        self.transport = transport
        self.namespace: str | None = None  # None: a stranger's
        self._open = True
        self._requests = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    @property
    def idle(self) -> bool:
        """Whether no request of it runs."""
        return self._requests == 0

    def belongs_to(self, namespace: str) -> None:
        """Counts it for the namespace whose token it has shown. Raises `TooManyConnections`."""
        if namespace != self.namespace:
            self._limits.identified(self, namespace)

    def begin(self) -> None:
        """A request of it runs."""
        self._requests += 1
        self._wait_no_more()

    def end(self) -> None:
        """A request of it has been answered."""
        self._requests -= 1
        if self._open and self.idle and self.namespace is None:
            self._wait()

    def closed(self) -> None:
        """It is no more."""
        self._open = False
        self._wait_no_more()
        self._limits.forget(self)

    def _wait(self) -> None:
        self._wait_no_more()
        self._timer = asyncio.get_running_loop().call_later(STRANGER_SECONDS, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


CONNECTION = web.RequestKey("connection", Connection)
"""The connection of a request."""


class Limits:
    """All connections of one port."""

    def __init__(self) -> None:
        self._strangers = Shares[Connection, None]()
        self._by_peer: dict[object, Connection] = {}
        self._of_namespace = Counter[str]()

    def opened(self, transport: asyncio.Transport) -> Connection:
        """Counts a new connection, and closes another if there are too many."""
        connection = Connection(self, transport)
        peer = transport.get_extra_info("peername")
        self._by_peer[peer] = connection
        self._strangers.put(peer[0] if peer else "", connection, None)
        if len(self._strangers) > STRANGERS_MAX:
            given_up = next((it for it, _ in self._strangers.most() if it.idle), connection)
            self._strangers.pop(given_up)
            given_up.transport.abort()
        return connection

    def identified(self, connection: Connection, namespace: str) -> None:
        """Counts a connection for a namespace. Raises `TooManyConnections`."""
        if self._of_namespace[namespace] >= NAMESPACE_MAX:
            raise TooManyConnections(
                f"namespace {namespace} has {NAMESPACE_MAX} connections, the most that it may have"
            )
        self._drop(connection)
        connection.namespace = namespace
        self._of_namespace[namespace] += 1

    def forget(self, connection: Connection) -> None:
        """Counts a connection no longer."""
        self._drop(connection)
        peer = connection.transport.get_extra_info("peername")
        if self._by_peer.get(peer) is connection:
            del self._by_peer[peer]

    def _drop(self, connection: Connection) -> None:
        self._strangers.pop(connection)
        if connection.namespace is not None:
            self._of_namespace[connection.namespace] -= 1
            if not self._of_namespace[connection.namespace]:
                del self._of_namespace[connection.namespace]
            connection.namespace = None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Knows while a request runs, and of which connection it is."""
        transport = request.transport
        connection = self._by_peer.get(transport.get_extra_info("peername")) if transport is not None else None
        if connection is None:  # closed meanwhile
            raise web.HTTPServiceUnavailable
        request[CONNECTION] = connection
        connection.begin()
        try:
            return await handler(request)
        finally:
            connection.end()


async def listen(app: web.Application, host: str, port: int, tls: ssl.SSLContext | None) -> web.AppRunner:
    """Serves `app` under these limits until `cleanup` of the returned runner. Raises `OSError`."""
    limits = Limits()
    app.middlewares.append(limits.middleware)
    # handler_cancellation: the poll of a router that went away ends at once.
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGER_SECONDS,
    )
    await runner.setup()
    try:
        await _Site(runner, host, port, limits, tls).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


class _Site(web.BaseSite):
    """The listening socket. That of aiohttp shows a connection only after its handshake."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, limits: Limits, tls: ssl.SSLContext | None) -> None:
        super().__init__(runner)
        self._host, self._port, self._limits, self._tls = host, port, limits, tls

    @property
    def name(self) -> str:
        """Its URL."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listens. Raises `OSError`."""
        await super().start()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._protocol, self._host, self._port, backlog=ACCEPTED_AT_ONCE)
        for listening in server.sockets:  # asyncio has one number for both
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(BACKLOG)
        self._server = server

    def _protocol(self) -> asyncio.BaseProtocol:
        server: Callable[[], asyncio.Protocol] | None = self._runner.server
        assert server is not None
        return _Tls(self._limits, server(), self._tls) if self._tls else _Plain(self._limits, server())


class _Tls(sslproto.SSLProtocol):
    """A TLS connection, as `create_server` would make it, which is counted from its first moment."""

    max_size = TLS_BUFFER

    def __init__(self, limits: Limits, http: asyncio.Protocol, tls: ssl.SSLContext) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            http,
            tls,
            None,  # type: ignore[arg-type]
            server_side=True,
            ssl_handshake_timeout=STRANGER_SECONDS,
        )
        self._limits = limits
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._connection = self._limits.opened(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._connection is not None:
            self._connection.closed()
        super().connection_lost(exc)


class _Plain(asyncio.Protocol):
    """A connection without TLS: of the admin port, and of tests."""

    def __init__(self, limits: Limits, http: asyncio.Protocol) -> None:
        self._limits = limits
        self._http = http
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._connection = self._limits.opened(transport)
        self._http.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connection.closed()
        self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._http.data_received(data)

    def eof_received(self) -> bool | None:
        return self._http.eof_received()

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()
