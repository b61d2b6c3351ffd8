"""A config server on loopback, which reads tokens from a dictionary, and a caller that polls it by hand."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from weir_operator.compile import Compiled
from weir_operator.distribute.server import ConfigServer, listen
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.token_reviews import TokenRefused, TokenReviewer
from weir_router.contract import Delivery, RouterReport
from weir_router.contract.delta import Delta

GATEWAY = ServiceAccount("weir-system", "weir-router")
TENANT = ServiceAccount("team-a", "default")
STRANGER = ServiceAccount("team-b", "default")
OPERATOR = ServiceAccount("weir-system", "weir-operator")
ACCOUNTS = {"gateway": GATEWAY, "tenant": TENANT, "stranger": STRANGER, "operator": OPERATOR}


@dataclass
class KnownTokens:
    """A reviewer that counts its calls; it raises `trouble` if set."""

    accounts: dict[str, ServiceAccount] = field(default_factory=lambda: dict(ACCOUNTS))
    asked: list[str] = field(default_factory=list)
    trouble: Exception | None = None

    async def review(self, token: str) -> ServiceAccount:
        self.asked.append(token)
        if self.trouble is not None:
            raise self.trouble
        if token not in self.accounts:
            raise TokenRefused("nobody knows this token")
        return self.accounts[token]


@dataclass
class Polled:
    """The answer to a poll."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def delivery(self) -> Delivery:
        return msgspec.json.decode(self.body, type=Delivery)

    @property
    def delta(self) -> Delta:
        return msgspec.json.decode(self.body, type=Delta)

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    @property
    def message(self) -> str:
        return str(msgspec.json.decode(self.body)["error"]["message"])


class Stand:
    """A served `ConfigServer`; `now` is its clock."""

    def __init__(self, reviewer: TokenReviewer) -> None:
        self.now = 0.0
        self.heard = 0  # that routers said something new
        self.heard_again = asyncio.Event()
        self.server = ConfigServer(
            reviewer, GATEWAY, operator=OPERATOR, on_report=self._hear, monotonic=lambda: self.now
        )
        self.url = ""
        self.session: aiohttp.ClientSession

    def _hear(self) -> None:
        self.heard += 1
        self.heard_again.set()

    def publish(self, what: Compiled, revision: int = 1) -> None:
        self.server.publish(msgspec.structs.replace(what.config, revision=revision), what.secrets)

    async def poll(
        self,
        token: str | None = "gateway",
        seen: str | None = None,
        wait: int = 0,
        *,
        deltas: bool = False,
        **options: Any,
    ) -> Polled:
        headers = {"Prefer": f"wait={wait}"} | ({"A-IM": "weir-delta"} if deltas else {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if seen is not None:
            headers["If-None-Match"] = seen
        options.setdefault("data", msgspec.json.encode(RouterReport(router="r")))
        async with self.session.post(f"{self.url}/v1/poll", headers=headers, **options) as answer:
            return Polled(answer.status, answer.headers, await answer.read())

    async def until_waiting(self, count: int = 1) -> None:
        """Waits until `count` polls wait."""
        async with asyncio.timeout(20):
            while self.server.waiting != count:  # noqa: ASYNC110 - nobody else needs an event for it
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def serving(reviewer: TokenReviewer | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Stand]:
    """A stand on a free port."""
    stand = Stand(reviewer or KnownTokens())
    runner = await listen(stand.server, "127.0.0.1", 0, tls)
    stand.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            stand.session = session
            yield stand
    finally:
        await runner.cleanup()
