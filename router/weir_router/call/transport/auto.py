"""The transport of the router: our own HTTP/1.1 where it serves, aiohttp's client for the rest. Used by `app`."""

from __future__ import annotations

from yarl import URL

from weir_router.call.transport.aiohttp_client import AiohttpTransport
from weir_router.call.transport.base import Response, Transport, proxy_for
from weir_router.call.transport.pool import Http1Transport


class AutoTransport:
    """`Transport` that picks by URL, once per URL."""

    def __init__(self) -> None:
        self._http1 = Http1Transport()
        self._aiohttp: AiohttpTransport | None = None
        self._chosen: dict[str, Transport] = {}  # as many as the config has backends' paths

    async def post(self, url: str, headers: dict[str, str], body: bytes, connect_timeout: float) -> Response:
        transport = self._chosen.get(url) or self._choose(url)
        return await transport.post(url, headers, body, connect_timeout)

    def _choose(self, url: str) -> Transport:
        if _ordinary(url):
            self._chosen[url] = self._http1
        else:
            self._aiohttp = self._aiohttp or AiohttpTransport()
            self._chosen[url] = self._aiohttp
        return self._chosen[url]

    async def close(self) -> None:
        await self._http1.close()
        if self._aiohttp is not None:
            await self._aiohttp.close()


def _ordinary(url: str) -> bool:
    """Whether our own HTTP/1.1 serves it: no proxy, and no credential in the URL."""
    try:
        target = URL(url)
    except ValueError:
        return False
    if target.scheme not in ("http", "https") or not target.raw_host:
        return False
    return target.user is None and target.password is None and proxy_for(target) is None
