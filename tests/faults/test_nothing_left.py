"""If no backend can answer, the caller gets one error at once: the attempts, the Retry-After, and the fault."""

import asyncio

import pytest
from msgspec.structs import replace

from support.callers import SHAPES, becomes, in_flight, one, settled, shapes_at_once, trail_of
from support.stand import stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.clock import ManualClock
from weir_router.contract import BackendLimits, BackendState, Dialect, Failover, Timeouts

ALONE = [SimModel("a")]
TWO = [SimModel("a")], [SimModel("b")]


async def test_a_long_retry_after_is_kept_and_the_sdk_told_not_to_wait():
    async with stand(ALONE) as s:
        s.sim.fault("a", Fault(FaultKind.RATE_LIMIT, retry_after=3600))
        first, second = await one(s), await one(s)
        assert (first.status, second.status) == (429, 429)
        assert second.headers["x-should-retry"] == "false"
        assert second.headers["retry-after"] == "120"
        assert s.sim.stats["a"].requests == 1  # not asked again
        assert second.seconds < 0.2


async def test_a_short_retry_after_is_handed_on():
    async with stand(ALONE, clock=ManualClock()) as s:
        s.sim.fault("a", Fault(FaultKind.RATE_LIMIT, retry_after=7))
        for _ in range(2):
            answer = await one(s)
            assert (answer.status, answer.headers["retry-after"], answer.headers["x-should-retry"]) == (
                429,
                "7",
                "true",
            )
        assert s.sim.stats["a"].requests == 1


async def test_a_retry_after_sends_the_next_requests_elsewhere_until_it_is_over():
    clock = ManualClock()
    async with stand(*TWO, clock=clock) as s:
        s.sim.fault("a", Fault(FaultKind.RATE_LIMIT, retry_after=30, count=1))
        assert await trail_of(s, await one(s)) == [("a", "rate_limit"), ("b", "ok")]
        assert await trail_of(s, await one(s)) == [("b", "ok")]
        clock.advance(31)
        assert await trail_of(s, await one(s)) == [("a", "ok")]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault(FaultKind.RATE_LIMIT, retry_after=1, count=1), "rate_limit"),
        (Fault(FaultKind.SERVER_ERROR, count=1), "server"),
    ],
)
async def test_with_a_tier_delay_a_short_trouble_of_the_cheaper_tier_is_waited_out_there(fault, outcome):
    async with stand(*TWO, failover=Failover(tier_delay=3.0)) as s:
        s.sim.fault("a", fault)
        assert await trail_of(s, await one(s)) == [("a", outcome), ("a", "ok")]
        assert s.sim.stats["b"].requests == 0


OUR_FAULT = [
    FaultKind.UNAUTHORIZED,
    FaultKind.INSUFFICIENT_QUOTA,
    FaultKind.PAYMENT_REQUIRED,
    FaultKind.FORBIDDEN,
    FaultKind.NOT_FOUND,
]


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("kind", OUR_FAULT)
async def test_refused_credentials_are_a_502_and_out_for_a_minute(kind, dialect):
    clock = ManualClock()
    async with stand([SimModel("a", dialect=dialect)], clock=clock) as s:
        s.sim.fault("a", Fault(kind))
        answers = await shapes_at_once(s)
        await becomes(lambda: s.router.board.view()["llm/t0/a"].state == "ejected")
        for answer in [*answers, *await shapes_at_once(s)]:
            no_model = kind is FaultKind.NOT_FOUND or (kind, dialect) == (FaultKind.FORBIDDEN, Dialect.OPENAI)
            no_credit = kind in (FaultKind.INSUFFICIENT_QUOTA, FaultKind.PAYMENT_REQUIRED)
            code = "upstream_model_missing" if no_model else "upstream_credit" if no_credit else "upstream_credentials"
            assert (answer.status, answer.error["code"]) == (502, code)
            assert answer.headers["x-should-retry"] == "false"
        assert s.sim.stats["a"].requests == 5  # those at once and the router's own request; no others
        s.sim.clear()
        clock.advance(61)
        assert (await one(s)).ended


async def test_one_out_for_credentials_and_one_ill_is_a_503():
    async with stand(*TWO) as s:
        s.sim.fault("a", Fault(FaultKind.UNAUTHORIZED))
        s.sim.fault("b", Fault(FaultKind.UNAVAILABLE))
        assert (await one(s)).status == 503


async def test_a_draining_backend_does_not_hide_that_credentials_are_to_blame():
    async with stand(*TWO, changes={"b": {"state": BackendState.DRAINING}}) as s:
        s.sim.fault("a", Fault(FaultKind.UNAUTHORIZED))
        assert [(await one(s)).status, (await one(s)).status] == [502, 502]


