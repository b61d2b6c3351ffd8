"""`failover.tierDelay`: a request waits for the cheaper tier before a dearer one pays. And accidents: one 500 of a
backend that is otherwise well.
"""

import pytest

from support.decisions import CALLER
from weir_router.call.patience import EARLY
from weir_router.contract import Failover
from weir_router.decide.types import Seen, Skipped
from weir_router.errors import FailureKind
from weir_router.health.guard import RELIABLE

from .conftest import fails, refused, stream

PATIENT = Failover(tier_delay=3.0)
OUT = Skipped("t/t", "a", "paused", "t/t/a", seen=Seen(available_at=2.0, reason="rate_limit"))


def trail(journey):
    return [(record.backend, record.outcome) for record in journey.trail]


def about(*waits):
    return [pytest.approx(wait + EARLY) for wait in waits]


async def test_a_short_retry_after_is_waited_out_at_the_cheaper_tier(world, slept):
    world.answers.update(a=[fails(FailureKind.RATE_LIMIT, retry_after=2), stream()], b=[])
    journey = world.journey(bounds=PATIENT, dear="b")
    await journey.commit()
    assert trail(journey) == [("a", "rate_limit"), ("a", "ok")]
    assert slept == about(2.0)


@pytest.mark.parametrize("kind", [FailureKind.SERVER, FailureKind.CONNECT, FailureKind.OVERLOAD, FailureKind.RESET])
async def test_a_blip_of_the_cheaper_tier_is_tried_again_there(world, slept, kind):
    world.answers.update(a=[fails(kind), stream()], b=[])
    journey = world.journey(bounds=PATIENT, dear="b")
    await journey.commit()
    assert trail(journey) == [("a", kind), ("a", "ok")]
    assert slept == about(0.5)


async def test_another_backend_of_the_cheaper_tier_comes_first_and_without_a_wait(world, slept):
    world.answers.update(a=[fails(FailureKind.RATE_LIMIT, retry_after=2)], b=[stream()], c=[])
    journey = world.journey(bounds=PATIENT, dear="c")
    await journey.commit()
    assert trail(journey) == [("a", "rate_limit"), ("b", "ok")]
    assert slept == []


async def test_the_last_attempt_is_left_for_the_dearer_tier(world, slept):
    world.answers.update(a=[fails(FailureKind.SERVER)] * 2, b=[stream()])
    journey = world.journey(bounds=PATIENT, dear="b")
    await journey.commit()
    assert trail(journey) == [("a", "server"), ("a", "server"), ("b", "ok")]
    assert slept == about(0.5)


async def test_all_waits_of_a_request_together_are_no_longer(world, slept):
    world.answers.update(a=[fails(FailureKind.RATE_LIMIT, retry_after=2)] * 2, b=[stream()])
    journey = world.journey(bounds=Failover(attempts=9, tier_delay=3.0), dear="b")
    await journey.commit()
    assert trail(journey) == [("a", "rate_limit"), ("a", "rate_limit"), ("b", "ok")]
    assert slept == about(2.0)


@pytest.mark.parametrize(
    ("failure", "bounds"),
    [
        (fails(FailureKind.RATE_LIMIT, retry_after=2), Failover()),
        (fails(FailureKind.RATE_LIMIT, retry_after=4), PATIENT),
        (fails(FailureKind.RATE_LIMIT), PATIENT),
        (fails(FailureKind.OVERLOAD, retry_after=4), PATIENT),
        (fails(FailureKind.SILENT), PATIENT),
        (refused(401), PATIENT),
        (fails(FailureKind.RATE_LIMIT, retry_after=2), Failover(tier_delay=3.0, deadline=1.5)),
        (fails(FailureKind.RATE_LIMIT, retry_after=2), Failover(tier_delay=3.0, attempts=2)),
    ],
)
async def test_no_wait_where_it_is_not_wanted_or_would_not_help(world, slept, failure, bounds):
    world.answers.update(a=[failure], b=[stream()])
    journey = world.journey(bounds=bounds, dear="b")
    await journey.commit()
    assert [backend for backend, _ in trail(journey)] == ["a", "b"]
    assert slept == []


async def test_an_open_breaker_is_no_blip(world, slept):
    world.answers.update(a=[fails(FailureKind.SERVER)], b=[stream()])
    journey = world.journey(bounds=PATIENT, dear="b")
    for _ in range(4):
        world.board.begin("t/t/a", 10).failed(FailureKind.SERVER)
    await journey.commit()
    assert trail(journey) == [("a", "server"), ("b", "ok")]
    assert slept == []


async def test_without_retry_budget_the_dearer_tier_is_tried_at_once(world, slept):
    world.answers.update(a=[fails(FailureKind.SERVER)], b=[stream()])
    while world.budget.take(CALLER.namespace):
        pass
    journey = world.journey(bounds=PATIENT, dear="b")
    await journey.commit()
    assert trail(journey) == [("a", "server"), ("b", "ok")]
    assert slept == []


async def test_a_request_that_comes_during_a_retry_after_waits_for_its_end(world, slept):
    world.answers.update(a=[stream()], b=[])
    journey = world.journey(bounds=PATIENT, dear="b", out="a", back="a", skipped=(OUT,))
    world.board.begin("t/t/a", 10).failed(FailureKind.RATE_LIMIT, 2.0)
    await journey.commit()
    assert trail(journey) == [("a", "ok")]
    assert slept == about(2.0)


async def test_a_backend_that_is_still_out_after_the_wait_is_left(world, slept):
    world.answers.update(a=[], b=[stream()])
    journey = world.journey(bounds=PATIENT, dear="b", out="a", back="", skipped=(OUT,))
    world.board.begin("t/t/a", 10).failed(FailureKind.RATE_LIMIT, 2.0)
    await journey.commit()
    assert trail(journey) == [("b", "ok")]


def was_well(world, answers=RELIABLE):
    for _ in range(answers):
        world.board.begin("t/t/a", 10).succeeded(1)


async def test_a_500_of_a_backend_that_was_well_is_tried_there_once_more_first(world, slept):
    world.answers.update(a=[refused(500), stream()], b=[])
    journey = world.journey()
    was_well(world)
    await journey.commit()
    assert trail(journey) == [("a", "server"), ("a", "ok")]
    assert slept == []


async def test_twice_is_no_accident(world, slept):
    world.answers.update(a=[refused(500), refused(500)], b=[stream()])
    journey = world.journey()
    was_well(world)
    await journey.commit()
    assert trail(journey) == [("a", "server"), ("a", "server"), ("b", "ok")]


@pytest.mark.parametrize(
    ("answers", "failure", "bounds"),
    [
        (RELIABLE - 1, FailureKind.SERVER, Failover()),
        (RELIABLE, FailureKind.OVERLOAD, Failover()),
        (RELIABLE, FailureKind.SERVER, Failover(attempts=2)),
    ],
)
async def test_what_is_no_accident_goes_elsewhere_at_once(world, answers, failure, bounds):
    world.answers.update(a=[fails(failure)], b=[stream()])
    journey = world.journey(bounds=bounds)
    was_well(world, answers)
    await journey.commit()
    assert trail(journey) == [("a", failure), ("b", "ok")]


async def test_an_accident_costs_retry_budget(world):
    world.answers.update(a=[refused(500)], b=[stream()])
    journey = world.journey()
    was_well(world)
    while world.budget.take(CALLER.namespace):
        pass
    await journey.commit()
    assert trail(journey) == [("a", "server"), ("b", "ok")]
