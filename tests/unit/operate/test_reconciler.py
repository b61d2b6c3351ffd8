"""The leader's loop with steps that count their calls; real time only paces it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from support.published import compiled, policy
from weir_operator.compile import Compiled
from weir_operator.kube.contest import AT_ONCE
from weir_operator.kube.store import Kind, ObjectId, PublishFailed
from weir_operator.observe.observed import Observed
from weir_operator.problems.problem import ConditionType, Problem, Reason
from weir_operator.publish.publisher import Published
from weir_operator.run import reconciler
from weir_operator.run.metrics import Metrics
from weir_operator.run.reconciler import Reconciler, Steps, next_end
from weir_router.contract import Override, TierRef

OBSERVED = Observed()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "CALM_SECONDS", 0.002)
    monkeypatch.setattr(reconciler, "RESTORE_SECONDS", 0.002)
    monkeypatch.setattr(reconciler, "backoff", lambda failures, draw: 0.002)


class Stand:
    """Steps, a listener, and their recorded calls."""

    def __init__(self) -> None:
        self.observed: Observed | None = OBSERVED
        self.compiled = compiled()
        self.trouble: Exception | None = None
        self.later: float | None = None
        self.intact = True
        self.publishes = 0
        self.written = False
        self.told: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()
        self.wall = 100.0
        self.metrics = Metrics()
        self.reconciler = Reconciler(
            Steps(lambda: self.observed, lambda _: self.compiled, self._publish, lambda _: self.intact),
            (self,),
            metrics=self.metrics,
            wall=lambda: self.wall,
        )

    def _publish(self, what: Compiled) -> Published:
        self.publishes += 1
        assert self.gate.wait(10)
        if self.trouble is not None:
            raise self.trouble
        written = (ObjectId(Kind.CONFIG_MAP, "weir-index"),) if self.written else ()
        return Published(self.publishes, written, call_again_in=self.later)

    def published(self, observed: Observed, compiled: Compiled, revision: int) -> None:
        self.told.append(revision)

    def not_published(self, observed: Observed, compiled: Compiled, failure: str) -> None:
        self.told.append(failure)

    async def until(self, count: int) -> None:
        """Waits until the listener was called `count` times."""
        async with asyncio.timeout(10):
            while len(self.told) < count:  # noqa: ASYNC110 - nobody else needs an event for it
                await asyncio.sleep(0.001)

    async def rest(self) -> int:
        """The number of publications after a while without any reason to publish."""
        await asyncio.sleep(0.05)
        return self.publishes


@contextlib.asynccontextmanager
async def leading(stand: Stand) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(stand.reconciler.run())
    try:
        yield task
    finally:
        stand.gate.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_term_begins_with_a_round_and_then_rests():
    stand = Stand()
    async with leading(stand):
        await stand.until(1)
        assert (await stand.rest(), stand.told) == (1, [1])


async def test_many_changes_are_one_round():
    stand = Stand()
    async with leading(stand):
        await stand.until(1)
        for _ in range(100):
            stand.reconciler.changed()
        await stand.until(2)
        assert await stand.rest() == 2


async def test_what_changes_during_a_round_is_the_next_one():
    stand = Stand()
    stand.gate.clear()
    async with leading(stand):
        async with asyncio.timeout(10):
            while not stand.publishes:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        stand.reconciler.changed()
        stand.reconciler.changed()
        stand.gate.set()
        await stand.until(2)
        assert await stand.rest() == 2


async def test_nothing_is_published_before_everything_is_known():
    stand = Stand()
    stand.observed = None
    async with leading(stand):
        stand.reconciler.changed()
        assert await stand.rest() == 0
        stand.observed = OBSERVED
        stand.reconciler.changed()
        await stand.until(1)


async def test_a_failure_is_told_and_tried_again():
    stand = Stand()
    stand.trouble = PublishFailed("no room")
    async with leading(stand):
        await stand.until(2)
        assert set(stand.told) == {"no room"}
        stand.trouble = None
        await stand.until(len(stand.told) + 1)
        assert isinstance(stand.told[-1], int)


async def test_since_when_nothing_could_be_published_is_known_until_it_can():
    stand = Stand()
    stand.trouble = PublishFailed("no room")
    async with leading(stand):
        await stand.until(2)
        first = stand.reconciler.failing_seconds
        await stand.until(3)
        assert stand.reconciler.failing_seconds > first > 0
        stand.trouble = None
        await stand.until(len(stand.told) + 1)
        assert stand.reconciler.failing_seconds == 0


async def test_a_bug_in_publishing_is_one_failure_and_not_the_end(caplog: pytest.LogCaptureFixture):
    stand = Stand()
    stand.trouble = KeyError("secret-value")
    async with leading(stand):
        await stand.until(1)
        assert stand.told[0] == "publishing failed with KeyError"


async def test_keys_that_are_refused_are_told_once_and_counted(caplog: pytest.LogCaptureFixture):
    """A Secret has no status for the message."""

    def refused(*names: str) -> Compiled:
        what = (f"Secret/evil/{name}" for name in names)
        problems = (
            Problem(it, "", ConditionType.ACCEPTED, Reason.TOO_LARGE, "it is too large", "Make it smaller.")
            for it in what
        )
        return dataclasses.replace(compiled(), problems=tuple(problems))

    stand = Stand()
    stand.compiled = refused("one")
    async with leading(stand):
        await stand.until(1)
        stand.compiled = refused("one", *(f"k{it:02}" for it in range(30)))
        stand.reconciler.changed()
        await stand.until(2)
    said = [it.message for it in caplog.records if it.levelname == "WARNING"]
    assert said[0] == "Secret/evil/one: it is too large. Make it smaller."
    assert said[1:] == [
        *(f"Secret/evil/k{it:02}: it is too large. Make it smaller." for it in range(20)),
        "callers' keys of 10 more Secrets are refused",
    ]
    shown = stand.metrics.registry.get_sample_value("weir_operator_refused_api_keys", {"reason": "TooLarge"})
    assert shown == 31


async def test_what_may_go_later_is_a_round_later():
    stand = Stand()
    stand.later = 0.01
    async with leading(stand):
        await stand.until(1)
        stand.later = None
        await stand.until(2)
        assert await stand.rest() == 2


async def test_the_end_of_an_override_is_a_round():
    stand = Stand()
    override = Override(tier=TierRef(tier="llm/small"), until=100.01)
    stand.compiled = compiled(policy(override=override))
    async with leading(stand):
        await stand.until(1)
        stand.compiled, stand.wall = compiled(), 100.02
        await stand.until(2)
        assert await stand.rest() == 2


def test_of_several_overrides_the_next_end_counts_and_past_ones_do_not():
    ends = [
        policy(name, override=Override(tier=TierRef(tier="llm/small"), until=until))
        for name, until in (("past", 5.0), ("next", 20.0), ("later", 30.0))
    ]
    config = msgspec.structs.replace(compiled().config, policies=(*ends, policy("none")))
    assert (next_end(config, 10.0), next_end(config, 30.0)) == (20.0, None)


async def test_what_somebody_took_away_is_written_again():
    stand = Stand()
    async with leading(stand):
        await stand.until(1)
        stand.reconciler.touched()
        assert await stand.rest() == 1  # it was our own hand
        stand.intact = False
        stand.reconciler.touched()
        await stand.until(2)


async def test_a_client_that_writes_all_the_time_puts_off_no_restoration(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reconciler, "RESTORE_SECONDS", 30.0)
    monkeypatch.setattr(reconciler, "RESTORE_MOST", 0.1)
    stand = Stand()
    async with leading(stand):
        await stand.until(1)
        stand.intact = False
        async with asyncio.timeout(10):
            while stand.publishes < 2:
                stand.reconciler.touched()
                await asyncio.sleep(0.005)


async def test_a_client_that_takes_it_away_again_and_again_is_named_and_waited_for():
    stand = Stand()
    stand.written = True
    async with leading(stand):
        await stand.until(1)
        stand.intact = False
        await stand.until(AT_ONCE + 1)
        assert await stand.rest() == AT_ONCE + 1
        assert stand.reconciler.contest.due_in > 0


async def test_the_end_of_a_term_waits_for_what_is_being_written():
    stand = Stand()
    stand.gate.clear()
    async with leading(stand) as task:
        async with asyncio.timeout(10):
            while not stand.publishes:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()
        stand.gate.set()
        await asyncio.gather(task, return_exceptions=True)
