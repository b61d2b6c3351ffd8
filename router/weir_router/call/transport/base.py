"""The interface of every transport, and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from yarl import URL

from weir_router.__about__ import __version__
from weir_router.errors import AttemptFailed, FailureKind

MAX_WHOLE_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that is held as a whole: far above any model's output, images as base64 included; bounds
memory.
"""

KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept: below the 20 s and more of common servers, so that they rarely close it under
us.
"""

DRAIN_TIMEOUT = 1.0
"""Seconds at least for the end of a body of which nothing more is wanted, so that the connection can be used again."""

READ_BUFFER = 64 * 1024
"""Bytes read ahead per connection before the upstream is paused."""

OWN_HEADERS = {"user-agent": f"weir/{__version__}", "accept": "*/*", "accept-encoding": "identity"}
"""Sent with every request, unless the request says otherwise."""


Receive = Callable[[bytes], bool]
"""Takes a part of a body as it came, empty at the end; says whether it wants more."""


class Response(Protocol):
    """An answer whose headers have come."""

    status: int

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; the first value where a name comes several times."""

    async def read(self) -> bytes:
        """The next bytes as they come; empty at the end. Raises `AttemptFailed` when the connection breaks."""

    async def each(self, receive: Receive) -> None:
        """Hands every part to `receive` in the moment in which it comes, until it wants no more or the body has ended.

        Nobody is woken up for a part. May be called again for what is left. Raises as `read` does, and whatever
        `receive` raises.
        """

    def hold(self, held: bool) -> None:
        """Stops and restarts what `each` hands out, and with it the upstream."""

    async def read_all(self) -> bytes:
        """The rest of the body, bounded by `MAX_WHOLE_ANSWER`."""

    def ended(self) -> bool:
        """Whether the whole body has come, so that the connection can be used again."""

    def release(self) -> None:
        """Gives the connection back, or closes it when the body has not ended. Nothing may be read after it."""

    def finish(self) -> None:
        """`release`, once the body has ended, of which nothing more is wanted; it gets `DRAIN_TIMEOUT` for that."""


class Transport(Protocol):
    """Sends requests; made inside the running loop."""

    async def post(self, url: str, headers: dict[str, str], body: bytes, connect_timeout: float) -> Response:
        """Sends one and waits for the answer's headers, which have names in lower case.

        Raises `AttemptFailed` with `CONNECT`, `RESET` or `MALFORMED`; times after the connection are the caller's to
        keep. A cancelled call closes its connection.
        """

    async def close(self) -> None:
        """Closes every connection."""


class Pulled:
    """`each` and `hold` for a response that can only be read."""

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


async def read_whole(response: Response) -> bytes:
    """`Response.read_all` for every kind of response."""
    parts: list[bytes] = []
    size = 0
    while part := await response.read():
        size += len(part)
        if size > MAX_WHOLE_ANSWER:
            raise AttemptFailed(FailureKind.MALFORMED, f"the answer is larger than {MAX_WHOLE_ANSWER} bytes")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def failed(kind: FailureKind, what: str, error: BaseException) -> AttemptFailed:
    """`error` as a failure that says `what` went wrong."""
    return AttemptFailed(kind, f"{what}: {error or type(error).__name__}")


def unsendable(error: Exception) -> AttemptFailed:
    """For a URL or header that no request can carry. The error's text may quote a header, and with it the
    credential.
    """
    return AttemptFailed(FailureKind.CONNECT, f"the URL or a header cannot be sent ({type(error).__name__})")


def proxies() -> dict[str, str]:
    """Those that the environment names, by scheme."""
    named: dict[str, str] = getproxies_environment()
    return {scheme: proxy for scheme, proxy in named.items() if scheme in ("http", "https")}


def proxy_for(target: URL) -> str | None:
    """The proxy that the environment names for `target`."""
    return None if proxy_bypass_environment(target.host or "") else proxies().get(target.scheme)
