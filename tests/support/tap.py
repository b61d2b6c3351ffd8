"""A relay between a client and a router that keeps the streams of the Responses API, to check them by the grammar."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from support.responses_grammar import events_of, violation

OF_THE_CONNECTION = ("host", "connection", "keep-alive", "content-length", "transfer-encoding", "upgrade")
"""Headers that each connection has of its own."""


class Tap:
    """The relay as a test sees it: its URL, the number of streams, and each offence against the grammar."""

    def __init__(self, router: str) -> None:
        self.url = ""
        self.streams = 0
        self.offences: list[str] = []
        self._router = router

    async def relay(self, session: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
        """Passes a request on, and its answer back piece by piece."""
        sent = {name: value for name, value in request.headers.items() if name.lower() not in OF_THE_CONNECTION}
        body = await request.read()
        url = self._router + request.raw_path
        async with session.request(request.method, url, headers=sent, data=body, allow_redirects=False) as answer:
            got = {name: value for name, value in answer.headers.items() if name.lower() not in OF_THE_CONNECTION}
            back = web.StreamResponse(status=answer.status, headers=got)
            await back.prepare(request)
            raw = b""
            async for piece in answer.content.iter_any():
                raw += piece
                await back.write(piece)
            self._keep(request.path, answer, raw)
            await back.write_eof()
            return back

    def _keep(self, path: str, answer: aiohttp.ClientResponse, raw: bytes) -> None:
        if path.endswith("/responses") and answer.content_type == "text/event-stream":
            self.streams += 1
            found = violation(events_of(raw))
            if found:
                self.offences.append(found)


@contextlib.asynccontextmanager
async def tapped(router: str) -> AsyncIterator[Tap]:
    """A relay before the router at this URL."""
    tap = Tap(router)
    async with aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(None)) as session:

        async def relay(request: web.Request) -> web.StreamResponse:
            return await tap.relay(session, request)

        runner = web.ServerRunner(web.Server(relay, access_log=None), shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            tap.url = f"http://{host}:{port}"
            yield tap
        finally:
            await runner.cleanup()
