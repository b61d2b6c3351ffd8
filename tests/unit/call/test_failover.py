"""The retry loop over a scripted transport: the consequence of each failure for the request."""

import asyncio
import math
import time

import pytest

from support.decisions import CALLER
from weir_router.call.verdict import MEANING
from weir_router.contract import (
    Backend,
    BackendLimits,
    Dialect,
    Failover,
    Limit,
    Priority,
    Queue,
    TierRef,
    Timeouts,
    Transport,
)
from weir_router.decide.types import Seen, Skipped
from weir_router.errors import (
    AttemptFailed,
    CredentialsExhausted,
    DeadlineExceeded,
    FailureKind,
    Overloaded,
    RateLimited,
    Unavailable,
    UpstreamRefused,
)

from .conftest import CONTENT, fails, refused, stream


def trail(journey):
    return [(record.backend, record.outcome) for record in journey.trail]


def test_every_failure_has_a_meaning():
    assert set(MEANING) == set(FailureKind)


async def test_the_first_candidate_that_answers_is_the_answer(world):
    world.answers.update(a=[fails(FailureKind.CONNECT)], b=[stream()], c=[])
    journey = world.journey()
    attempt = await journey.commit()
    assert trail(journey) == [("a", "connect"), ("b", "ok")]
    assert b"hello" in attempt.body
    assert [a.candidate.backend.name for a in journey.spent] == ["a"]


@pytest.mark.parametrize("kind", [FailureKind.SERVER, FailureKind.RESET, FailureKind.MALFORMED, FailureKind.TRUNCATED])
async def test_what_may_pass_is_tried_once_more_after_the_others(world, kind):
    world.answers.update(a=[fails(kind), stream()], b=[fails(FailureKind.CONNECT)])
    journey = world.journey()
    await journey.commit()
    assert trail(journey) == [("a", kind), ("b", "connect"), ("a", "ok")]


async def test_never_twice_more_at_once_and_then_a_few_times_with_back_off(world, slept):
    world.answers.update(a=[fails(FailureKind.RESET)] * 5)
    journey = world.journey(bounds=Failover(attempts=9))
    with pytest.raises(Unavailable):
        await journey.commit()
    assert trail(journey) == [("a", "reset")] * 5
    assert slept == [0.5, 1.0, 2.0]


async def test_the_callers_fault_ends_it_in_the_upstreams_words(world):
    world.answers.update(a=[refused(422, type="invalid_request_error", code="bad_tool", param="tools")], b=[])
    with pytest.raises(UpstreamRefused) as caught:
        await world.journey().commit()
    assert (caught.value.status, caught.value.code, caught.value.param) == (422, "bad_tool", "tools")
    assert caught.value.retry_after is None


async def test_what_weir_added_is_taken_back_and_costs_neither_try_nor_budget(world):
    world.answers.update(a=[refused(400, param="stream_options"), stream()])
    while world.budget.take(CALLER.namespace):
        pass
    journey = world.journey(streamed=True, bounds=Failover(attempts=1))
    await journey.commit()
    assert trail(journey) == [("a", "added"), ("a", "ok")]
    assert ["stream_options" in body for _, body in world.transport.sent] == [True, False]


async def test_an_account_that_is_refused_after_a_correction_is_still_only_the_accounts_fault(world):
    world.answers.update(a=[refused(400, param="stream_options"), refused(401)])
    with pytest.raises(CredentialsExhausted):
        await world.journey(streamed=True).commit()


async def test_too_long_a_prompt_goes_past_what_is_not_larger(world):
    world.answers.update(a=[refused(400, code="context_length_exceeded")], b=[], c=[stream()])
    sizes = {name: {"limits": BackendLimits(context_tokens=n)} for name, n in {"a": 8, "b": 8, "c": 32}.items()}
    journey = world.journey(**sizes)
    await journey.commit()
    assert trail(journey) == [("a", "context_length"), ("c", "ok")]


async def test_an_empty_budget_stops_retries_to_what_is_not_healthy(world):
    world.answers.update(a=[fails(FailureKind.RESET)], b=[])
    journey = world.journey()
    world.board.begin("t/t/b", 10).failed(FailureKind.SERVER)
    while world.budget.take(CALLER.namespace):
        pass
    with pytest.raises(Unavailable, match="retry budget"):
        await journey.commit()


async def test_an_empty_budget_does_not_keep_a_request_from_a_healthy_backend(world):
    world.answers.update(a=[fails(FailureKind.RESET)], b=[stream()])
    while world.budget.take(CALLER.namespace):
        pass
    journey = world.journey()
    await journey.commit()
    assert trail(journey) == [("a", "reset"), ("b", "ok")]


async def test_an_empty_budget_passes_over_the_ill_backend_and_reaches_the_healthy_one(world):
    world.answers.update(a=[fails(FailureKind.RESET)], b=[], c=[stream()])
    journey = world.journey(b={}, c={})
    world.board.begin("t/t/b", 10).failed(FailureKind.SERVER)
    while world.budget.take(CALLER.namespace):
        pass
    await journey.commit()
    assert trail(journey) == [("a", "reset"), ("c", "ok")]


async def test_a_backend_that_cannot_be_taken_costs_no_budget(world):
    world.answers.update(a=[fails(FailureKind.RESET)], b=[], c=[stream()])
    journey = world.journey(b={"limits": BackendLimits(concurrency=1)})
    held = world.board.begin("t/t/b", 10)
    before = world.budget.tokens
    await journey.commit()
    assert trail(journey) == [("a", "reset"), ("c", "ok")]
    assert world.budget.tokens >= before
    held.cancelled()


async def test_the_deadline_is_over_before_the_next_try(world):
    world.answers.update(a=[fails(FailureKind.RESET)], b=[stream()])
    journey = world.journey(bounds=Failover(deadline=0.0))
    with pytest.raises(DeadlineExceeded) as caught:
        await journey.commit()
    assert [record.backend for record in caught.value.trail] == ["a"]


async def test_a_grants_limit_is_the_answer_when_nothing_was_tried(world):
    world.answers.update(a=[])
    limit = Limit(key="grant", in_flight=0)
    with pytest.raises(RateLimited):
        await world.journey(limits=(limit,)).commit()
    assert world.board.view()["t/t/a"].pending == 0


async def test_an_error_names_everyone_who_was_tried_and_gives_everything_back(world):
    world.answers.update(a=[fails(FailureKind.CONNECT)], b=[refused(503)], c=[refused(429)])
    with pytest.raises(Unavailable) as caught:
        await world.journey().commit()
    assert caught.value.message.count("t/t/") == 3
    assert [view.pending for view in world.board.view().values()] == [0, 0, 0]


async def test_a_plain_answer_that_breaks_half_way_is_paid_for_and_made_elsewhere(world):
    world.answers.update(a=[stream(CONTENT, AttemptFailed(FailureKind.RESET, "gone"))], b=[stream()])
    journey = world.journey()
    await journey.commit()
    assert trail(journey) == [("a", "reset"), ("b", "ok")]
    assert (journey.spent[0].usage.output, journey.spent[0].usage.estimated) == (1, True)


async def test_a_refused_addition_is_remembered_once_the_upstream_took_the_request_without_it(world):
    world.answers.update(a=[refused(400, param="stream_options"), stream(), stream()])
    await world.journey(streamed=True).commit()
    journey = world.journey(streamed=True)
    await journey.commit()
    assert trail(journey) == [("a", "ok")]
    assert ["stream_options" in body for _, body in world.transport.sent] == [True, False, False]


async def test_an_addition_that_is_not_at_fault_is_asked_for_again(world):
    """The upstream quotes a caller's value, and refuses the request without the addition, too."""
    quoting = {"message": "Invalid value for `tool_choice`, 'input': 'stream_options'"}
    world.answers.update(a=[refused(400, **quoting), refused(400, **quoting), stream()])
    with pytest.raises(UpstreamRefused):
        await world.journey(streamed=True).commit()
    await world.journey(streamed=True).commit()
    assert ["stream_options" in body for _, body in world.transport.sent] == [True, False, True]


TEMPERATURE = {"param": "temperature", "code": "unsupported_value", "message": "Only the default (1) is supported."}
TOOLS = {"message": "registry.example/gemma3:latest does not support tools"}


async def test_a_tuning_field_that_the_model_refuses_is_left_out_and_named(world):
    world.answers.update(a=[refused(400, **TEMPERATURE), stream(), stream()], b=[])
    for outcomes in (["unfit", "ok"], ["ok"]):
        journey = world.journey(temperature=0.5)
        attempt = await journey.commit()
        assert [outcome for _, outcome in trail(journey)] == outcomes
        assert attempt.headers["x-weir-dropped"] == "temperature"
        assert journey.trail[-1].dropped == ("temperature",)
    assert ["temperature" in body for _, body in world.transport.sent] == [True, False, False]


async def test_a_request_that_does_not_have_the_refused_field_loses_nothing(world):
    world.answers.update(a=[refused(400, **TEMPERATURE), stream(), stream()])
    await world.journey(temperature=0.5).commit()
    assert "x-weir-dropped" not in (await world.journey().commit()).headers


async def test_a_field_with_another_name_is_renamed(world):
    refusal = refused(400, param="max_tokens", code="unsupported_parameter")
    world.answers.update(a=[refusal, stream(), stream()])
    for _ in range(2):
        attempt = await world.journey(max_tokens=50).commit()
        assert "x-weir-dropped" not in attempt.headers
    assert [body.get("max_completion_tokens") for _, body in world.transport.sent] == [None, 50, 50]


async def test_what_a_model_lacks_another_answers_and_no_try_is_spent(world):
    world.answers.update(a=[refused(400, **TOOLS)], b=[refused(422, **TOOLS)], c=[stream()])
    while world.budget.take("n"):
        pass
    journey = world.journey(bounds=Failover(attempts=1))
    await journey.commit()
    assert trail(journey) == [("a", "unfit"), ("b", "unfit"), ("c", "ok")]
    assert all(world.board.view()[f"t/t/{name}"].healthy for name in "ab")


async def test_where_every_model_refuses_the_caller_sees_the_last_refusal(world):
    world.answers.update(a=[refused(400, **TOOLS)], b=[refused(422, **{**TOOLS, "type": "last"})])
    with pytest.raises(UpstreamRefused) as caught:
        await world.journey().commit()
    assert (caught.value.status, caught.value.upstream_kind) == (422, "last")
    assert "does not support tools" in caught.value.message


async def test_a_refusal_does_not_hide_that_another_backend_is_ill(world, slept):
    world.answers.update(a=[refused(400, **TOOLS)], b=[fails(FailureKind.OVERLOAD, status=503)] * 3)
    with pytest.raises(Unavailable):
        await world.journey().commit()


async def test_the_ttft_deadline_is_what_the_backend_says(world):
    world.answers.update(a=[stream(None)], b=[stream()])
    world.clock.monotonic = time.monotonic
    journey = world.journey(a={"timeouts": Timeouts(ttft=0.05)})
    await journey.commit()
    assert trail(journey) == [("a", "silent"), ("b", "ok")]


@pytest.mark.parametrize("kind", [FailureKind.OVERLOAD, FailureKind.CONNECT])
async def test_a_blip_of_the_only_backend_is_ridden_out(world, slept, kind):
    world.answers.update(a=[fails(kind), fails(kind), stream()])
    journey = world.journey()
    await journey.commit()
    assert trail(journey) == [("a", kind), ("a", kind), ("a", "ok")]
    assert slept == [0.5, 1.0]


async def test_a_blip_is_ridden_out_where_the_upstream_says_when_it_is_over(world, slept):
    world.answers.update(
        a=[fails(FailureKind.OVERLOAD, retry_after=9)], b=[fails(FailureKind.OVERLOAD, retry_after=1.5), stream()]
    )
    journey = world.journey()
    await journey.commit()
    assert trail(journey) == [("a", "overload"), ("b", "overload"), ("b", "ok")]
    assert slept == [1.5]


@pytest.mark.parametrize(
    ("failure", "more"),
    [
        (fails(FailureKind.OVERLOAD, retry_after=9), {}),
        (fails(FailureKind.OVERLOAD), {"bounds": Failover(attempts=1)}),
        (fails(FailureKind.OVERLOAD), {"bounds": Failover(deadline=0.4)}),
        (fails(FailureKind.SILENT), {}),
    ],
)
async def test_what_is_no_blip_ends_at_once(world, slept, failure, more):
    world.answers.update(a=[failure])
    with pytest.raises(Unavailable):
        await world.journey(**more).commit()
    assert slept == []


