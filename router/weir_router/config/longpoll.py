"""Config from the operator's config server: a change arrives in well under a second. Run by `weir router`.

Each poll names this router's config (`If-None-Match`) and carries a `RouterReport`. The server answers as soon as its
config differs: with the whole config, or with the changes. The store remembers the reason of a refused config for the
next report. Without a server the last good config stays in use, and `mounted` follows the kubelet's files.
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
"""Seconds that a poll waits at the server: below the minute after which many proxies cut idle connections."""

ANSWER_SECONDS = 15.0
"""Seconds beyond `WAIT` that an answer may take to travel; then the connection counts as dead."""

RETRY_FIRST = 0.5
"""Seconds until the second try at most, and half of them at least: a random time, so that a thousand routers spread."""

RETRY_MAX = 10.0
"""Seconds until the next try after several failures: an operator that is back waits for us no longer."""

OLDER_SECONDS = 30.0
"""Seconds for which an older revision than ours is ignored: a replica may lag behind by a moment. After that it counts:
the operator has lost its state, and we must not stay behind for ever."""

TELL_SECONDS = (2.0, 5.0)
"""Seconds from our news to the end of the waiting poll, at random between the two. An outage is news for every router
at once, and of several changes only the last is reported."""

HEALTH_SECONDS = 10.0
"""Seconds between two ends of a poll for news about backends' health: one that fails and works in turns would otherwise
make every router poll every few seconds."""

OLDER_PAUSE = 1.0
"""Seconds between two polls while an older revision is ignored."""

_log = logging.getLogger("weir.config")


class PollFailed(Exception):
    """A poll brought no config; the message says why. The next poll may succeed."""


class LongPoll:
    """Keeps a `ConfigStore` up to date with a config server."""

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
        self._last: Delivery | None = None  # that answer, if it could be read: the base of the next change
        self._running: CompiledConfig | None = None  # the config in use after it
        self._older_since: float | None = None
        self._waiting: asyncio.Timeout | None = None  # timeout of the poll that waits for its answer
        self._calm_until = 0.0  # moment of the loop's clock from which news about health ends a poll
        store.subscribe(lambda *_: self.tell_soon())

    def tell_soon(self, within: tuple[float, float] = TELL_SECONDS) -> None:
        """Ends the waiting poll in a few seconds, so that the next one reports the news.

        The report of a waiting poll may be almost a minute old.
        """
        if self._waiting is None:
            return
        now, ends = asyncio.get_running_loop().time(), self._waiting.when()
        if ends is None or now + within[1] < ends:
            self._waiting.reschedule(now + self._rng.uniform(*within))

    def tell_health(self) -> None:
        """Like `tell_soon`, for news about backends: not more often than every `HEALTH_SECONDS`."""
        if self._waiting is None or self._waiting.when() is not None:
            return
        now, (least, most) = asyncio.get_running_loop().time(), TELL_SECONDS
        calm = max(0.0, self._calm_until - now)
        self.tell_soon((calm + least, calm + most))
        self._calm_until = now + calm + HEALTH_SECONDS

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
        # Also for a refused config: the server would send it again at once.
        self._seen, self._last, self._running = answer.etag, delivery, self._store.config

    async def _read(self, answer: _Answer) -> Delivery:
        """The config of an answer. Raises `ConfigRejected`, or `PollFailed` for a change to another config."""
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
        """A new answer; None: nothing has changed."""
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
            if self._waiting is not None:  # the answer that begins now matters more than our news
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
        """Whether the config in use was mounted: then the last answer does not say what we need."""
        return self._store.config is not self._running

    def _is_older(self, revision: int) -> bool:
        """Whether `revision` is older than the one in use, and still to be ignored."""
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
        _log.warning("revision went back from %d to %d (operator state lost?)", running.revision, revision)
        self._older_since = None
        return False


class _Answer(NamedTuple):
    etag: str
    body: bytes
    is_change: bool  # of the last answer
