"""Config from the operator's config server: a change is here in well under a second. Run by `weir router`.

Each poll says what this router has (`If-None-Match`) and how it fares (a `RouterReport`), and is answered as soon as
the server has something else: with the whole, or with what has changed since. What is refused is remembered in the
store, which the next report tells. Without a server the last good config goes on, and `mounted` follows what the
kubelet brings.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import aiohttp
import msgspec
from aiohttp import hdrs

from weir_router.clock import Clock, SystemClock
from weir_router.config.access import CONNECT_SECONDS, Access, BadFile, message_of, reason_of
from weir_router.config.decode import decoded
from weir_router.config.store import ConfigStore
from weir_router.contract import (
    POLL_PATH,
    CompiledConfig,
    ConfigRejected,
    Delivery,
    RouterReport,
)
from weir_router.contract.delta import DELTA_HEADER, DELTA_NAME, DELTA_STATUS, Delta, DeltaMismatch, updated

WAIT = 50
"""Seconds that a poll waits at the server: below the minute after which many proxies cut what is idle."""

ANSWER_SECONDS = 15.0
"""Beyond `WAIT`, for the answer to travel: then the connection counts as dead."""

RETRY_FIRST = 0.5
"""Seconds to the second try, at most; half of it at least, at random, so that a thousand routers spread."""

RETRY_MAX = 10.0
"""The same after several failures: so long does an operator that is back wait for us."""

OLDER_SECONDS = 30.0
"""That an older revision than ours is not believed: a replica may lag behind by a moment. After that it counts: the
operator has lost its count, and we must not stay behind for ever."""

TELL_SECONDS = (2.0, 5.0)
"""From news of ours to the end of the poll that waits, at random: an outage is news for every router at once, and of
what comes and goes only the last is told."""

OLDER_PAUSE = 1.0
"""Seconds until we ask again meanwhile."""

_log = logging.getLogger("weir.config")


class PollFailed(Exception):
    """No config could be had; the message says why, and the next poll may succeed."""


class LongPoll:
    """Keeps a `ConfigStore` at what a config server says."""

    def __init__(
        self,
        access: Access,
        store: ConfigStore,
        report: Callable[[], RouterReport],
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._access = access
        self._url = access.url.rstrip("/") + POLL_PATH
        self._store = store
        self._report = report
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._seen: str | None = None  # ETag of the last answer, applied or refused
        self._last: Delivery | None = None  # what that was, if it could be read: what has changed since is enough
        self._running: CompiledConfig | None = None  # what ran after it
        self._older_since: float | None = None
        self._waiting: asyncio.Timeout | None = None  # of the poll that waits for its answer
        store.subscribe(lambda *_: self.tell_soon())

    def tell_soon(self, within: tuple[float, float] = TELL_SECONDS) -> None:
        """There is something new to report: the poll that waits is ended in a few seconds, and the next one tells it.

        A poll tells what was true when it began, which may be most of a minute ago.
        """
        if self._waiting is not None and self._waiting.when() is None:
            in_a_moment = asyncio.get_running_loop().time() + self._rng.uniform(*within)
            self._waiting.reschedule(in_a_moment)

    async def run(self) -> None:
        """Polls until cancelled."""
        timeout = aiohttp.ClientTimeout(total=WAIT + ANSWER_SECONDS, connect=CONNECT_SECONDS)
        failures, said = 0, ""
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                try:
                    await self.poll(session)
                    if failures:
                        _log.info("the config server at %s answers again", self._access.url)
                    failures, said = 0, ""
                except PollFailed as error:
                    if str(error) != said:
                        _log.warning("no config from %s: %s", self._access.url, error)
                    failures, said = failures + 1, str(error)
                    await self._sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        longest = min(RETRY_FIRST * 2.0 ** min(failures - 1, 10), RETRY_MAX)
        return longest * self._rng.uniform(0.5, 1.0)

    async def poll(self, session: aiohttp.ClientSession) -> None:
        """Waits for one answer, and applies it. Raises `PollFailed`."""
        try:
            answer = await self._ask(session)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PollFailed(reason_of(error)) from error
        except BadFile as error:
            raise PollFailed(str(error)) from None
        if answer is None:
            return
        delivery = None
        try:
            delivery = await self._read(answer)
            if delivery.authorities:
                self._access.learn(delivery.authorities)
            if self._is_older(delivery.config.revision):
                await self._sleep(OLDER_PAUSE)
                return
            self._store.apply(delivery.config, delivery.secrets)
            _log.info("revision %d applied from %s", delivery.config.revision, self._access.url)
        except ConfigRejected as error:
            _log.warning("config from %s refused: %s", self._access.url, error)
            self._store.reject(str(error))
        # Also of what was refused: it would come again at once.
        self._seen, self._last, self._running = answer.etag, delivery, self._store.config

    async def _read(self, answer: _Answer) -> Delivery:
        """Raises `ConfigRejected`, or `PollFailed` if it is a change of something else than what we have."""
        if not answer.is_change:
            return await decoded(answer.body, Delivery)
        change, last, seen = await decoded(answer.body, Delta), self._last, self._seen
        try:
            if last is None or change.base != seen:
                raise DeltaMismatch("the change is for another config than the last one")
            return updated(last, change)
        except DeltaMismatch as error:
            self._seen = self._last = None
            raise PollFailed(str(error)) from None

    async def _ask(self, session: aiohttp.ClientSession) -> _Answer | None:
        """Something new; None: there is nothing."""
        headers = {**self._access.headers(), "Prefer": f"wait={WAIT}"}
        if self._seen is not None and not self._another_source_runs():
            headers[hdrs.IF_NONE_MATCH] = self._seen
            if self._last is not None:
                headers[DELTA_HEADER] = DELTA_NAME
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await self._post(session, headers)
        except TimeoutError:
            if self._waiting is None or not self._waiting.expired():
                raise
            return None  # we have news ourselves
        finally:
            self._waiting = None

    async def _post(self, session: aiohttp.ClientSession, headers: dict[str, str]) -> _Answer | None:
        body = msgspec.json.encode(self._report())
        async with session.post(
            self._url, data=body, headers=headers, ssl=self._access.tls(), allow_redirects=False
        ) as response:
            if self._waiting is not None:  # what comes now is worth more than what we have to tell
                self._waiting.reschedule(None)
                self._waiting = None
            content = await response.read()
            if response.status == 304:
                return None
            etag = response.headers.get(hdrs.ETAG)
            if response.status not in (200, DELTA_STATUS) or etag is None:
                raise PollFailed(f"HTTP {response.status}: {message_of(content)}")
            return _Answer(etag, content, response.status == DELTA_STATUS)

    def _another_source_runs(self) -> bool:
        """Whether the config in use was mounted: then what we saw last says nothing about what we need."""
        return self._store.config is not self._running

    def _is_older(self, revision: int) -> bool:
        """Whether `revision` is older than what runs, and not yet to be believed."""
        running = self._store.config
        if running is None or revision >= running.revision:
            self._older_since = None
            return False
        if self._another_source_runs():
            return True
        now = self._clock.monotonic()
        since = self._older_since = now if self._older_since is None else self._older_since
        if now - since < OLDER_SECONDS:
            return True
        _log.warning("revision %d follows %d: the operator has lost its count", revision, running.revision)
        self._older_since = None
        return False


class _Answer(NamedTuple):
    etag: str
    body: bytes
    is_change: bool  # of what we have seen last