async def test_a_blip_costs_retry_budget_and_the_sdk_may_try_again(world, slept):
    world.answers.update(a=[fails(FailureKind.OVERLOAD)])
    journey = world.journey()
    while world.budget.take(CALLER.namespace):
        pass
    with pytest.raises(Unavailable, match="retry budget") as caught:
        await journey.commit()
    assert (caught.value.retry_helps, caught.value.retry_after) == (True, 1.0)


async def test_the_last_candidate_may_use_what_is_left_of_the_deadline(world):
    world.answers.update(a=[stream(None)], b=[stream(None)])
    world.clock.monotonic = time.monotonic
    start = time.monotonic()
    quick = {"timeouts": Timeouts(ttft=0.05)}
    journey = world.journey(bounds=Failover(deadline=0.6), a=quick, b=quick)
    with pytest.raises(DeadlineExceeded):
        await journey.commit()
    assert trail(journey) == [("a", "silent"), ("b", "silent")]
    assert time.monotonic() - start >= 0.6


async def test_who_is_full_or_has_no_further_try_is_no_other(world):
    world.answers.update(a=[], b=[])
    candidates = world.journey(b={"limits": BackendLimits(concurrency=1)})._candidates
    assert candidates.available("t/t/a")
    with_slot = world.board.begin("t/t/b", 10)
    assert not candidates.available("t/t/a")
    with_slot.cancelled()
    candidates.last = True
    assert not candidates.available("t/t/a")


async def test_who_comes_back_during_a_try_is_another(world):
    world.answers.update(a=[], b=[])
    out = Skipped("t/t", "b", "open", "t/t/b", seen=Seen())
    candidates = world.journey(out="b", skipped=(out,))._candidates
    assert candidates.available("t/t/a")
    candidates.tried.append("t/t/b")
    assert not candidates.available("t/t/a")


async def test_the_policys_own_deadline_is_no_evidence_against_a_backend(world):
    world.clock.monotonic = time.monotonic
    for _ in range(6):
        world.answers.update(a=[stream(None)])
        journey = world.journey(bounds=Failover(deadline=0.03))
        with pytest.raises(DeadlineExceeded):
            await journey.commit()
        assert trail(journey) == [("a", "deadline")]
    view = world.board.view()["t/t/a"]
    assert (view.state, view.healthy, view.pending) == ("closed", True, 0)


@pytest.mark.parametrize(
    ("streamed", "stated", "total"),
    [(True, None, math.inf), (True, 60.0, 60.0), (False, None, 600.0), (False, 60.0, 60.0)],
)
async def test_a_stream_has_no_total_clock_unless_one_is_stated(world, streamed, stated, total):
    world.answers.update(a=[stream()])
    journey = world.journey(streamed=streamed, a={"timeouts": Timeouts(total=stated)})
    assert (await journey.commit())._clocks.total == total


@pytest.mark.parametrize("kind", [FailureKind.SERVER, FailureKind.OVERLOAD, FailureKind.MALFORMED])
async def test_a_request_that_fails_alike_at_two_backends_is_at_fault_itself(world, kind):
    for _ in range(2):
        world.answers.update(a=[fails(kind, status=500) for _ in "12"], b=[fails(kind, status=500) for _ in "12"])
        with pytest.raises(Unavailable):
            await world.journey().commit()
        for name in "ab":
            view = world.board.view()[f"t/t/{name}"]
            assert (view.state, view.healthy, view.score) == ("closed", True, 1.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((FailureKind.SERVER, 500), (FailureKind.SERVER, 502)),
        ((FailureKind.SERVER, 500), (FailureKind.OVERLOAD, 503)),
        ((FailureKind.RATE_LIMIT, 429), (FailureKind.RATE_LIMIT, 429)),
        ((FailureKind.CONNECT, None), (FailureKind.CONNECT, None)),
    ],
)
async def test_failures_that_differ_or_are_never_the_requests_fault_stay(world, one, other):
    world.answers.update(a=[fails(one[0], status=one[1])], b=[fails(other[0], status=other[1])], c=[stream()])
    await world.journey().commit()
    for name in "ab":
        assert world.board.view()[f"t/t/{name}"].score > 1


