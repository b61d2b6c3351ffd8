"""The messages between a connection and its handlers: a whole `Request` in, an `Answer` or a `Stream` out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any, Protocol
from urllib.parse import parse_qsl

from weir_router import header
from weir_router.admit.memory import STRANGERS, Holder
from weir_router.clock import Clock


class Common:
    """Header lines of every answer, made once per second. They do not name Python or a library."""

    __slots__ = ("_clock", "_lines", "_second")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines = b""
        self._second = 0

    def lines(self) -> bytes:
        """The present lines."""
        now = int(self._clock.wall())
        if now != self._second:
            self._second = now
            self._lines = f"server: weir\r\ndate: {formatdate(now, usegmt=True)}\r\n".encode()
        return self._lines


class Answer:
    """A whole answer."""

    __slots__ = ("body", "fields", "status")

    def __init__(self, status: int, fields: bytes, body: bytes) -> None:
        self.status = status
        self.fields = fields  # header lines, see `fields`; the server adds those of HTTP itself
        self.body = body


class Stream(Protocol):
    """An answer that is written as it comes."""

    def write(self, data: bytes) -> None:
        """Sends bytes at once, as one chunk. Does nothing if the caller is gone: then its task is cancelled."""

    def end(self, last: bytes = b"") -> None:
        """Completes the answer with its `last` part. Without it the connection is closed in the middle, which every
        client notices. Does nothing the second time.
        """

    def closes(self, closing: Callable[[bytes], bytes]) -> None:
        """Has `end` send what `closing` makes of the last part."""

    def waiting(self) -> int:
        """Bytes that the caller has not taken yet."""

    def on_pressure(self, listener: Callable[[bool], None]) -> None:
        """Calls `listener(True)` when the caller reads too slowly, and `listener(False)` when it has caught up."""


TOO_LARGE, NO_MEMORY, MALFORMED = 413, 503, 400
"""Statuses of a body that is not read: it is too large, there is no memory for it now, or it is not valid HTTP."""

REASONS = ("connections", "handshake", "slow", "malformed", "web_page")
"""Reasons why a caller is refused before a handler has seen its request: no place for its connection, no TLS handshake,
bytes that do not come in time, bytes that are not valid HTTP, and a web page that may not call.
"""

NO_METHOD, NO_CODING, NO_VERSION = 405, 501, 505
"""Further statuses of a head that is refused: HTTP that this server does not speak."""

Refused = tuple[int, str]
"""The reason why a head or body is refused: one of the statuses above, and a sentence for the caller."""


class NoBody(Exception):
    """A request's body is not read; see `Refused`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Opener(Protocol):
    """The connection of a request."""

    peer: str  # the caller's address

    def open(self, request: Request, status: int, fields: bytes, first: bytes) -> Stream:
        """See `Request.stream`."""

    def read(self, request: Request) -> asyncio.Future[None]:
        """Reads the body of a request that was handed over without it. Done when `body` or `refused` is set."""


class Request(Holder):
    """One request, mostly whole. Header names are in lower case; the first value of a repeated name counts."""

    __slots__ = (
        "_opener",
        "body",
        "deployment",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
        "refused",
        "sent",
        "version",
    )

    def __init__(
        self,
        method: str,
        path: str,
        version: str,
        headers: dict[str, str],
        body: bytes | None,
        keep_alive: bool,
        opener: Opener,
        query: str = "",
    ) -> None:
        self.method = method
        self.path = path  # still percent-encoded, without the query; the one that the caller means
        self.sent = path  # the same, as the caller sent it
        self.deployment = ""  # the model that the path names, as Azure's do
        self.query = query  # still percent-encoded, without the question mark
        self.version = version  # "1.0" or "1.1"
        self.headers = headers
        self.body = body  # None: not read; see `read`
        self.refused: Refused | None = None  # the reason why the body is not read
        self.held = 0  # bytes counted in the server's memory until the request is answered
        self.namespace = STRANGERS  # for which they are counted: the caller's, once it is known
        self.keep_alive = keep_alive  # the caller may send further requests
        self._opener = opener

    async def read(self) -> bytes:
        """The body, which is read from the caller now if needed. Raises `NoBody`."""
        if self.body is None and self.refused is None:
            await self._opener.read(self)
        if self.refused is not None:
            raise NoBody(*self.refused)
        assert self.body is not None
        return self.body

    @property
    def target(self) -> str:
        """The path and the query, as the caller sent them."""
        return f"{self.sent}?{self.query}" if self.query else self.sent

    def parameters(self) -> dict[str, str]:
        """The parameters of the query. The last value of a repeated name counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def peer(self) -> str:
        """The address of the caller, such as `10.0.0.7`; empty: unknown."""
        return self._opener.peer

    def share(self, fields: bytes) -> None:
        """Adds header lines to the answer if that is a stream."""
        self._opener = _Sharing(self._opener, fields)

    def stream(self, status: int, fields: bytes, first: bytes = b"") -> Stream:
        """Begins an answer that is written as it comes, with its `first` part; the handler then returns None."""
        return self._opener.open(self, status, fields, first)


class _Sharing:
    """An `Opener` that adds header lines."""

    __slots__ = ("_fields", "_opener", "peer")

    def __init__(self, opener: Opener, fields: bytes) -> None:
        self.peer = opener.peer
        self._opener = opener
        self._fields = fields

    def open(self, request: Request, status: int, fields: bytes, first: bytes) -> Stream:
        """See `Opener`."""
        return self._opener.open(request, status, fields + self._fields, first)

    def read(self, request: Request) -> asyncio.Future[None]:
        """See `Opener`."""
        return self._opener.read(request)


Handler = Callable[[Request], Coroutine[Any, Any, Answer | None]]
"""A function that answers a request; None: it has written a stream. Cancelled when the caller goes away."""

Refusal = Callable[[str, dict[str, str], int, str], Answer]
"""A function that makes the answer to an invalid request: from its path and headers as far as they have come, the
status and a sentence for the caller."""

Admits = Callable[[str, str, dict[str, str]], str | None]
"""A function of method, path and headers: the caller's namespace if a body is read before the handler has seen the
request; None: the handler asks for it."""


def fields(pairs: dict[str, str]) -> bytes:
    """Header lines. A line break in a value becomes a space."""
    lines = header.lines(pairs)
    if lines is None:
        return fields({name: " ".join(value.replace("\0", " ").splitlines()) for name, value in pairs.items()})
    return lines.encode("ascii", "replace")
