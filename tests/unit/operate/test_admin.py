"""The operator's admin port: strangers who hold connections keep no probe from it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from weir_operator.distribute import connections
from weir_operator.run.admin import Admin
from weir_operator.run.metrics import Metrics


class State:
    """A replica that serves."""

    metrics = Metrics()
    ready = leads = True
    revision = 7

    def unknown(self) -> tuple[()]:
        return ()

    def troubles(self) -> tuple[str, ...]:
        return ()

    def refresh_metrics(self) -> None:
        self.metrics.revision.set(self.revision)


async def test_probes_and_scrapers_are_answered_while_strangers_hold_connections(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "STRANGERS_MAX", 10)
    runner = await Admin(State()).listen("127.0.0.1", 0)
    port = runner.addresses[0][1]
    strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        for path, said in (("healthz", "ok"), ("readyz", '"revision": 7'), ("metrics", "weir_operator_revision 7")):
            async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                assert answer.status == 200
                assert said in await answer.text()
        for reader, _ in strangers[:20]:
            assert await reader.read() == b""
    for _, writer in strangers:
        writer.close()
    await runner.cleanup()
