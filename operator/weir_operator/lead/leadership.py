"""Leadership: at most one replica leads at any moment, and another one soon when it is gone. Run by every replica.

1. **Follow**: read the Lease every second. It is free if it has no holder, or if it has not been written for its own
   duration, by our own monotonic clock since *we* saw it: clocks of other machines do not count.
2. **Claim** it with the version that was read; of several that do so at once one succeeds.
3. **Lead**: run the term, and renew. Each renewal lets us lead for `LEAD_SECONDS` from the moment it was sent, which is
   `LEASE_SECONDS - LEAD_SECONDS` shorter than any follower waits: time for the requests that are under way.
4. **Stop** when that time is over, even if a request hangs: `leads`
   compares with the clock, and every write asks it first.
5. **Release** at the end of the process, once the term has ended: the next one then need not wait.

`kubernetes.leaderelection` is not used: it reads the time of day, which may jump; a request that hangs lets it lead for
ever; an error of the network ends it without a word; and it neither releases nor says where the leader is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from weir_operator.kube.lease import Held, LeaseFailed, LeaseTaken

LEASE_SECONDS = 15
"""Seconds without a renewal after which another replica may lead. It checks every second, so it leads within 17 s."""

LEAD_SECONDS = 10.0
"""Seconds that a leader leads after a renewal: long enough for an API server to restart."""

RENEW_SECONDS = 3.0
"""Seconds between renewals: three may fail in a row."""

LATE_SECONDS = 6.0
"""Seconds without a renewal after which the holder of the Lease is named: two renewals are missing."""

LEASE_CHECK_SECONDS = 1.0
"""Seconds between a follower's checks, and between tries after a failure: one small read each."""

T = TypeVar("T")

_log = logging.getLogger("weir_operator.leadership")


class LeaseStore(Protocol):
    """`lease.Lease`, or a test's."""

    @property
    def identity(self) -> str:
        """Ours."""

    def read(self) -> Held | None:
        """The Lease as it is on the server."""

    def claim(self, old: Held | None) -> Held:
        """Makes it ours, or renews it."""

    def release(self, old: Held) -> None:
        """Lets others have it."""


class Leadership:
    """One replica's part in it. `leads` and `leader_address` may be read from any thread."""

    def __init__(self, lease: LeaseStore, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._monotonic = monotonic
        self._until = 0.0
        self._held: Held | None = None
        self._seen: tuple[str, float] = ("", 0.0)  # a version, and since when we know it
        self._trouble: str | None = None  # of the last request
        self._late: str | None = None  # about a holder that does not renew
        # Its own thread: what strangers make others do must not delay a renewal.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lease")

    @property
    def leads(self) -> bool:
        """Whether we may publish and write statuses now."""
        return self._monotonic() < self._until

    @property
    def trouble(self) -> str | None:
        """Why the Lease cannot be read or written, or that its holder is away; None: neither."""
        return self._trouble or self._late

    @property
    def leader_address(self) -> str | None:
        """URL of the leader's config server; None: we lead, or no replica does."""
        held = self._held
        return None if held is None or not held.holder or held.holder == self._lease.identity else held.address

    async def run(self, term: Callable[[], Awaitable[None]]) -> None:
        """Runs `term` whenever we lead, and cancels it when we no longer do. Raises the errors of `term`.

        Runs until cancelled.

        `term` must have ended all that it writes when its cancellation returns.
        """
        try:
            while True:
                await self._acquire()
                await self._serve(term)
        finally:
            await self._release()
            self._thread.shutdown(wait=False)

    async def _acquire(self) -> None:
        while True:
            try:
                self._held = await self._in_thread(self._lease.read)
                self._works()
                if self._free() and await self._claim(self._held):
                    self._note_late(None)
                    _log.info("this replica leads now")
                    return
            except LeaseFailed as error:
                self._failed(error)
            await asyncio.sleep(LEASE_CHECK_SECONDS * random.uniform(0.8, 1.0))

    def _free(self) -> bool:
        held, now = self._held, self._monotonic()
        if held is None or not held.holder or held.holder == self._lease.identity:
            return True
        if self._seen[0] != held.version:
            self._seen = held.version, now
        since = now - self._seen[1]
        self._note_late(held.holder if since >= LATE_SECONDS else None)
        # A longer duration was written by hand: the holder may not be there at all.
        return since >= min(held.seconds, LEASE_SECONDS)

    def _note_late(self, holder: str | None) -> None:
        if holder is not None and self._late is None:
            _log.warning("the Lease is held by %s, which does not renew it. (Another replica leads soon.)", holder)
        self._late = None if holder is None else f"the Lease is held by {holder}, which does not renew it"

    async def _claim(self, old: Held | None) -> bool:
        started = self._monotonic()
        try:
            self._held = await self._in_thread(lambda: self._lease.claim(old))
        except LeaseTaken:
            return False
        self._until = started + LEAD_SECONDS
        return True

    async def _serve(self, term: Callable[[], Awaitable[None]]) -> None:
        serving = asyncio.ensure_future(term())
        renewing = asyncio.create_task(self._renew())
        try:
            await asyncio.wait({serving, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._until = 0.0
            failed = serving.done() and not serving.cancelled() and serving.exception()
            for task in (serving, renewing):
                task.cancel()
            await asyncio.gather(serving, renewing, return_exceptions=True)
        if failed:
            raise failed
        _log.warning("this replica leads no more")

    async def _renew(self) -> None:
        """Renews until we no longer lead."""
        pause = RENEW_SECONDS
        while (left := self._until - self._monotonic()) > 0:
            await asyncio.sleep(min(pause, left))
            try:
                # A request that hangs must not keep us in office.
                async with asyncio.timeout(max(0.0, self._until - self._monotonic())):
                    if not await self._claim(self._held) and not await self._still_ours():
                        return
                self._works()
                pause = RENEW_SECONDS
            except (LeaseFailed, TimeoutError) as error:
                self._failed(error)
                pause = LEASE_CHECK_SECONDS

    async def _still_ours(self) -> bool:
        """Reads again after a conflict: another client may only have changed a label."""
        self._held = await self._in_thread(self._lease.read)
        ours = self._held is not None and self._held.holder == self._lease.identity
        return ours and await self._claim(self._held)

    async def _release(self) -> None:
        if self._held is None or self._held.holder != self._lease.identity:
            return
        try:
            if await self._in_thread(self._give_up):
                _log.info("the Lease is released")
        except (LeaseFailed, LeaseTaken):
            pass  # it ends by itself

    def _give_up(self) -> bool:
        held = self._lease.read()  # a renewal may have been under way, which nothing can break off
        if held is None or held.holder != self._lease.identity:
            return False
        self._lease.release(held)
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _failed(self, error: Exception) -> None:
        text = str(error) or "no answer in time"
        if text != self._trouble:
            _log.warning("%s. (It is tried again every second.)", text)
        self._trouble = text

    def _works(self) -> None:
        if self._trouble is not None:
            _log.info("the Lease can be read and written again")
        self._trouble = None
