"""A `Transport` over aiohttp's client, for proxies and URLs that `pool` does not take. Used by `auto`.

Where a proxy connects, only an address that the URL spells out can be checked: the proxy looks up names.
"""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from contextlib import suppress

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from weir_router.call.transport.base import (
    DRAIN_TIMEOUT,
    KEEP_ALIVE,
    OWN_HEADERS,
    READ_BUFFER,
    Grow,
    Pulled,
    Response,
    failed,
    free,
    not_connected,
    proxies,
    proxy_for,
    read_whole,
    unsendable,
)
from weir_router.call.transport.inflate import readable
from weir_router.call.transport.names import Hosts, Names, anywhere, laptop
from weir_router.call.transport.trust import Authorities, no_further, trusting
from weir_router.contract.addresses import read
from weir_router.dialects.wire.outgoing import Body
from weir_router.errors import AttemptFailed, FailureKind

IN_PARTS = 1024 * 1024
"""Bytes of a request above which it is sent in parts: aiohttp warns about larger ones, which block the loop."""


def _translated(error: Exception) -> AttemptFailed:
    """The client library's exception as one of ours."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLError():
            return not_connected(error)
        case aiohttp.ConnectionTimeoutError():
            return AttemptFailed(FailureKind.CONNECT, "no connection within the connect timeout")
        case aiohttp.ClientConnectorError():
            return not_connected(error)
        case aiohttp.NonHttpUrlClientError() | ValueError():
            return unsendable(error)
        case aiohttp.ClientResponseError():
            return AttemptFailed(FailureKind.MALFORMED, f"not an HTTP answer: {error.message}")
        case _:
            return failed(FailureKind.RESET, "the connection broke", error)


_CLIENT_ERRORS = (aiohttp.ClientError, OSError)

_drains: set[asyncio.Task[None]] = set()  # asyncio keeps only weak references to tasks


class _AiohttpResponse(Pulled):
    """A `Response` over aiohttp's."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: dict[str, str] = {}
        for name, value in response.headers.items():
            self.headers.setdefault(name.lower(), value)

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except _CLIENT_ERRORS as error:
            raise _translated(error) from error

    async def read_all(self, grow: Grow = free) -> bytes:
        return await read_whole(self, grow)

    def ended(self) -> bool:
        return self._response.content.at_eof()

    def release(self) -> None:
        self._response.release()

    def finish(self) -> None:
        if self.ended():
            self.release()
            return
        task = asyncio.get_running_loop().create_task(self._drain())
        _drains.add(task)
        task.add_done_callback(_drains.discard)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                while await self.read():
                    pass
        except (AttemptFailed, TimeoutError):
            pass  # the connection is closed instead: nothing is lost
        finally:
            self.release()


class _Resolver(AbstractResolver):
    """Looks up names for aiohttp. The hosts of proxies are the environment's, and may be laptop."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._of_proxies = Names(anywhere)
        self._proxies = {URL(proxy).host for proxy in proxies().values()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        names = self._of_proxies if host in self._proxies else self._names
        return [
            ResolveResult(
                hostname=host, host=address[0], port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, address in await names.addresses(host, port)
        ]

    async def close(self) -> None:
        """Closes nothing: look-ups are the event loop's."""


class AiohttpTransport:
    """A `Transport` over one `aiohttp.ClientSession`."""

    def __init__(self, hosts: Hosts = laptop, authorities: Authorities = no_further) -> None:
        self._names = Names(hosts)
        self._authorities = authorities
        self._tls: tuple[str, ssl.SSLContext] | None = None  # for these further authorities
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEP_ALIVE, resolver=_Resolver(self._names), use_dns_cache=False
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=OWN_HEADERS,
            read_bufsize=READ_BUFFER,
            auto_decompress=False,
        )
        self._via = ""
        self._routes: dict[str, tuple[URL, str | None]] = {}  # one for each path of a backend in the config

    def mark(self, via: str) -> None:
        """See `AutoTransport.mark`."""
        self._via = via

    async def post(self, url: str, headers: dict[str, str], body: Body, connect_timeout: float) -> Response:
        with suppress(ValueError):  # then `ask` raises
            self._routes[url] = self._routes.get(url) or _route(url)
        return await self.ask("POST", url, headers, body, connect_timeout)

    async def ask(self, method: str, url: str, headers: dict[str, str], body: Body, connect_timeout: float) -> Response:
        """See `Transport`."""
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout)  # DNS, TCP and TLS together
        try:
            target, proxy = self._routes.get(url) or _route(url)
            if target.host and (address := read(target.host)) is not None:  # aiohttp looks up names only
                await self._names.addresses(str(address), target.port or 0)
            whole = body if isinstance(body, bytes) else body.whole()
            data = whole if len(whole) < IN_PARTS else io.BytesIO(whole)
            response = await self._session.request(
                method,
                target,
                data=data,
                headers=self._marked(headers),
                allow_redirects=False,
                timeout=timeout,
                proxy=proxy,
                ssl=await self._context(),
            )
        except (*_CLIENT_ERRORS, ValueError) as error:
            raise _translated(error) from None
        return readable(_AiohttpResponse(response))

    def _marked(self, headers: dict[str, str]) -> dict[str, str]:
        """The headers with `via`, after the installations that the request has passed."""
        via = ", ".join(it for it in (headers.get("via"), self._via) if it)
        return {**headers, "via": via} if via else headers

    async def _context(self) -> ssl.SSLContext | bool:
        """The TLS context; True: aiohttp's own, which trusts the system's authorities."""
        further = self._authorities()
        if not further.strip():
            return True
        if self._tls is None or self._tls[0] != further:
            self._tls = further, await asyncio.to_thread(trusting, further)
        return self._tls[1]

    async def close(self) -> None:
        await self._session.close()


def _route(url: str) -> tuple[URL, str | None]:
    """The parsed URL and its proxy. aiohttp's `trust_env` is not used: it reads ~/.netrc in a thread for every request,
    and would send its passwords to upstreams. Raises `ValueError`.
    """
    target = URL(url)
    return target, proxy_for(target)