async def test_a_new_credential_ends_the_ejection_at_once():
    async with stand(ALONE) as s:
        s.sim.fault("a", Fault(FaultKind.UNAUTHORIZED, count=1))
        assert (await one(s)).status == 502
        s.secrets.credentials["rotated"] = "sk-new"
        s.apply(with_backend(s.config, "llm/t0", credential="rotated"))
        assert (await one(s)).ended
        assert s.sim.requests("a")[-1].headers["authorization"] == "Bearer sk-new"


def with_backend(config, tier, **changes):
    """The config, with changes to the only backend of a tier."""
    old = config.tiers[tier]
    changed = replace(old, backends=(replace(old.backends[0], **changes),))
    return replace(config, revision=config.revision + 1, tiers={**config.tiers, tier: changed})


async def test_attempts_are_bounded():
    models = [[SimModel(name)] for name in "abcd"]
    async with stand(*models, failover=Failover(attempts=2)) as s:
        s.sim.fault("*", Fault(FaultKind.UNAVAILABLE))
        answer = await one(s)
        assert await trail_of(s, answer) == [("a", "overload"), ("b", "overload")]
        assert "2 attempts were made" in answer.error["message"]
        assert [attempt["backend"] for attempt in answer.error["attempts"]] == ["a", "b"]


@pytest.mark.parametrize("kind", [FaultKind.SILENCE, FaultKind.SLOW_FIRST_TOKEN, FaultKind.BYTE_DRIP, FaultKind.PINGS])
async def test_the_deadline_bounds_the_time_to_the_first_content(kind):
    async with stand(*TWO, failover=Failover(deadline=0.4)) as s:
        s.sim.fault("*", Fault(kind, seconds=2.0))
        for answer in await shapes_at_once(s):
            assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
            assert 0.35 < answer.seconds < 1.0
        await settled(s)


async def test_the_deadline_does_not_bound_the_stream():
    model = SimModel("a", tokens_per_second=50, answer_tokens=40)
    async with stand([model], failover=Failover(deadline=0.3)) as s:
        answer = await one(s, stream=True)
        assert answer.ended
        assert answer.seconds > 0.5


async def test_everything_out_fails_fast_with_the_soonest_return():
    clock = ManualClock()
    async with stand(*TWO, clock=clock) as s:
        s.sim.fault("a", Fault(FaultKind.UNAVAILABLE, retry_after=40))
        s.sim.fault("b", Fault(FaultKind.UNAVAILABLE, retry_after=20))
        await one(s)
        clock.advance(5)
        answer = await one(s)
        assert answer.error["attempts"] == []
        assert (answer.status, answer.headers["retry-after"]) == (503, "15")
        assert "llm/t0/a: closed because of overload, available in 35.0 s" in answer.error["message"]
        assert s.sim.stats["a"].requests == s.sim.stats["b"].requests == 1


async def test_the_same_backend_once_more_where_there_is_no_other_and_the_failure_may_pass():
    async with stand(ALONE) as s:
        s.sim.fault("a", Fault(FaultKind.RESET, count=1))
        answer = await one(s)
        assert answer.ended
        assert await trail_of(s, answer) == [("a", "reset"), ("a", "ok")]


@pytest.mark.parametrize(("kind", "status"), [(FaultKind.SILENCE, 504), (FaultKind.RATE_LIMIT, 429)])
async def test_but_not_where_it_would_not(kind, status):
    changes = {"a": {"timeouts": Timeouts(ttft=0.1)}}
    async with stand(ALONE, changes=changes, failover=Failover(deadline=0.5)) as s:
        s.sim.fault("a", Fault(kind, count=1))
        assert (await one(s)).status == status
        assert s.sim.stats["a"].requests == 1


async def test_too_long_a_prompt_goes_only_to_a_larger_context():
    sizes = {"a": 8_000, "b": 4_000, "c": 8_000, "d": 32_000}
    changes = {name: {"limits": BackendLimits(context_tokens=size)} for name, size in sizes.items()}
    async with stand(*([SimModel(name)] for name in sizes), changes=changes) as s:
        s.sim.fault("a", Fault(FaultKind.CONTEXT_LENGTH))
        assert await trail_of(s, await one(s)) == [("a", "context_length"), ("d", "ok")]
        s.sim.fault("d", Fault(FaultKind.CONTEXT_LENGTH))
        answer = await one(s)
        assert (answer.status, answer.headers["x-should-retry"]) == (400, "false")


async def test_a_backend_at_its_concurrency_is_passed_by_and_all_are_given_back():
    models = [SimModel("a", ttft=0.2)], [SimModel("b", ttft=0.2)]
    async with stand(*models, changes={"a": {"limits": BackendLimits(concurrency=2)}}) as s:
        answers = await asyncio.gather(*(one(s, dialect, stream=stream) for dialect, stream in SHAPES * 2))
        assert all(answer.ended for answer in answers)
        assert (s.sim.stats["a"].requests, s.sim.stats["b"].requests) == (2, 6)
        await settled(s)
        assert in_flight(s) == 0
