"""Keeps the status of every object true, and tells of changes by Events. Run by the leader, and only by it.

1. Wait for something new: a compile, a router's report, or the time at which something is due.
2. After a compile give the routers a moment to have it: most changes then need one write instead of two.
3. Work out every status (`weir_operator.status.statuses`), and compare each with what the informers have.
4. Queue what differs; what brings no verdict at most once a minute and object (`weir_operator.status.changes`).
5. Write with a few threads, so many a second, the latest status of each object only; then its Events.

Nothing waits for it: whoever compiles goes on. What could not be written is tried again, as long as it is still true.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from weir_operator.compile import Compiled
from weir_operator.distribute.reports import Reported, RouterId
from weir_operator.kube.objects import JSON
from weir_operator.kube.statuses import Outcome, StatusWriter
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.status.changes import write_at
from weir_operator.status.events import Event, events, manifest_of
from weir_operator.status.rollout import Rollout, behind
from weir_operator.status.statuses import statuses

SETTLE_SECONDS = 1.5
"""After a compile, for the routers to have it and say so; as long as one of them does not."""

CALM_SECONDS = 0.3
"""Between two looks: of a hundred reports within a moment one look is made."""

LOOK_SECONDS = 10.0
"""Between two looks without any news: reports grow old, and routers late."""

LATE_SECONDS = 15.0
"""After that a router that does not run what it should holds back what it had before: a start, or a kubelet that is
slow, takes less."""

SETTLED_SECONDS = 65.0
"""Of leading, until routers that we do not know are not there: a poll waits 50 s, and one that fails up to 10."""

WRITERS = 4
"""Requests under way."""

WRITES_PER_SECOND = 50.0
"""Objects at most: a thousand that change at once take 20 s, and the API server hardly notices."""

RETRY_SECONDS = 10.0
"""Until an object is written again whose write failed."""

STALE_SECONDS = 1.0
"""The same where somebody else was faster: the informers know of it by then."""

EVENT_SECONDS = 300.0
"""For which the same Event of the same object is not repeated: a backend may come and go all day."""

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("weir_operator.status")


@dataclass(frozen=True)
class _Made:
    observed: Observed
    compiled: Compiled


@dataclass(frozen=True)
class _Task:
    subject: Manifest
    before: Any
    wanted: JSON


class Reporter:
    """One operator's view of all statuses. Used from one event loop."""

    def __init__(
        self,
        writer: StatusWriter,
        manifests: Callable[[], Iterable[Manifest]],
        reports: Callable[[], Iterable[Reported]],
        *,
        instance: str,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`manifests` are the objects that are there now, with their statuses (`Gatherer.manifests`); `reports` the
        routers' last words (`ConfigServer.reports`); `instance` is this operator's name.
        """
        self._writer = writer
        self._manifests = manifests
        self._reports = reports
        self._instance = instance
        self._monotonic = monotonic
        self._wall = wall
        self._made: _Made | None = None
        self._rollout = Rollout()
        self._news = asyncio.Event()
        self._settle_until = 0.0
        self._leading_since = 0.0
        self._late_since: dict[RouterId, float] = {}
        self._queue: dict[str, _Task] = {}
        self._queued = asyncio.Event()
        self._writing: set[str] = set()  # uids
        self._missed: set[str] = set()  # uids that were being written while something else was found out
        self._looking = False
        self._next_write = 0.0
        self._overlay: dict[str, tuple[Any, JSON]] = {}  # uid: what was there when we wrote, and what we wrote
        self._written: dict[str, float] = {}  # uid: when
        self._retry_at: dict[str, float] = {}  # uid
        self._told: dict[tuple[str, Event], float] = {}
        self._complaints: set[str] = set()

    def published(self, observed: Observed, compiled: Compiled, revision: int) -> None:
        """`compiled`, made of `observed`, is what routers can have, as `revision`."""
        old = self._rollout.since if self._made is not None else {}
        had = self._made.compiled.config.generations if self._made is not None else {}
        generations = compiled.config.generations
        # A revision below an old one is of an operator that has lost its count: then all is new.
        keep = revision >= self._rollout.revision
        since = {
            name: old[name] if keep and name in old and had.get(name) == generation else revision
            for name, generation in generations.items()
        }
        self._rollout = replace(self._rollout, revision=revision, since=since, failure=None)
        self._take(observed, compiled)

    def not_published(self, observed: Observed, compiled: Compiled, failure: str) -> None:
        """`compiled` could not be published; routers have what was before."""
        had = self._made.compiled.config.generations if self._made is not None else {}
        same = {name for name, generation in compiled.config.generations.items() if had.get(name) == generation}
        since = {name: it for name, it in self._rollout.since.items() if name in same}
        self._rollout = replace(self._rollout, since=since, failure=failure)
        self._take(observed, compiled)

    def _take(self, observed: Observed, compiled: Compiled) -> None:
        self._made = _Made(observed, compiled)
        self._settle_until = self._monotonic() + SETTLE_SECONDS
        self._news.set()

    @property
    def busy(self) -> bool:
        """Whether something is to be looked at, or written, now."""
        return self._looking or self._news.is_set() or bool(self._queue or self._writing)

    def heard(self) -> None:
        """A router has said something new (`ConfigServer.on_report`)."""
        self._news.set()

    async def run(self) -> None:
        """Leads until cancelled; then it waits for the requests that are under way. May be run again: of an earlier
        term only is remembered what was written.
        """
        self._leading_since = self._monotonic()
        self._made, self._rollout = None, Rollout()
        self._queue.clear()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(self._write_on())
            while True:
                await self._wait(await self._looked())
                await asyncio.sleep(CALM_SECONDS)

    async def _looked(self) -> float:
        self._news.clear()
        self._looking = True
        try:
            return await self.look()
        except Exception:  # a bug of ours, about a status: those who route must not suffer
            _log.exception("statuses cannot be worked out; this is a bug of Weir")
            return LOOK_SECONDS
        finally:
            self._looking = False

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    async def look(self) -> float:
        """Queues what should be written; returns the seconds until the next look without any news."""
        now = self._monotonic()
        if self._made is None:
            return LOOK_SECONDS
        rollout = self._seen(tuple(self._reports()), now)
        if now < self._settle_until and behind(rollout.gateway, rollout.revision):
            return self._settle_until - now
        there = {it.id: it for it in self._manifests()}
        present = {name: self._status(it) for name, it in there.items()}
        self._forget({it.uid for it in there.values()})
        written, writing = dict(self._written), set(self._writing)
        # In a thread: of a thousand objects it takes so long that routers would wait for their config.
        found = await asyncio.to_thread(_due, self._made, rollout, there, present, written, self._wall())
        self._queue.clear()
        waits = [LOOK_SECONDS]
        for task, at in found:
            uid = task.subject.uid
            if uid in writing or self._written.get(uid) != written.get(uid):
                self._missed.add(uid)  # there will be another look when that is done
                continue
            wait = max(at, self._retry_at.get(uid, 0.0)) - now
            if wait <= 0:
                self._queue[task.subject.id] = task
            else:
                waits.append(wait)
        if self._queue:
            self._queued.set()
        else:
            self._look_again()
        return min(waits)

    def _look_again(self) -> None:
        """Once all is written, if something was found out about an object that was being written."""
        if self._missed and not self._queue and not self._missed & self._writing:
            self._missed.clear()
            self._news.set()

    def _seen(self, routers: tuple[Reported, ...], now: float) -> Rollout:
        since = self._late_since
        self._late_since = {it: since.get(it, now) for it in behind(routers, self._rollout.revision)}
        late = frozenset(it for it, at in self._late_since.items() if now - at >= LATE_SECONDS)
        settled = now - self._leading_since >= SETTLED_SECONDS
        return replace(self._rollout, routers=routers, late=late, settled=settled)

    def _status(self, manifest: Manifest) -> Any:
        """What is there: the informer's word, unless it has not heard yet of what we wrote."""
        seen, written = self._overlay.get(manifest.uid, (None, None))
        if written is None:
            return manifest.status
        if manifest.status == seen:
            return written
        del self._overlay[manifest.uid]
        return manifest.status

    def _forget(self, uids: set[str]) -> None:
        for memory in (self._overlay, self._written, self._retry_at):
            for uid in memory.keys() - uids:
                del memory[uid]
        oldest = self._monotonic() - EVENT_SECONDS
        self._told = {key: at for key, at in self._told.items() if at > oldest}

    async def _write_on(self) -> None:
        while True:
            while not self._queue:
                self._queued.clear()
                await self._queued.wait()
            task = self._queue.pop(next(iter(self._queue)))
            self._writing.add(task.subject.uid)
            try:
                await self._pace()
                await self._write(task)
            finally:
                self._writing.discard(task.subject.uid)
                self._look_again()

    async def _pace(self) -> None:
        now = self._monotonic()
        turn = max(now, self._next_write)
        self._next_write = turn + 1 / WRITES_PER_SECOND
        await asyncio.sleep(turn - now)

    async def _write(self, task: _Task) -> None:
        subject = task.subject
        outcome, why = await _finished(self._writer.write, subject, task.wanted)
        now = self._monotonic()
        self._complain(outcome, f"the status of {subject.kind}s", why)
        if outcome is Outcome.DONE:
            self._overlay[subject.uid] = subject.status, task.wanted
            self._written[subject.uid] = now
            await self._tell(subject, events(task.before, task.wanted))
        else:
            self._retry_at[subject.uid] = now + (STALE_SECONDS if outcome is Outcome.STALE else RETRY_SECONDS)
            self._news.set()

    async def _tell(self, subject: Manifest, found: Iterable[Event]) -> None:
        now = self._monotonic()
        moment = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for event in found:
            key = subject.uid, event
            if now - self._told.get(key, -EVENT_SECONDS) < EVENT_SECONDS:
                continue
            self._told[key] = now
            body = manifest_of(event, subject, self._instance, moment)
            outcome, why = await _finished(self._writer.tell, body)
            self._complain(outcome, "Events", why)

    def _complain(self, outcome: Outcome, what: str, why: str) -> None:
        """Once, until it works again."""
        if outcome is Outcome.DONE and what in self._complaints:
            self._complaints.discard(what)
            _log.info("%s can be written again", what)
        elif outcome in (Outcome.FORBIDDEN, Outcome.FAILED) and what not in self._complaints:
            self._complaints.add(what)
            _log.warning("%s cannot be written: %s. (It is tried again every few seconds.)", what, why)


def _due(
    made: _Made,
    rollout: Rollout,
    there: Mapping[str, Manifest],
    present: Mapping[str, Any],
    written: Mapping[str, float],
    wall: float,
) -> list[tuple[_Task, float]]:
    """What should be written, each with the moment from which it may be."""
    found = []
    for subject, wanted in statuses(made.observed, made.compiled, rollout, present, wall):
        current = there.get(subject.id)
        if current is None or current.uid != subject.uid:
            continue  # deleted since, or made anew: there will be another compile
        at = write_at(present[subject.id], wanted, written.get(subject.uid))
        if at is not None:
            found.append((_Task(current, present[subject.id], wanted), at))
    return found


async def _finished(request: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`request` in a thread; a cancellation waits for it, so that whoever leads next finds nothing under way."""
    work = asyncio.ensure_future(asyncio.to_thread(request, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise
