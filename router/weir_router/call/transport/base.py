"""The interface of every transport, and their common parts."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, TypeVar
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from yarl import URL

from weir_router.__about__ import __version__
from weir_router.dialects.wire.outgoing import Body
from weir_router.errors import AttemptFailed, FailureKind

_TLS_DETAIL = re.compile(r"^\[[A-Z: _]+\] | \(_ssl\.c:\d+\)$")
# OpenSSL's name of the error before its text, and the place in Python's source after it.

MAX_WHOLE_ANSWER = 8 * 1024 * 1024
"""Bytes of the largest answer that is held as a whole, to bound memory: far above any model's text, and enough for an
image in base64.
"""

STEP = 16 * 1024
"""Bytes of an answer that are held before they are counted, and counted at once then."""

MAX_ASSEMBLED = 64 * 1024 * 1024
"""Bytes of the largest stream that is put together for a plain caller: 200,000 tokens in chunks of 300 bytes."""

UNBOUNDED = 1 << 60
"""Bytes that no stream reaches."""

KEEP_ALIVE = 15.0
"""Seconds for which an idle connection is kept: below the 20 s and more of common servers, so that they rarely close it
first.
"""

DRAIN_TIMEOUT = 1.0
"""Seconds, at least, for the rest of a body that is no longer wanted, so that its connection can be used again."""

READ_BUFFER = 64 * 1024
"""Bytes that are read ahead per connection before the upstream is paused."""

OWN_HEADERS = {"user-agent": f"weir/{__version__}", "accept": "*/*", "accept-encoding": "identity"}
"""Headers of every request, unless the request has others."""


T = TypeVar("T", bytes, bytearray)

Grow = Callable[[int], None]
"""A function that takes memory for further bytes of an answer, or raises an error. The first part, of 128 KiB at most,
is not counted."""


def free(size: int) -> None:
    """Counts nothing."""


Receive = Callable[[bytes], bool]
"""A function that takes a part of a body as it came, empty at the end; returns whether it wants more."""


class Response(Protocol):
    """An answer whose headers have come."""

    status: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers, with names in lower case; the first value of a repeated name."""

    async def read(self) -> bytes:
        """The next bytes as they come; empty at the end. Raises `AttemptFailed` when the connection breaks."""

    async def each(self, receive: Receive) -> None:
        """Hands every part to `receive` as soon as it comes, until it wants no more or the body has ended.

        No task is woken up for a part. May be called again for the rest of the body. Raises the errors of `read` and of
        `receive`.
        """

    def hold(self, held: bool) -> None:
        """Stops or restarts the parts that `each` hands out, and with them the upstream."""

    async def read_all(self, grow: Grow = free) -> bytes:
        """The rest of the body, bounded by `MAX_WHOLE_ANSWER`. See `Grow`."""

    def ended(self) -> bool:
        """Whether the whole body has come, so that the connection can be used again."""

    def release(self) -> None:
        """Gives the connection back, or closes it when the body has not ended. Nothing may be read after it."""

    def finish(self) -> None:
        """Calls `release` once the body has ended, after `DRAIN_TIMEOUT` or more. Its rest is thrown away."""


class Transport(Protocol):
    """Sends requests; made inside the running loop."""

    async def post(self, url: str, headers: dict[str, str], body: Body, connect_timeout: float) -> Response:
        """Sends a request and waits for the answer's headers. Header names are in lower case.

        Raises `AttemptFailed` with `CONNECT`, `RESET` or `MALFORMED`. The calling function bounds the time after the
        connection is made. A cancelled call closes its connection.
        """

    async def ask(self, method: str, url: str, headers: dict[str, str], body: Body, connect_timeout: float) -> Response:
        """Like `post`, with any method, for a URL that is not asked again and again: nothing is remembered of it."""

    async def close(self) -> None:
        """Closes every connection."""


class Pulled:
    """The methods `each` and `hold` for a response that only has `read`."""

    _free: asyncio.Event | None = None

    async def read(self) -> bytes:
        """See `Response`."""
        raise NotImplementedError

    async def each(self, receive: Receive) -> None:
        """See `Response`."""
        while True:
            if self._free is not None:
                await self._free.wait()
            part = await self.read()
            if not receive(part) or not part:
                return

    def hold(self, held: bool) -> None:
        """See `Response`."""
        self._free = self._free or asyncio.Event()
        if held:
            self._free.clear()
        else:
            self._free.set()


async def read_whole(response: Response, grow: Grow) -> bytes:
    """`Response.read_all` for every kind of response."""
    first = await response.read()
    part = await response.read() if first else b""
    if not part:
        return _bounded(first)
    whole = bytearray(first)  # a list would take fifty bytes for each part, even of one byte
    while part:
        grow(len(part))
        whole += part
        _bounded(whole)
        part = await response.read()
    return bytes(whole)


def _bounded(whole: T) -> T:
    if len(whole) > MAX_WHOLE_ANSWER:
        raise AttemptFailed(FailureKind.MALFORMED, f"the answer is larger than {MAX_WHOLE_ANSWER} bytes")
    return whole


def failed(kind: FailureKind, what: str, error: BaseException) -> AttemptFailed:
    """`error` as a failure whose message begins with `what`, for example "the connection broke"."""
    return AttemptFailed(kind, f"{what}: {error or type(error).__name__}")


def not_connected(error: BaseException) -> AttemptFailed:
    """The failure for a connection that could not be made, in words that say what to mend. They name no host."""
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error  # of aiohttp's
    if isinstance(cause, socket.gaierror):
        return AttemptFailed(FailureKind.CONNECT, f"cannot look up the host of baseURL: {cause.strerror or cause}")
    if isinstance(cause, ssl.SSLError):
        said = _TLS_DETAIL.sub("", str(cause.strerror or cause))
        return AttemptFailed(FailureKind.CONNECT, f"TLS failed: {said}")
    if isinstance(cause, OSError) and cause.errno:
        return AttemptFailed(FailureKind.CONNECT, f"cannot connect: {os.strerror(cause.errno)}")
    return failed(FailureKind.CONNECT, "cannot connect", error)


def unsendable(error: Exception) -> AttemptFailed:
    """The failure for a URL or header that no request can carry. It does not repeat the error's text, which may quote a
    header, and with it the credential.
    """
    return AttemptFailed(FailureKind.CONNECT, f"the URL or a header cannot be sent ({type(error).__name__})")


def proxies() -> dict[str, str]:
    """The proxies that the environment names, by scheme."""
    named: dict[str, str] = getproxies_environment()
    return {scheme: proxy for scheme, proxy in named.items() if scheme in ("http", "https")}


def proxy_for(target: URL) -> str | None:
    """The proxy that the environment names for `target`."""
    return None if proxy_bypass_environment(target.host or "") else proxies().get(target.scheme)
