"""Keeps the status of every object true, and tells of changes by Events. Run by the leader, and only by it.

1. Wait for news: a compile, a router's report, or the time at which something is due.
2. After a compile give the routers a moment to have it: most changes then need one write instead of two.
3. Work out every status and compare it with the one in the cluster (`status.due`).
4. Queue those that differ. One that changes no verdict is written at most once a minute (`status.changes`).
5. Write them at a bounded rate (`status.writer`), and then send their Events (`status.teller`).

Nothing waits for it. A failed write is tried again as long as the status is still wanted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from weir_operator.compile import Compiled
from weir_operator.distribute.reports import Reported
from weir_operator.kube.statuses import StatusWriter
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.status.due import Made, due
from weir_operator.status.requests import Requests
from weir_operator.status.rollout import Attendance, Rollout, behind
from weir_operator.status.statuses import Broken
from weir_operator.status.step import Judgeable
from weir_operator.status.teller import Teller
from weir_operator.status.writer import PacedWriter

SETTLE_SECONDS = 1.5
"""Seconds after a compile for the routers to have it and say so, as long as one of them does not."""

CALM_SECONDS = 0.3
"""Seconds between two looks: a hundred reports within a moment cause one look."""

STATUS_CHECK_SECONDS = 8.0
"""Seconds between two looks without any news: reports grow old, routers late, and a status that another client changed
is written back within ten seconds."""

_log = logging.getLogger("weir_operator.status")


class Reporter:
    """One operator's view of all statuses. Used from one event loop."""

    def __init__(
        self,
        writer: StatusWriter,
        kinds: Sequence[Judgeable],
        manifests: Callable[[], Iterable[Manifest]],
        reports: Callable[[], Iterable[Reported]],
        *,
        instance: str,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`manifests` are the objects that are there now, with their statuses (`Gatherer.manifests`); `reports` the
        routers' last reports (`ConfigServer.reports`); `instance` is this operator's name.
        """
        self._kinds = kinds
        self._manifests = manifests
        self._reports = reports
        self._monotonic = monotonic
        self._wall = wall
        self._news = asyncio.Event()
        self._looking = False
        self._made: Made | None = None
        self._settle_until = 0.0
        self._rollout = Rollout()
        self._attendance = Attendance()
        requests = Requests()
        self._teller = Teller(writer, requests, instance=instance, monotonic=monotonic, wall=wall)
        self._writer = PacedWriter(
            writer, requests, then=self._teller.tell, look_again=self._news.set, monotonic=monotonic
        )

    def published(self, observed: Observed, compiled: Compiled, revision: int) -> None:
        """Routers can have `compiled`, which was made of `observed`, as `revision`."""
        self._rollout = self._rollout.published(self._generations, compiled.config.generations, revision)
        self._take(observed, compiled)

    def not_published(self, observed: Observed, compiled: Compiled, failure: str) -> None:
        """`compiled` could not be published; routers keep the config that they have."""
        self._rollout = self._rollout.not_published(self._generations, compiled.config.generations, failure)
        self._take(observed, compiled)

    @property
    def _generations(self) -> dict[str, int]:
        """The generations of the last compile."""
        return self._made.compiled.config.generations if self._made is not None else {}

    def _take(self, observed: Observed, compiled: Compiled) -> None:
        self._made = Made(observed, compiled)
        self._settle_until = self._monotonic() + SETTLE_SECONDS
        self._news.set()

    @property
    def busy(self) -> bool:
        """Whether a look or a write is under way or waits."""
        return self._looking or self._news.is_set() or self._writer.busy

    def heard(self) -> None:
        """A router has said something new (`ConfigServer.on_report`)."""
        self._news.set()

    async def run(self) -> None:
        """Leads until cancelled, which waits for the requests under way. It may be run again."""
        self._attendance.begin(self._monotonic())
        self._made, self._rollout = None, Rollout()
        self._writer.begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._writer.run())
            while True:
                await self._wait(await self._looked())
                await asyncio.sleep(CALM_SECONDS)

    async def _looked(self) -> float:
        self._news.clear()
        self._looking = True
        try:
            return await self.look()
        except Exception:  # a bug of ours, about a status: requests must not suffer
            _log.exception("statuses cannot be worked out; this is a bug of Weir")
            return STATUS_CHECK_SECONDS
        finally:
            self._looking = False

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    async def look(self) -> float:
        """Queues the writes that are due; returns the seconds until the next look without any news."""
        now = self._monotonic()
        if self._made is None:
            return STATUS_CHECK_SECONDS
        rollout = self._attendance.seen(self._rollout, tuple(self._reports()), now)
        if now < self._settle_until and behind(rollout.gateway, rollout.revision):
            return self._settle_until - now
        there = {it.id: it for it in self._manifests()}
        present = {name: self._writer.status(it) for name, it in there.items()}
        self._writer.forget({it.uid for it in there.values()})
        self._teller.forget()
        before = self._writer.snapshot()
        broken: Broken = []
        around = (present, before.written, self._wall(), self._writer.undeclared, broken)
        found = await asyncio.to_thread(due, self._kinds, self._made, rollout, there, *around)
        if broken:
            name, error = broken[0]
            _log.error(
                "the status of %s (and of %d more objects) cannot be worked out; this is a bug of Weir",
                name,
                len(broken) - 1,
                exc_info=error,
            )
        wait = self._writer.replace(found, before, now)
        return STATUS_CHECK_SECONDS if wait is None else min(STATUS_CHECK_SECONDS, wait)