async def test_one_backend_under_two_names_is_not_two(world):
    world.answers.update(a=[fails(FailureKind.SERVER, status=500) for _ in "12"], b=[])
    journey = world.journey(bounds=Failover(attempts=2), b={"base_url": "http://a"})
    with pytest.raises(Unavailable):
        await journey.commit()
    assert trail(journey) == [("a", "server"), ("b", "server")]
    assert not world.board.view()["t/t/a"].healthy


async def test_after_a_failure_the_healthy_come_first(world):
    """A black-out here may be one there too: one deadline is enough for a request."""
    world.answers.update(a=[fails(FailureKind.SILENT)], b=[], c=[stream()])
    journey = world.journey()
    world.board.begin("t/t/b", 10).failed(FailureKind.SILENT)
    await journey.commit()
    assert trail(journey) == [("a", "silent"), ("c", "ok")]


ONE_SLOT = {"limits": BackendLimits(concurrency=1)}


async def test_a_request_waits_for_a_slot_where_nothing_else_is_left(world):
    world.answers.update(a=[stream()])
    journey = world.journey(a=ONE_SLOT)
    held = world.board.begin("t/t/a", 10)
    commit = asyncio.create_task(journey.commit())
    await waiting(world, 1)
    held.cancelled()
    await commit
    assert trail(journey) == [("a", "ok")]


async def test_it_waits_for_nobody_while_another_can_be_tried(world):
    world.answers.update(a=[], b=[stream()])
    journey = world.journey(a=ONE_SLOT)
    world.board.begin("t/t/a", 10)
    await journey.commit()
    assert trail(journey) == [("b", "ok")]


async def test_the_more_important_policy_gets_the_slot(world):
    world.answers.update(a=[stream(), stream()])
    low = world.journey(a=ONE_SLOT, waits=Queue(priority=Priority.LOW))
    high = world.journey(a=ONE_SLOT, waits=Queue(priority=Priority.HIGH))
    held = world.board.begin("t/t/a", 10)
    commits = [asyncio.create_task(journey.commit()) for journey in (low, high)]
    await waiting(world, 2)
    held.cancelled()
    await asyncio.gather(*commits)
    assert [record.outcome for record in low.trail + high.trail] == ["ok", "ok"]
    assert high._tools.queue is low._tools.queue


@pytest.mark.parametrize(("consents", "first"), [(Priority.NORMAL, "b"), (Priority.HIGH, "a")])
async def test_a_priority_counts_before_other_namespaces_where_the_tier_consents(world, consents, first):
    world.answers.update(a=[stream(), stream(), stream()])
    ref = TierRef(tier="t/t", priority=consents)
    crowd = [world.journey(a=ONE_SLOT, waits=Queue(priority=Priority.HIGH), ref=ref, of="a") for _ in range(2)]
    other = world.journey(a=ONE_SLOT, of="b")
    held = world.board.begin("t/t/a", 10)
    commits = [asyncio.create_task(journey.commit()) for journey in (crowd[0], other, crowd[1])]
    await waiting(world, 3)
    held.cancelled()
    for commit in (commits[0], commits[1 if first == "b" else 2]):
        (await commit).cancel()
    assert len(world.tools.queue) == 0
    (await commits[2 if first == "b" else 1]).cancel()


async def test_one_namespace_leaves_retries_for_others(world):
    world.answers.update(a=[fails(FailureKind.RESET), fails(FailureKind.RESET)], b=[stream(), stream()])
    greedy, other = world.journey(of="n"), world.journey(of="other")
    while world.budget.take("n"):
        pass
    world.board.begin("t/t/b", 10).failed(FailureKind.SERVER)
    with pytest.raises(Unavailable, match="retry budget"):
        await greedy.commit()
    await other.commit()
    assert trail(other) == [("a", "reset"), ("b", "ok")]


async def test_who_may_not_wait_is_refused_with_a_retry_after(world):
    world.answers.update(a=[])
    journey = world.journey(a=ONE_SLOT, waits=Queue(wait=0.0))
    world.board.begin("t/t/a", 10)
    with pytest.raises(Overloaded, match="All backends for this request are at their concurrency") as caught:
        await journey.commit()
    assert caught.value.retry_after == 1


async def test_a_wait_in_vain_after_a_failure_names_who_failed(world):
    world.answers.update(a=[], b=[fails(FailureKind.CONNECT)])
    journey = world.journey(a=ONE_SLOT, waits=Queue(wait=0.0))
    world.board.begin("t/t/a", 10)
    with pytest.raises(Unavailable, match="all others are at their concurrency"):
        await journey.commit()


