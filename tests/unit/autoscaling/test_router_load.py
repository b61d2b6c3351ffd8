"""A router's reports of its load, and when they are news."""

from __future__ import annotations

import asyncio
import random

import pytest
from msgspec.structs import replace

from support.finished import finished
from support.published import VALUES, compiled, tier
from support.virtual import run
from weir_router.admit.queue import Queue, Room
from weir_router.clock import ManualClock
from weir_router.config.store import ConfigStore
from weir_router.contract import TRIED_SECONDS, Priority, Route, RouterLoad, TierRef, Waiting
from weir_router.errors import AttemptRecord, FailureKind
from weir_router.health.board import Board
from weir_router.record.metrics import Metrics
from weir_router.report.report import Busy, Reports, differs

KEY = "llm/small/b0"


class Router:
    """The parts of a router that a report reads."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.board = Board(self.clock, random.Random(0))
        self.metrics = Metrics()
        self.room = Room(Queue(self.clock), 10)
        self.board.configure(compiled(tiers=[tier(values=VALUES)]).config)
        self.reports = Reports("gw-0", ConfigStore(), self.board, self.metrics, self.room, self.clock)

    def outputs(self, tokens: int, backend: str = "b0") -> None:
        """Counts an answer."""
        self.metrics.tokens["team-a", "team-a/p", "all", "llm/small", backend, "", "output"].value += tokens

    def load(self) -> RouterLoad:
        load = self.reports.report().load
        assert load is not None
        return load


def busy(in_flight: int = 0, backend: int = 0, **load: object) -> Busy:
    return Busy(RouterLoad(in_flight=in_flight, **load), {KEY: backend} if backend else {})


def test_attempts_under_way_are_told_per_backend():
    router = Router()
    guard = router.board.begin(KEY, 10)
    assert guard is not None
    found = router.reports.report().backends
    assert (found[KEY].in_flight, found["llm/small/b1"].in_flight) == (1, 0)


def test_who_waits_for_room_and_who_waits_for_a_backend_are_told_apart():
    router = Router()

    async def story() -> RouterLoad:
        keys = frozenset({KEY, "llm/small/b1", "llm/other/b"})
        wait = {"namespace": "team-a", "priority": Priority.NORMAL, "size": 1, "seconds": 5.0}
        waiters = (
            router.room.wait(**wait),
            router.room.queue.wait(keys, lambda: None, lambda _: None, what="", **wait),
            router.room.queue.wait(frozenset({KEY}), lambda: None, lambda _: None, what="", **wait),
        )
        tasks = [asyncio.create_task(it) for it in waiters]
        await asyncio.sleep(2)
        load = router.load()
        for task in tasks:
            task.cancel()
        return load

    load = run(router.clock, story())
    assert load.room == Waiting(depth=1, oldest=2.0)
    assert load.tiers == {"llm/small": Waiting(depth=2, oldest=2.0), "llm/other": Waiting(depth=1, oldest=2.0)}


def test_tokens_per_second_follow_what_is_counted_and_fade_when_nothing_is():
    router = Router()
    for _ in range(60):
        router.clock.advance(2)
        router.outputs(200)
        router.outputs(20, "b1")
        found = router.reports.report()
    assert found.backends[KEY].tokens_per_second == pytest.approx(100, rel=0.01)
    assert found.load is not None
    assert found.load.tokens_per_second == pytest.approx(110, rel=0.01)
    router.clock.advance(30)
    assert 5 < router.load().tokens_per_second < 20
    router.clock.advance(600)
    assert router.load().tokens_per_second == 0


def test_two_reports_in_one_moment_are_one_sample():
    router = Router()
    router.clock.advance(15)
    router.outputs(150)
    first = router.load().tokens_per_second
    assert first == pytest.approx(6.3, abs=0.1)
    assert router.load().tokens_per_second == first


def test_nothing_is_news_before_the_first_report_and_while_nothing_changes():
    router = Router()
    assert not router.reports.news()
    router.reports.report()
    assert not router.reports.news()


def test_a_request_after_none_is_news_once_and_so_is_the_last_one_that_ends():
    router = Router()
    router.reports.report()
    assert router.room.enter("team-a")
    assert router.reports.news()
    router.reports.report()
    assert not router.reports.news()
    router.room.leave("team-a")
    assert router.reports.news()


@pytest.mark.parametrize(
    ("was", "now", "news"),
    [
        (busy(3), busy(4), False),
        (busy(3), busy(5), True),
        (busy(100), busy(109), False),
        (busy(100), busy(110), True),
        (busy(100), busy(90), True),
        (busy(5, backend=5), busy(5, backend=8), True),
        (busy(5), busy(5, backend=1), True),
        (busy(5, backend=1), busy(5), True),
        (busy(room=Waiting(1, 0.1)), busy(room=Waiting(1, 0.9)), False),
        (busy(room=Waiting(1, 0.1)), busy(room=Waiting(1, 1.2)), True),
        (busy(), busy(tiers={"llm/small": Waiting(1, 0.0)}), True),
        (busy(tiers={"llm/small": Waiting(1, 0.0)}), busy(), True),
        (busy(tokens_per_second=50), busy(tokens_per_second=59), False),
        (busy(tokens_per_second=50), busy(tokens_per_second=60), True),
    ],
)
def test_what_differs_by_a_scalers_tolerance_is_news(was: Busy, now: Busy, news: bool):
    assert differs(was, now) is news


def test_tokens_are_counted_by_backend_and_told_of_its_endpoints_in_equal_shares():
    router = Router()
    backend = tier().backends[0]
    pods = tuple(replace(backend, endpoint=f"10.0.0.{number}:80", base_url=f"http://{number}") for number in (1, 2))
    router.board.configure(compiled(tiers=[replace(tier(), backends=pods)]).config)
    router.clock.advance(15)
    router.outputs(150)
    found = router.reports.report().backends
    assert list(found) == ["llm/small/b0@10.0.0.1:80", "llm/small/b0@10.0.0.2:80"]
    assert {it.tokens_per_second for it in found.values()} == {3.2}


def test_a_backend_is_told_as_tried_and_failing_with_the_words_of_its_last_failure():
    router = Router()
    for number in range(3):
        guard = router.board.begin(KEY, 10)
        assert guard is not None
        guard.failed(FailureKind.MODEL, words=f"model: no such model {number}")
    found = router.reports.report().backends
    it, other = found[KEY], found["llm/small/b1"]
    assert (it.tried, it.failing, it.words) == (True, 3, "model: no such model 2")
    assert (other.tried, other.failing, other.words) == (False, 0, "")


def test_the_first_try_of_a_backend_and_the_first_fall_of_a_policy_are_news_until_they_are_forgotten():
    router = Router()
    router.reports.report()
    guard = router.board.begin(KEY, 10)
    assert guard is not None
    guard.succeeded(1)
    assert router.reports.news()
    router.reports.report()
    assert not router.reports.news()
    both = (Route(name="r", tiers=(TierRef(tier="llm/first"), TierRef(tier="llm/t"))),)
    attempts = [AttemptRecord("llm/first", "b", "connect", 0.1), AttemptRecord("llm/t", "b", "ok", 0.1)]
    for news in (True, False):
        ended = finished(routes=both, attempts=attempts)
        assert ended.decision is not None
        now = replace(ended.decision, now=router.clock.monotonic())
        router.metrics.observe(finished(routes=both, attempts=attempts, decision=now))
        assert router.reports.news() is news
        assert router.reports.report().policies.keys() == {"a/p"}
    router.clock.advance(TRIED_SECONDS + 1)
    assert router.reports.news()
    found = router.reports.report()
    assert (found.policies, found.backends[KEY].tried, router.reports.news()) == ({}, False, False)


def test_a_sidecar_tells_only_of_backends_that_it_uses_or_that_are_ill():
    router = Router()
    parts = (router.board, router.metrics, router.room, router.clock)
    reports = Reports("app", ConfigStore(), *parts, whole=False)
    assert reports.report().backends == {}
    guard = router.board.begin(KEY, 10)
    assert guard is not None
    assert list(reports.report().backends) == [KEY]
    guard.cancelled()
    router.metrics.attempts["llm/small", "b1", "ok"].value += 1
    assert list(reports.report().backends) == ["llm/small/b1"]


def test_a_sidecar_tells_of_an_endpoint_that_it_has_tried_although_metrics_count_its_service():
    router = Router()
    backend = tier().backends[0]
    pods = tuple(replace(backend, endpoint=f"10.0.0.{number}:80", base_url=f"http://{number}") for number in (1, 2))
    router.board.configure(compiled(tiers=[replace(tier(), backends=pods)]).config)
    parts = (router.board, router.metrics, router.room, router.clock)
    guard = router.board.begin("llm/small/b0@10.0.0.1:80", 10)
    assert guard is not None
    guard.succeeded(1)
    found = Reports("app", ConfigStore(), *parts, whole=False).report().backends
    assert {key: it.tried for key, it in found.items()} == {"llm/small/b0@10.0.0.1:80": True}
