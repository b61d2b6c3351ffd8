"""The transport of the router: our own HTTP/1.1 where it can serve, otherwise aiohttp's client. Used by `app`."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from yarl import URL

from weir_router.call.transport.base import Response, Transport, proxies, proxy_for
from weir_router.call.transport.names import Hosts, laptop
from weir_router.call.transport.pool import Http1Transport, Target, parsed

MOST_URLS = 4_096
"""URLs that are remembered. A config has fewer; those of earlier configs need not stay."""


class AutoTransport:
    """A `Transport` that picks another one by URL, once per URL.

    aiohttp's client takes 9 MB and an eighth of a second to import. So it is only imported when needed: at the start if
    the environment names a proxy, otherwise for the first request to a URL that holds a credential.
    """

    def __init__(self, hosts: Hosts = laptop) -> None:
        """`hosts` gives the rules for addresses that hold when a connection is made."""
        self._hosts = hosts
        self._http1 = Http1Transport(hosts)
        self._aiohttp = _aiohttp_transport(hosts) if proxies() else None
        self._targets: dict[str, Target] = {}  # URLs that our own HTTP/1.1 serves
        self._chosen: dict[str, Transport] = {}  # transports of the other URLs

    def post(
        self, url: str, headers: dict[str, str], body: bytes, connect_timeout: float
    ) -> Coroutine[Any, Any, Response]:
        target = self._targets.get(url)
        if target is not None:
            return self._http1.send(target, headers, body, connect_timeout)
        transport = self._chosen.get(url) or self._choose(url)
        return transport.post(url, headers, body, connect_timeout)

    def _choose(self, url: str) -> Transport:
        for known in (self._targets, self._chosen):
            if len(known) >= MOST_URLS:
                known.clear()
        if not _ordinary(url):
            self._aiohttp = self._chosen[url] = self._aiohttp or _aiohttp_transport(self._hosts)
            return self._aiohttp
        with suppress(ValueError):  # then `post` raises
            self._targets[url] = parsed(url)
        return self._http1

    async def close(self) -> None:
        await self._http1.close()
        if self._aiohttp is not None:
            await self._aiohttp.close()


def _aiohttp_transport(hosts: Hosts) -> Transport:
    from weir_router.call.transport.aiohttp_client import AiohttpTransport

    return AiohttpTransport(hosts)


def _ordinary(url: str) -> bool:
    """Whether our own HTTP/1.1 can serve the URL: it has no proxy and holds no credential."""
    try:
        target = URL(url)
    except ValueError:
        return False
    if target.scheme not in ("http", "https") or not target.raw_host:
        return False
    return target.user is None and target.password is None and proxy_for(target) is None
