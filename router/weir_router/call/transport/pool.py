"""A `Transport` over our own HTTP/1.1: connects, keeps connections for the next request, closes idle ones. Used by
`auto`.

With aiohttp's client session a request costs twice as much CPU. This transport has only the features that LLM upstreams
need.

The upstream may close an idle connection while our request is on its way (keep-alive has a limit on both sides). If
such a connection breaks at once and before any byte of an answer, the request is sent once more, on a new connection.
This is not a retry in the sense of `call.journey`: the request was most likely never read, and no answer has begun. If
a new or recently used connection breaks in the same way, that is an ordinary failure: otherwise the breaker would never
notice an upstream that resets connections.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from functools import partial
from typing import NamedTuple

from aiohappyeyeballs import start_connection
from yarl import URL

from weir_router import header
from weir_router.call.transport.base import KEEP_ALIVE, OWN_HEADERS, Response, not_connected, unsendable
from weir_router.call.transport.exchange import Exchange
from weir_router.call.transport.http1 import Connection
from weir_router.call.transport.inflate import readable
from weir_router.call.transport.names import Hosts, Names, laptop
from weir_router.call.transport.trust import Authorities, no_further, trusting
from weir_router.clock import LATE
from weir_router.dialects.wire.headers import Kept
from weir_router.dialects.wire.outgoing import Body
from weir_router.errors import AttemptFailed, FailureKind

HAPPY_EYEBALLS = 0.25
"""Seconds until the next address is tried beside a silent one: RFC 8305's recommendation."""

MAX_AGE = 30.0
"""Seconds after which a connection takes no further request, so that even busy routers follow a host name to new
addresses: half the time for which DNS records of clouds' load balancers may be cached.
"""

DEAD_AFTER = 2.0
"""Seconds without a byte on a used connection after which the idle ones to the same origin are dropped, too: a NAT or a
balancer that has forgotten one has forgotten all of its age. This only costs new handshakes.
"""


class Origin(NamedTuple):
    """The server to which a connection leads."""

    secure: bool
    host: str
    port: int
    key: str  # e.g. "https://api.example.com:443"; unlike a tuple, a string keeps its hash


class Target(NamedTuple):
    """A URL, parsed."""

    origin: Origin
    start: bytes  # beginning of the request: its first line, and the header host
    via: bytes  # header of that name: after those of the installations that the request has passed


def parsed(url: str, via: str = "", method: str = "POST") -> Target:
    """A URL, parsed, for requests of this method with this `via` header. Raises `ValueError` if it is not an http or
    https URL.
    """
    it = URL(url)
    host, port = it.raw_host, it.port
    if it.scheme not in ("http", "https") or not host or port is None:
        raise ValueError("not an http or https URL")
    start = f"{method} {it.raw_path_qs} HTTP/1.1\r\nhost: {it.host_port_subcomponent}\r\n".encode()
    marked = f"via: {via}\r\n".encode() if via else b""
    host = host.rstrip(".")
    origin = Origin(it.scheme == "https", host, port, f"{it.scheme}://{host}:{port}")
    return Target(origin, start, marked)


def rendered(target: Target, headers: dict[str, str], length: int) -> bytes:
    """A request's head. Raises `ValueError` for a header that holds a line break."""
    return b"%b%b%bcontent-length: %d\r\n\r\n" % (target.start, _lines(headers), target.via, length)


def _lines(headers: dict[str, str]) -> bytes:
    kept = headers if isinstance(headers, Kept) else None
    if kept is not None and kept.lines is not None:
        return kept.lines
    lines = header.lines({**OWN_HEADERS, **headers})
    if lines is None:
        raise ValueError("a header holds a line break")
    sent = lines.encode(errors="surrogateescape")  # a caller's header that is not UTF-8 is sent unchanged
    if kept is not None:
        kept.lines = sent
    return sent


