"""TLS for callers: a certificate that may change at any time, and the handshake of a connection. Used by `server`.

The handshake is a step of its own, and not asyncio's, since its time and its place count: a caller that never ends its
handshake holds a file as any other connection does.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

from weir_router.serve.http.keeper import Keeper
from weir_router.serve.http.limits import NEVER
from weir_router.serve.http.places import peer_of

HANDSHAKE_TIMEOUT = 10.0
"""Seconds for a whole handshake, which takes two round trips."""

logger = logging.getLogger("weir.http")


class Certificate:
    """A server's certificate and key in PEM files. The kubelet and cert-manager replace both while the router runs."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Raises `ValueError` if the files hold no certificate with its key."""
        self._files = cert, key
        self._seen = self._state()
        try:
            self.context = self._loaded()
        except OSError as error:  # an SSLError is one; its message quotes nothing of the key
            raise ValueError(f"{cert} and {key} are no certificate with its key: {error.strerror or error}") from None

    def renew(self) -> None:
        """Takes over changed files for new connections. Those that cannot be used, or only one of which is new so far,
        change nothing.
        """
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self.context = self._loaded()
        except OSError as error:
            logger.warning("%s cannot be used yet, the last certificate goes on: %s", self._files[0], error)

    def _state(self) -> tuple[object, ...]:
        """The identity of the files' contents; it changes with each replacement."""
        try:
            found = [file.stat() for file in self._files]
        except OSError as error:
            return (error.errno,)
        return tuple((it.st_ino, it.st_mtime_ns, it.st_size) for it in found)

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(*self._files)
        return context


class Handshake(asyncio.Protocol):
    """A connection whose handshake is under way. Afterwards the protocol that `then` makes takes it over."""

    busy = True  # it makes no room for another
    slow = False

    def __init__(self, keeper: Keeper, certificate: Certificate, then: Callable[[], asyncio.Protocol]) -> None:
        self.due = NEVER  # asyncio ends it
        self.peer = ""
        self._keeper = keeper
        self._certificate = certificate
        self._then = then
        self._early = b""  # bytes that came before the next protocol took over: asyncio's, then that of `then`
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.peer = peer_of(transport)
        self._keeper.opened(self)
        if not self._gone:
            self._task = self._keeper.start(self._shake())

    def data_received(self, data: bytes) -> None:
        self._early += data

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True

    def close(self) -> None:
        """Closes at once, like `abort`."""
        self.abort()

    def overdue(self) -> None:
        """Closes at once, like `abort`."""
        self.abort()

    def abort(self) -> None:
        """Closes at once."""
        self._gone = True
        self._transport.abort()

    async def _shake(self) -> None:
        loop, context = asyncio.get_running_loop(), self._certificate.context
        loop.call_soon(self._hand_over)  # when `start_tls` has put its protocol in place, and before that is started
        try:
            secure = await loop.start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_TIMEOUT
            )
        except (OSError, asyncio.CancelledError):  # an SSLError is an OSError, as is a timeout
            self._transport.abort()
            self._keeper.refused("handshake")
            return
        finally:
            self._keeper.closed(self)
        if secure is None or self._gone:
            return
        connection = self._then()
        secure.set_protocol(connection)
        connection.connection_made(secure)
        if self._early and not secure.is_closing():
            connection.data_received(self._early)

    def _hand_over(self) -> None:
        """Hands the beginning of the handshake to asyncio's protocol: uvloop has read it if it came at once."""
        early, self._early = memoryview(self._early), b""
        found = self._transport.get_protocol()
        if self._gone or found is self:
            return
        protocol = cast(asyncio.BufferedProtocol, found)  # uvloop's is none by its class
        while early:
            room = memoryview(protocol.get_buffer(len(early)))[: len(early)]
            room[:] = early[: len(room)]
            protocol.buffer_updated(len(room))
            early = early[len(room) :]
