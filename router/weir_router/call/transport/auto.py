"""The transport of the router: our own HTTP/1.1 where it can serve, otherwise aiohttp's client. Used by `app`."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from yarl import URL

from weir_router.call.transport.base import Response, Transport, proxies, proxy_for
from weir_router.call.transport.names import Hosts, laptop
from weir_router.call.transport.pool import Http1Transport, Target, parsed
from weir_router.call.transport.trust import Authorities, no_further
from weir_router.dialects.wire.outgoing import Body

if TYPE_CHECKING:
    from weir_router.call.transport.aiohttp_client import AiohttpTransport

MOST_URLS = 4_096
"""URLs that are remembered. A config has fewer; those of earlier configs need not stay."""


class AutoTransport:
    """A `Transport` that picks another one by URL, once per URL.

    aiohttp's client takes 9 MB and an eighth of a second to import. So it is only imported when needed: at the start if
    the environment names a proxy, otherwise for the first request to a URL that holds a credential.
    """

    def __init__(self, hosts: Hosts = laptop, via: str = "", authorities: Authorities = no_further) -> None:
        """`hosts` gives the rules for addresses that hold when a connection is made, and `authorities` those that are
        trusted then. `via` is the header of that name that each request gets.
        """
        self._hosts = hosts
        self._via = via
        self._authorities = authorities
        self._http1 = Http1Transport(hosts, via, authorities)
        self._aiohttp = self._aiohttp_transport() if proxies() else None
        self._targets: dict[str, Target] = {}  # URLs that our own HTTP/1.1 serves
        self._chosen: dict[str, Transport] = {}  # transports of the other URLs

    def post(
        self, url: str, headers: dict[str, str], body: Body, connect_timeout: float
    ) -> Coroutine[Any, Any, Response]:
        target = self._targets.get(url)
        if target is not None:
            return self._http1.send(target, headers, body, connect_timeout)
        transport = self._chosen.get(url) or self._choose(url)
        return transport.post(url, headers, body, connect_timeout)

    def ask(
        self, method: str, url: str, headers: dict[str, str], body: Body, connect_timeout: float
    ) -> Coroutine[Any, Any, Response]:
        """See `Transport`."""
        transport: Transport = self._http1
        if not _ordinary(url):
            transport = self._aiohttp = self._aiohttp or self._aiohttp_transport()
        return transport.ask(method, url, headers, body, connect_timeout)

    def _choose(self, url: str) -> Transport:
        for known in (self._targets, self._chosen):
            if len(known) >= MOST_URLS:
                known.clear()
        if not _ordinary(url):
            self._aiohttp = self._chosen[url] = self._aiohttp or self._aiohttp_transport()
            return self._aiohttp
        with suppress(ValueError):  # then `post` raises
            self._targets[url] = parsed(url, self._via)
        return self._http1

    def mark(self, via: str) -> None:
        """Changes the header `via` of all further requests."""
        if via == self._via:
            return
        self._via = self._http1.via = via
        self._targets.clear()
        if self._aiohttp is not None:
            self._aiohttp.mark(via)

    async def close(self) -> None:
        await self._http1.close()
        if self._aiohttp is not None:
            await self._aiohttp.close()

    def _aiohttp_transport(self) -> AiohttpTransport:
        from weir_router.call.transport.aiohttp_client import AiohttpTransport

        transport = AiohttpTransport(self._hosts, self._authorities)
        transport.mark(self._via)
        return transport


def _ordinary(url: str) -> bool:
    """Whether our own HTTP/1.1 can serve the URL: it has no proxy and holds no credential."""
    try:
        target = URL(url)
    except ValueError:
        return False
    if target.scheme not in ("http", "https") or not target.raw_host:
        return False
    return target.user is None and target.password is None and proxy_for(target) is None