class Http1Transport:
    """A `Transport` with a pool per origin. The connection used last is used next, so that the others may age."""

    def __init__(self, hosts: Hosts = laptop, via: str = "", authorities: Authorities = no_further) -> None:
        """`hosts` gives the rules for addresses that hold when a connection is made, and `authorities` those that are
        trusted then.
        """
        self.via = via  # header of requests to URLs that are not parsed yet
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._idle: dict[str, deque[Connection]] = {}  # by an origin's key, ascending by time of use
        self._open: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._authorities = authorities
        self._tls: tuple[str, asyncio.Future[ssl.SSLContext]] | None = None  # for these further authorities
        self._names = Names(hosts)
        self._closed = False

    async def post(self, url: str, headers: dict[str, str], body: Body, connect_timeout: float) -> Response:
        return await self.ask("POST", url, headers, body, connect_timeout)

    async def ask(self, method: str, url: str, headers: dict[str, str], body: Body, connect_timeout: float) -> Response:
        """See `Transport`."""
        try:
            target = parsed(url, self.via, method)
        except ValueError as error:
            raise unsendable(error) from None
        return await self.send(target, headers, body, connect_timeout)

    async def send(self, target: Target, headers: dict[str, str], body: Body, connect_timeout: float) -> Response:
        """Like `post`, for a parsed URL."""
        try:
            head = rendered(target, headers, len(body))
        except ValueError as error:
            raise unsendable(error) from None
        connection = self._take(target.origin.key)
        if connection is not None:
            try:
                return _answer(await connection.exchange(head, body))
            except AttemptFailed:
                if not connection.stale:
                    raise
            except asyncio.CancelledError:
                if self._time() - connection.asked_at >= DEAD_AFTER:
                    self._distrust(target.origin.key)
                raise
        connection = await self._connect(target.origin, connect_timeout)
        return _answer(await connection.exchange(head, body))

    async def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        connections = list(self._open)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.lost for connection in connections))

    def _take(self, key: str) -> Connection | None:
        idle = self._idle.get(key)
        oldest = self._time() - KEEP_ALIVE
        while idle:
            connection = idle.pop()
            if connection.idle_since >= oldest and not connection.closed():
                return connection
            connection.abort()
        return None

    def _distrust(self, key: str) -> None:
        for connection in self._idle.pop(key, ()):
            connection.abort()

    async def _connect(self, origin: Origin, timeout: float, *, again: bool = True) -> Connection:
        """A new connection, with a new look-up of its name, within `timeout` seconds altogether.

        Tried `again` if the timeout came late: then the router did not run, and may have missed the answer.
        """
        due = self._loop.time() + timeout
        try:
            async with asyncio.timeout(timeout):
                return await self._opened(origin)
        except TimeoutError:
            if again and self._loop.time() - due > LATE:
                return await self._connect(origin, timeout, again=False)
            raise AttemptFailed(FailureKind.CONNECT, "no connection within the connect timeout") from None
        except OSError as error:  # also of TLS
            raise not_connected(error) from None
        except ValueError as error:  # a host name that DNS cannot carry
            raise unsendable(error) from None

    async def _opened(self, origin: Origin) -> Connection:
        context = await self._context() if origin.secure else None
        addresses = await self._names.addresses(origin.host, origin.port)
        sock = await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS, loop=self._loop)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, connection = await self._loop.create_connection(
            lambda: Connection(partial(self._free, origin.key)),
            sock=sock,
            ssl=context,
            server_hostname=origin.host if origin.secure else None,
        )
        # Not before it is open: uvloop does not report the end of a connection whose opening was cancelled.
        self._open.add(connection)
        if self._sweeper is None and not self._closed:
            self._sweeper = self._loop.call_later(KEEP_ALIVE / 2, self._sweep)
        connection.opened_at = self._loop.time()
        connection.lost.add_done_callback(lambda _: self._open.discard(connection))
        if self._closed:
            connection.abort()
        return connection

    async def _context(self) -> ssl.SSLContext:
        """The TLS context, made for the first connection that needs it, and after a change of the authorities. It
        takes 30 ms or more, so in a thread.
        """
        further = self._authorities()
        if self._tls is None or self._tls[0] != further:
            self._tls = further, self._loop.run_in_executor(None, trusting, further)
        return await asyncio.shield(self._tls[1])  # others wait for it too

    def _free(self, key: str, connection: Connection) -> None:
        now = connection.idle_since = self._time()
        if now - connection.opened_at >= MAX_AGE:
            connection.abort()
            return
        idle = self._idle.get(key)
        if idle is None:
            idle = self._idle[key] = deque()
        idle.append(connection)

    def _sweep(self) -> None:
        """Closes connections that are idle for too long or overdue; calls itself again while any is open."""
        now = self._loop.time()
        for connection in [it for it in self._open if it.overdue(now)]:
            connection.abort()
        oldest = now - KEEP_ALIVE
        for key, idle in list(self._idle.items()):
            while idle and (idle[0].idle_since <= oldest or idle[0].closed()):
                idle.popleft().abort()
            if not idle:
                del self._idle[key]
        self._sweeper = self._loop.call_later(KEEP_ALIVE / 2, self._sweep) if self._open else None


def _answer(exchange: Exchange) -> Response:
    """The answer, decompressed if it is compressed, which nearly none is."""
    return readable(exchange) if "content-encoding" in exchange.headers else exchange
