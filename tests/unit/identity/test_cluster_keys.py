"""The keys as they are fetched again and again: reports of changes, and the state after a failure."""

from __future__ import annotations

import asyncio
import logging

import pytest

from support.tokens import AUDIENCE, EC, ISSUER, RSA, trust
from weir_operator.identity.trust import Listed
from weir_operator.kube.oidc import REFRESH_SECONDS, RETRY_SECONDS, ClusterKeys, FetchFailed

ANSWER = Listed(ISSUER, (RSA.public,))


class Cluster:
    """An API server with scripted answers, and the keys that are fetched from it."""

    def __init__(self, answer: Listed | Exception = ANSWER, **options: bool) -> None:
        self.answer = answer
        self.changes = self.fetches = 0
        self.now = 0.0
        self.slept: asyncio.Queue[float] = asyncio.Queue()
        self.wake = asyncio.Event()
        self.keys = ClusterKeys(
            self._fetch, "weir", self._changed, monotonic=lambda: self.now, sleep=self._sleep, **options
        )

    def _fetch(self) -> Listed:
        self.fetches += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def _changed(self) -> None:
        self.changes += 1

    async def _sleep(self, seconds: float) -> None:
        self.slept.put_nowait(seconds)
        await self.wake.wait()
        self.wake.clear()


async def test_what_the_api_server_lists_is_trusted_and_told_once():
    cluster = Cluster()
    assert cluster.keys.trust is None
    assert await cluster.keys.refresh()
    assert await cluster.keys.refresh()
    assert cluster.keys.trust == trust(RSA)
    assert cluster.changes == 1


async def test_a_rotation_is_told():
    cluster = Cluster()
    await cluster.keys.refresh()
    cluster.answer = Listed(ISSUER, (RSA.public, EC.public))
    await cluster.keys.refresh()
    assert cluster.keys.trust == trust(EC, RSA)
    assert cluster.changes == 2


async def test_a_failure_leaves_what_is_known_and_is_said_once(caplog: pytest.LogCaptureFixture):
    cluster = Cluster()
    await cluster.keys.refresh()
    cluster.answer, cluster.now = FetchFailed("GET /x failed: HTTP 500"), 1e6
    with caplog.at_level(logging.INFO, "weir.identity"):
        assert not await cluster.keys.refresh()
        assert not await cluster.keys.refresh()
        assert cluster.keys.failure == "GET /x failed: HTTP 500"
        assert cluster.keys.trust == trust(RSA)
        cluster.answer = ANSWER
        await cluster.keys.refresh()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "the last known ones stay" in caplog.text
    assert cluster.keys.failure is None


async def test_what_was_published_stays_when_the_api_server_does_not_answer_at_the_start(
    caplog: pytest.LogCaptureFixture,
):
    cluster = Cluster(FetchFailed("no"))
    cluster.keys.take_over(trust(EC))
    assert not cluster.keys.asked.is_set()
    await cluster.keys.refresh()
    assert cluster.keys.asked.is_set()
    assert cluster.keys.trust == trust(EC)
    cluster.keys.take_over(trust(RSA))
    assert cluster.keys.trust == trust(EC)


async def test_review_is_said_to_routers():
    cluster = Cluster(review=True)
    await cluster.keys.refresh()
    assert cluster.keys.trust == trust(RSA, review=True, audience=AUDIENCE)


async def test_it_asks_every_minute_and_sooner_after_a_failure():
    cluster = Cluster()
    running = asyncio.create_task(cluster.keys.run())
    for _ in range(round(REFRESH_SECONDS / RETRY_SECONDS)):
        assert await cluster.slept.get() == RETRY_SECONDS
        assert cluster.fetches == 1
        cluster.wake.set()
    cluster.answer = FetchFailed("no")
    for fetches in (2, 3):
        assert await cluster.slept.get() == RETRY_SECONDS
        assert cluster.fetches == fetches
        cluster.wake.set()
    running.cancel()


async def test_after_a_failed_fetch_an_unknown_key_may_be_good():
    cluster = Cluster()
    await cluster.keys.refresh()
    cluster.answer = FetchFailed("no")
    await cluster.keys.refresh()
    assert not cluster.keys.missed()


async def test_a_token_of_an_unknown_key_makes_it_ask_sooner_and_a_thousand_no_more_often():
    cluster = Cluster()
    running = asyncio.create_task(cluster.keys.run())
    for fetches in (1, 2, 3):
        assert await cluster.slept.get() == RETRY_SECONDS
        assert cluster.fetches == fetches
        for _ in range(1000):
            assert cluster.keys.missed()
        cluster.wake.set()
    running.cancel()