async def test_no_wait_once_the_tries_are_used_up(world):
    world.answers.update(a=[], b=[fails(FailureKind.CONNECT)])
    journey = world.journey(a=ONE_SLOT, bounds=Failover(attempts=1))
    world.board.begin("t/t/a", 10)
    with pytest.raises(Unavailable, match="1 attempts were made"):
        await journey.commit()


async def test_who_waits_for_a_backend_that_falls_ill_is_told_at_once(world):
    world.answers.update(a=[])
    journey = world.journey(a={"limits": BackendLimits(concurrency=2)})
    held = [world.board.begin("t/t/a", 10) for _ in range(2)]
    commit = asyncio.create_task(journey.commit())
    await waiting(world, 1)
    world.board.settle("t/t/a", FailureKind.CREDENTIAL, Backend("a", Dialect.OPENAI, "http://a", "m"))
    with pytest.raises(CredentialsExhausted):
        await commit
    for guard in held:
        guard.cancelled()


async def test_a_caller_that_leaves_while_it_waits_takes_nothing(world):
    world.answers.update(a=[])
    journey = world.journey(a=ONE_SLOT)
    held = world.board.begin("t/t/a", 10)
    commit = asyncio.create_task(journey.commit())
    await waiting(world, 1)
    held.cancelled()  # the slot is handed over in this moment
    commit.cancel()
    await asyncio.gather(commit, return_exceptions=True)
    assert (commit.cancelled(), world.board.view()["t/t/a"].pending, len(world.tools.queue)) == (True, 0, 0)


async def waiting(world, requests):
    await asyncio.sleep(0)  # they start, and come as far as the queue
    assert len(world.tools.queue) == requests


async def test_what_has_come_back_during_a_try_is_tried_when_nothing_else_is_left(world):
    world.answers.update(a=[fails(FailureKind.SILENT)], b=[fails(FailureKind.CONNECT)], c=[stream()])
    journey = world.journey(out="bc", back="abc")
    await journey.commit()
    assert trail(journey) == [("a", "silent"), ("b", "connect"), ("c", "ok")]


async def test_nothing_is_tried_again_because_the_choice_is_made_anew(world):
    world.answers.update(a=[fails(FailureKind.SILENT)], b=[fails(FailureKind.CREDENTIAL)])
    journey = world.journey(out="b", back="ab", bounds=Failover(attempts=9))
    with pytest.raises(Unavailable):
        await journey.commit()
    assert trail(journey) == [("a", "silent"), ("b", "credential")]


async def test_the_tries_stay_bounded_where_the_choice_is_made_anew(world):
    world.answers.update(a=[fails(FailureKind.SILENT)], b=[stream()])
    journey = world.journey(out="b", back="ab", bounds=Failover(attempts=1))
    with pytest.raises(Unavailable, match="1 attempts were made"):
        await journey.commit()


async def test_a_request_that_nothing_can_serve_is_refused_at_once(world):
    world.answers.update(a=[stream()])
    journey = world.journey(out="a", back="a")
    with pytest.raises(Unavailable):
        await journey.commit()
    assert world.transport.sent == []


async def test_who_was_full_is_still_waited_for_when_nothing_has_come_back(world):
    world.answers.update(a=[fails(FailureKind.SILENT)], b=[stream()])
    journey = world.journey(back="ab", b=ONE_SLOT)
    held = world.board.begin("t/t/b", 10)
    commit = asyncio.create_task(journey.commit())
    await waiting(world, 1)
    held.cancelled()
    await commit
    assert trail(journey) == [("a", "silent"), ("b", "ok")]


@pytest.mark.parametrize(("mode", "score"), [(Transport.STREAMED, 10), (Transport.AS_ASKED, 2)])
async def test_only_where_a_stream_was_asked_for_silence_shows_before_the_end(world, mode, score):
    world.answers.update(a=[stream(None)])
    waiting = asyncio.create_task(world.journey(a={"transport": mode}).commit())
    await asyncio.sleep(0)
    world.clock.advance(5)
    assert world.board.view()["t/t/a"].score == score
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert world.board.view()["t/t/a"].score == 1
