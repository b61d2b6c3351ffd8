"""The leader's loop: gather → compile → publish, again whenever something is different. Run by `run.replica`.

Level-based: a round takes the whole present state, so it may be late, early or repeated.

1. **Wait** for a change, or for the time at which something is due: an override ends, unnamed files may go,
   fewer routers count, a failure is over.
2. **Calm**: one `kubectl apply` is many changes. Wait until none has come for `CALM_SECONDS`, but not for ever.
3. **Compile and publish** in a thread. Later changes belong to the next round: there is never more than one.
4. **Report** to the status writer: the observed and the compiled state, and its revision or why it has none.

Until everything is known for the first time there is no round, and the last publication stays. It does not decide who
leads: `lead.leadership` starts and cancels it, and its cancellation waits for writes under way.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from weir_operator.compile import Compiled
from weir_operator.kube.contest import Contest
from weir_operator.kube.informers import backoff
from weir_operator.kube.store import PublishFailed
from weir_operator.observe.observed import Observed
from weir_operator.problems.problem import Problem
from weir_operator.publish.publisher import NotLeading, Published
from weir_operator.run.metrics import Metrics
from weir_router.contract import CompiledConfig

CALM_SECONDS = 0.05
"""Seconds without a change before a round: `kubectl apply -f DIR` sends an object every few milliseconds."""

CALM_MOST = 0.5
"""Seconds after the first change at which a round begins in any case: changes must reach routers within a second."""

CLOCK_CHECK_SECONDS = 30.0
"""Seconds between two checks of the clock, which may be set. They ask the API server nothing."""

RESTORE_SECONDS = 2.0
"""Seconds from a change of published objects, which may be our own, until they are compared with the wanted ones."""

RESTORE_MOST = 5.0
"""Seconds from the first change at which they are compared in any case: a client may write them all the time."""

REFUSED_KEYS_TOLD = 20
"""Lines of a round's log about callers' keys that are refused."""

_log = logging.getLogger("weir_operator.reconcile")


class Listener(Protocol):
    """Gets each round, in the event loop; must be quick. `weir_operator.status.reporter` is one."""

    def published(self, observed: Observed, compiled: Compiled, revision: int) -> None:
        """`compiled`, made of `observed`, is what routers can have, as `revision`."""

    def not_published(self, observed: Observed, compiled: Compiled, failure: str) -> None:
        """`compiled` could not be published; routers have what was before."""


@dataclass(frozen=True)
class Steps:
    """The steps of a round. All but `observed` and `intact` are called in a thread."""

    observed: Callable[[], Observed | None]
    compile: Callable[[Observed], Compiled]
    publish: Callable[[Compiled], Published]  # raises PublishFailed
    intact: Callable[[Published], bool]  # whether this is published, and whole
    due_in: Callable[[], float | None] = lambda: None  # seconds until `compile` may give something else by itself


@dataclass(frozen=True)
class _Round:
    compiled: Compiled
    published: Published | None
    failure: PublishFailed | None


class Reconciler:
    """One leader's rounds. `changed` and `touched` may be called from any thread, the rest from one event loop."""

    def __init__(
        self,
        steps: Steps,
        listeners: tuple[Listener, ...] = (),
        *,
        metrics: Metrics | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._steps = steps
        self._listeners = listeners
        self._metrics = metrics or Metrics()
        self._monotonic = monotonic
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._dirty = False  # something was observed since the last round
        self._wake = asyncio.Event()
        self._failures = 0
        self.trouble = ""
        """Why the last round was not published; empty: it was."""
        self._failing_since: float | None = None  # monotonic; None: what was observed is published
        self._published: Published | None = None
        self._restoring = False  # the next round answers another client's change
        self.contest = Contest("the published ConfigMaps or Secrets")
        self._round_at: float | None = None  # monotonic: when the next round is due by itself
        self._ends_at: float | None = None  # wall clock: when the next override ends
        self._look_at: float | None = None  # monotonic: when to compare what is published
        self._touched_at = 0.0  # monotonic: the first change since the last comparison
        self._refused: frozenset[str] = frozenset()  # Secrets with callers' keys that were refused in the last round
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reconcile")

    @property
    def failing_seconds(self) -> float:
        """Seconds for which applied objects could not be published; 0: they are."""
        return 0.0 if self._failing_since is None else self._monotonic() - self._failing_since

    def changed(self) -> None:
        """Something was observed."""
        self._loop.call_soon_threadsafe(self._changed)

    def _changed(self) -> None:
        self._dirty = True
        self._wake.set()

    def touched(self) -> None:
        """Notes a change of published objects, by us or by a client that should not change them."""
        self._loop.call_soon_threadsafe(self._touched)

    def _touched(self) -> None:
        now = self._monotonic()
        if self._look_at is None:
            self._touched_at = now
        self._look_at = min(now + RESTORE_SECONDS, self._touched_at + RESTORE_MOST)
        self._wake.set()

    async def run(self) -> None:
        """Runs until cancelled. The cancellation waits for writes under way."""
        self._dirty = True
        while True:
            await self._wait()
            await self._calm()
            observed = self._steps.observed()
            if observed is None:
                self._round_at = None  # what it waits for is a change
                continue
            self._tell(observed, await self._round(observed))

    async def _wait(self) -> None:
        """Waits for a reason for a round."""
        while not self._dirty and all(left > 0 for left in self._left()):
            await self._sleep(min((CLOCK_CHECK_SECONDS, *self._left())))
            self._look()

    async def _calm(self) -> None:
        latest = self._monotonic() + CALM_MOST
        while self._dirty and self._monotonic() < latest:
            self._dirty = False
            await self._sleep(CALM_SECONDS)
        self._dirty = False

    async def _sleep(self, seconds: float) -> None:
        """Sleeps for `seconds`, or until it is woken."""
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _left(self) -> Iterator[float]:
        """Seconds until each of the times at which a round is due."""
        now = self._monotonic()
        if self._round_at is not None:
            yield self._round_at - now
        if self._ends_at is not None:
            yield self._ends_at - self._wall()
        if self._look_at is not None:
            yield self._look_at - now
        by_itself = self._steps.due_in()
        if by_itself is not None:
            yield by_itself

    def _look(self) -> None:
        if self._look_at is None or self._look_at > self._monotonic():
            return
        self._look_at = None
        if self._published is None or self._steps.intact(self._published):
            return
        if (wait := self.contest.due_in) > 0:
            self._look_at = self._touched_at = self._monotonic() + wait
            return
        self._restoring = True
        _log.warning("the published config is not revision %d any more: it is written again", self._published.revision)
        self._dirty = True

    async def _round(self, observed: Observed) -> _Round:
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._work, observed)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait({work})  # the next leader must find nothing of ours under way
            raise

    def _work(self, observed: Observed) -> _Round:
        with self._metrics.compile_seconds.time():
            compiled = self._steps.compile(observed)
        try:
            with self._metrics.publish_seconds.time():
                return _Round(compiled, self._steps.publish(compiled), None)
        except PublishFailed as error:
            return _Round(compiled, None, error)
        except Exception as error:  # a bug of ours: what is served goes on, and the next change may be spared it
            _log.exception("publishing failed; this is a bug of Weir")
            return _Round(compiled, None, PublishFailed(f"publishing failed with {type(error).__name__}"))

    def _tell(self, observed: Observed, made: _Round) -> None:
        self._ends_at = next_end(made.compiled.config, self._wall())
        self._tell_refused(made.compiled.problems)
        if made.published is None:
            self._failed(observed, made)
            return
        published, self._failures, self.trouble, self._failing_since = made.published, 0, "", None
        later = published.call_again_in
        self._round_at = None if later is None else self._monotonic() + later
        self._metrics.round("published" if published.written else "unchanged")
        restoring, self._restoring = self._restoring, False
        if published.written:
            if restoring:
                self.contest.restored()
            self._look_at = None  # the mirror is to see it first
            self._touched()
            _log.info("revision %d is published: %d objects written", published.revision, len(published.written))
        self._published = published
        for listener in self._listeners:
            listener.published(observed, made.compiled, published.revision)

    def _tell_refused(self, problems: Iterable[Problem]) -> None:
        """Logs callers' keys that are refused, once: a Secret has no status that could say it."""
        refused = {it.object: it for it in problems if it.object.startswith("Secret/")}
        self._metrics.refused_keys(it.reason for it in refused.values())
        new = sorted(refused.keys() - self._refused)
        for name in new[:REFUSED_KEYS_TOLD]:
            _log.warning("%s: %s. %s", name, refused[name].message, refused[name].action)
        if len(new) > REFUSED_KEYS_TOLD:
            _log.warning("callers' keys of %d more Secrets are refused", len(new) - REFUSED_KEYS_TOLD)
        self._refused = frozenset(refused)

    def _failed(self, observed: Observed, made: _Round) -> None:
        self._failures += 1
        self._round_at = self._monotonic() + backoff(self._failures, random.random())
        if isinstance(made.failure, NotLeading):
            return
        self._metrics.round("failed")
        self._failing_since = self._monotonic() if self._failing_since is None else self._failing_since
        text = str(made.failure)
        if text != self.trouble:
            _log.error("not published: %s. (It is tried again every few seconds; routers keep what they have.)", text)
        self.trouble = text
        for listener in self._listeners:
            listener.not_published(observed, made.compiled, text)


def next_end(config: CompiledConfig, now: float) -> float | None:
    """The time at which the first override ends; None: there is none."""
    return min((it.override.until for it in config.policies if it.override and it.override.until > now), default=None)
