"""Writes statuses at a bounded rate, the latest status of each object only. Used by `status.reporter`.

It also remembers what it wrote until the informers show it, so that a status is not written twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, NamedTuple

from weir_operator.kube.objects import JSON
from weir_operator.kube.statuses import Outcome, StatusWriter
from weir_operator.observe.observed import Manifest
from weir_operator.status.due import Task
from weir_operator.status.requests import Requests

WRITERS = 4
"""Number of requests under way at once."""

WRITES_PER_SECOND = 50.0
"""Statuses per second at most: a thousand that change at once take 20 s, and the API server hardly notices."""

RETRY_SECONDS = 10.0
"""Seconds until a status is written again after a failed write."""

STALE_SECONDS = 1.0
"""Seconds until a status is written again after the object was changed by others: the informers know of it by then."""


UNSEEN_SECONDS = 2.0
"""Seconds for which the informers may not have seen a write. Later, a status that is as before was taken back by
another client. A write on an older version than the server's is refused, so nothing is written twice."""


class Snapshot(NamedTuple):
    """The state of the writes at one moment."""

    written: dict[str, float]  # by uid: when its status was written last
    writing: set[str]  # uids


class PacedWriter:
    """The writes of one operator. Used from one event loop."""

    def __init__(
        self,
        writer: StatusWriter,
        requests: Requests,
        *,
        then: Callable[[Task], Awaitable[None]],
        look_again: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`then` is awaited after each write; `look_again` is called when statuses must be worked out once more."""
        self._writer = writer
        self._requests = requests
        self._then = then
        self._call_look_again = look_again
        self._monotonic = monotonic
        self._queue: dict[str, Task] = {}
        self._queued = asyncio.Event()
        self._writing: set[str] = set()  # uids
        self._missed: set[str] = set()  # uids of which a look found something while they were being written
        self._next_write = 0.0
        self._overlay: dict[str, tuple[Any, JSON]] = {}  # uid: the status that was there when we wrote, and ours
        self._written: dict[str, float] = {}  # uid: when
        self._retry_at: dict[str, float] = {}  # uid

    @property
    def undeclared(self) -> frozenset[tuple[str, str]]:
        """Kinds and fields of their statuses that the installed CRDs do not know."""
        return self._writer.undeclared

    @property
    def busy(self) -> bool:
        """Whether anything waits to be written, or is being written."""
        return bool(self._queue or self._writing)

    def begin(self) -> None:
        """Begins a term. Of an earlier term only the finished writes are remembered."""
        self._queue.clear()

    async def run(self) -> None:
        """Writes until cancelled, which waits for the requests under way."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(self._write_on())

    def status(self, manifest: Manifest) -> Any:
        """The object's status: as the informer has it, unless it has not yet seen our last write."""
        seen, written = self._overlay.get(manifest.uid, (None, None))
        if written is None:
            return manifest.status
        if manifest.status == seen and self._monotonic() - self._written[manifest.uid] < UNSEEN_SECONDS:
            return written
        del self._overlay[manifest.uid]
        return manifest.status

    def forget(self, uids: set[str]) -> None:
        """Drops what is remembered of objects other than `uids`."""
        for memory in (self._overlay, self._written, self._retry_at):
            for uid in memory.keys() - uids:
                del memory[uid]

    def snapshot(self) -> Snapshot:
        """The state now."""
        return Snapshot(dict(self._written), set(self._writing))

    def replace(self, found: Iterable[tuple[Task, float]], as_of: Snapshot, now: float) -> float | None:
        """Queues `found`, worked out from the state `as_of`, in place of the queued tasks.

        Returns the seconds until the first of those that must wait may be written; None: none waits.
        """
        self._queue.clear()
        waits = list(self._enqueue(found, as_of, now))
        if self._queue:
            self._queued.set()
        else:
            self._look_again()
        return min(waits, default=None)

    def _enqueue(self, found: Iterable[tuple[Task, float]], as_of: Snapshot, now: float) -> Iterator[float]:
        for task, at in found:
            uid = task.subject.uid
            if uid in as_of.writing or self._written.get(uid) != as_of.written.get(uid):
                self._missed.add(uid)  # another look follows when the write is done
                continue
            wait = max(at, self._retry_at.get(uid, 0.0)) - now
            if wait > 0:
                yield wait
            else:
                self._queue[task.subject.id] = task

    def _look_again(self) -> None:
        """Asks for another look once all is written, if a look missed an object that was being written."""
        if self._missed and not self._queue and not self._missed & self._writing:
            self._missed.clear()
            self._call_look_again()

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

    async def _write(self, task: Task) -> None:
        subject = task.subject
        what = f"the status of {subject.kind}s"
        outcome = await self._requests.make(what, self._writer.write, subject, task.wanted)
        now = self._monotonic()
        if outcome is Outcome.DONE:
            self._overlay[subject.uid] = subject.status, task.wanted
            self._written[subject.uid] = now
            await self._then(task)
        else:
            self._retry_at[subject.uid] = now + (STALE_SECONDS if outcome is Outcome.STALE else RETRY_SECONDS)
            self._call_look_again()
