"""Listens for callers, enforces the timeouts of their connections, and drains them at the end. Used by `app`.

It checks every connection once per second, without a timer per request: at two thousand connections this costs less
than the timers of a single one would at full load.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from weir_router.admit.memory import PER_BYTE, Memory
from weir_router.clock import Clock
from weir_router.serve.http.body import Largest
from weir_router.serve.http.connection import Connection
from weir_router.serve.http.keeper import Kept
from weir_router.serve.http.message import Admits, Common, Handler, Refusal
from weir_router.serve.http.places import Places
from weir_router.serve.http.tls import Certificate, Handshake

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted: a burst of callers is not refused."""

LOOK_EVERY = 1.0
"""Seconds between two checks of the connections' timeouts, which are minutes."""


class Server:
    """One listening address. `handler` answers requests; `refusal` makes the answer to an invalid one from its status
    and a sentence.

    Connections take their places among `places`, which several servers may share. `refused` counts what is refused
    before `handler` has seen it. `admits` says whether a body is read before the handler has seen the request: only if
    it is needed and its caller is known. Bodies are counted in `memory`; one of more than `max_body` bytes is not read.
    """

    __slots__ = (
        "_all_closed",
        "_certificate",
        "_connections",
        "_look",
        "_places",
        "_server",
        "admits",
        "common",
        "draining",
        "handle",
        "hosts",
        "largest",
        "later",
        "lingering",
        "memory",
        "refusal",
        "refused",
        "start",
        "time",
        "turn",
    )  # fmt: skip

    def __init__(
        self,
        handler: Handler,
        refusal: Refusal,
        clock: Clock,
        *,
        admits: Admits,
        memory: Memory,
        max_body: int,
        places: Places,
        refused: Callable[[str], None],
    ) -> None:
        self.handle = handler
        self.refusal = refusal
        self.admits = admits
        self.memory = memory
        self.largest = Largest(0)
        self.read_up_to(max_body)
        self.draining = False
        self.lingering = 0
        self.common = Common(clock)
        self.refused = refused
        self._places = places
        self._connections: set[Kept] = set()
        self._all_closed = asyncio.Event()

    def read_up_to(self, size: int) -> None:
        """Reads bodies of at most `size` bytes from now on."""
        self.largest.size = min(size, self.memory.largest // PER_BYTE)  # a larger one would never find room

    async def listen(
        self, host: str, port: int, listener: socket.socket | None = None, certificate: Certificate | None = None
    ) -> str:
        """Opens the port (0: any free one), or serves at the open `listener`, which is closed with the server. With a
        `certificate` it speaks TLS. Returns the URL. Raises `OSError` if the address is in use.
        """
        loop = asyncio.get_running_loop()
        self.time = loop.time
        self.later = loop.call_later
        # Not `loop.create_task`: uvloop makes up a name for every task, which costs more than the task.
        self.start = partial(asyncio.Task, loop=loop, name="caller")
        self.turn = loop.create_future
        where: dict[str, Any] = {"sock": listener} if listener else {"host": host, "port": port}
        self._certificate = certificate
        self._server = await loop.create_server(self._protocol, backlog=BACKLOG, **where)
        self._look = loop.call_later(LOOK_EVERY, self._expire)
        self.hosts = [it.getsockname()[0] for it in self._server.sockets]  # addresses on which it listens
        bound = self._server.sockets[0].getsockname()
        return f"{'https' if certificate else 'http'}://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"

    def _protocol(self) -> asyncio.Protocol:
        if self._certificate is None:
            return Connection(self)
        return Handshake(self, self._certificate, lambda: Connection(self))

    async def close(self, grace: float) -> None:
        """Accepts no further request, and gives the requests under way `grace` seconds to end."""
        self.draining = True
        self._server.close()
        for connection in [it for it in self._connections if not it.busy]:
            connection.close()
        await self._closed(grace)
        for connection in list(self._connections):
            connection.abort()
        await self._closed(None)
        self._look.cancel()

    async def _closed(self, seconds: float | None) -> None:
        if self._connections:
            self._all_closed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_closed.wait()

    def opened(self, connection: Kept) -> None:
        """A connection can be written to."""
        if self.draining:
            connection.close()  # accepted just before the port closed, and idle
        elif self._places.enter(connection):
            self._connections.add(connection)
        else:
            self.refused("connections")
            connection.abort()

    def closed(self, connection: Kept) -> None:
        """A connection has ended."""
        self._places.leave(connection)
        self._connections.discard(connection)
        if not self._connections:
            self._all_closed.set()

    def _expire(self) -> None:
        if self._certificate is not None:
            self._certificate.renew()
        now = self.time()
        for connection in [it for it in self._connections if it.due < now]:
            if connection.slow:
                self.refused("slow")
            connection.overdue()
        self._look = asyncio.get_running_loop().call_later(LOOK_EVERY, self._expire)
