"""Bytes to an upstream and back over aiohttp's client. Used by `call.attempt`; knows HTTP, and nothing of LLMs.

Redirects are not followed (a credential must not wander to another host), cookies are not kept, proxies of the
environment are honoured.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Mapping
from typing import Protocol
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
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

READ_BUFFER = 64 * 1024
"""Bytes read ahead per connection before the upstream is paused."""

IN_PARTS = 1024 * 1024
"""Bytes of a request above which it is sent piece by piece: aiohttp warns of larger ones, which hold up the loop."""


class Response(Protocol):
    """An answer whose headers have come."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """Case-insensitive."""

    async def read(self) -> bytes:
        """The next bytes as they come; empty at the end. Raises `AttemptFailed` when the connection breaks."""

    async def read_all(self) -> bytes:
        """The rest of the body, bounded by `MAX_WHOLE_ANSWER`."""

    def ended(self) -> bool:
        """Whether the whole body has come, so that the connection can be used again."""

    def release(self) -> None:
        """Gives the connection back, or closes it when the body has not ended."""


class Transport(Protocol):
    """Sends one request."""

    async def post(self, url: str, headers: dict[str, str], body: bytes, connect_timeout: float) -> Response:
        """Raises `AttemptFailed` with `CONNECT` or `RESET`; times after the connection are the caller's to keep."""


def _failed(kind: FailureKind, what: str, error: BaseException) -> AttemptFailed:
    return AttemptFailed(kind, f"{what}: {error or type(error).__name__}")


def _translated(error: Exception) -> AttemptFailed:
    """The one table from the client library's exceptions to ours."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return _failed(FailureKind.CONNECT, "TLS failed", error)
        case aiohttp.ConnectionTimeoutError():
            return AttemptFailed(FailureKind.CONNECT, "no connection within the connect timeout")
        case aiohttp.ClientConnectorError():
            return _failed(FailureKind.CONNECT, "cannot connect", error)
        case aiohttp.NonHttpUrlClientError() | ValueError():
            # Its text may quote a header, and with it the credential.
            return AttemptFailed(FailureKind.CONNECT, f"the URL or a header cannot be sent ({type(error).__name__})")
        case aiohttp.ClientResponseError():
            return AttemptFailed(FailureKind.MALFORMED, f"not an HTTP answer: {error.message}")
        case _:
            return _failed(FailureKind.RESET, "the connection broke", error)


_CLIENT_ERRORS = (aiohttp.ClientError, OSError)


class _AiohttpResponse:
    """`Response` over aiohttp's."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except _CLIENT_ERRORS as error:
            raise _translated(error) from error

    async def read_all(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := await self.read():
            size += len(part)
            if size > MAX_WHOLE_ANSWER:
                raise AttemptFailed(FailureKind.MALFORMED, f"the answer is larger than {MAX_WHOLE_ANSWER} bytes")
            parts.append(part)
        return b"".join(parts)

    def ended(self) -> bool:
        return self._response.content.at_eof()

    def release(self) -> None:
        self._response.release()


class AiohttpTransport:
    """`Transport` over one `aiohttp.ClientSession`; made inside the running loop, closed with `close`."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": f"weir/{__version__}", "accept-encoding": "identity"},
            read_bufsize=READ_BUFFER,
        )
        self._routes: dict[str, tuple[URL, str | None]] = {}  # as many as the config has backends' paths

    async def post(self, url: str, headers: dict[str, str], body: bytes, connect_timeout: float) -> Response:
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout)  # DNS, TCP and TLS together
        try:
            target, proxy = self._routes.get(url) or self._route(url)
            data = body if len(body) < IN_PARTS else io.BytesIO(body)
            response = await self._session.post(
                target, data=data, headers=headers, allow_redirects=False, timeout=timeout, proxy=proxy
            )
        except (*_CLIENT_ERRORS, ValueError) as error:
            raise _translated(error) from None
        return _AiohttpResponse(response)

    def _route(self, url: str) -> tuple[URL, str | None]:
        """Parsed once per URL. Not by aiohttp's `trust_env`: that reads ~/.netrc in a thread for every request, and
        would send what stands there to upstreams."""
        target = URL(url)
        host = target.host or ""
        proxy = None if proxy_bypass_environment(host) else getproxies_environment().get(target.scheme)
        route = self._routes[url] = target, proxy
        return route

    async def close(self) -> None:
        """Closes every connection."""
        await self._session.close()
