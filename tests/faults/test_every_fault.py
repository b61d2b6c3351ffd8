"""Every fault of the simulator on the first of two backends: the answers to all shapes of requests, and the records.

No caller may ever see a clean but truncated answer.
"""

import pytest

from support.callers import becomes, line_of, settled, shapes_at_once, trail_of
from support.stand import stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.contract import Dialect, Timeouts

QUICK = {"timeouts": Timeouts(connect=0.5, ttft=0.25, idle=0.25)}
BOTH = {"a": QUICK, "b": QUICK}
UPSTREAMS = list(Dialect)
WORDS = "one two three four five six seven eight nine ten"

ELSEWHERE = {
    FaultKind.RATE_LIMIT: ("rate_limit", "rate_limit", "closed"),
    FaultKind.INSUFFICIENT_QUOTA: ("credit", "credit", "ejected"),
    FaultKind.SERVER_ERROR: ("server", "server", "closed"),
    FaultKind.UNAVAILABLE: ("overload", "overload", "closed"),
    FaultKind.OVERLOADED: ("overload", "overload", "closed"),
    FaultKind.UNAUTHORIZED: ("credential", "credential", "ejected"),
    FaultKind.PAYMENT_REQUIRED: ("credit", "credit", "ejected"),
    FaultKind.FORBIDDEN: ("model", "credential", "ejected"),
    FaultKind.NOT_FOUND: ("model", "model", "ejected"),
    FaultKind.TIMEOUT: ("server", "server", "closed"),
    FaultKind.REFUSE: ("reset", "reset", "closed"),
    FaultKind.RESET: ("reset", "reset", "closed"),
    FaultKind.SILENCE: ("silent", "silent", "closed"),
    FaultKind.SLOW_FIRST_TOKEN: ("silent", "silent", "closed"),
    FaultKind.BYTE_DRIP: ("silent", "silent", "closed"),
    FaultKind.PINGS: ("silent", "silent", "closed"),
    FaultKind.SILENT_REASONING: ("silent", "silent", "closed"),
    FaultKind.ERROR_EVENT: ("server", "overload", "closed"),
    FaultKind.FAILED_EVENT: ("server", "overload", "closed"),
    FaultKind.QUOTA_EVENT: ("credit", "credit", "ejected"),
    FaultKind.ERROR_BODY: ("server", "overload", "closed"),
    FaultKind.CONTEXT_LENGTH: ("context_length", "context_length", "closed"),
}
"""Faults before the commit point: the outcome for each upstream format, and the breaker's state after four."""

FIELDS = {FaultKind.SLOW_FIRST_TOKEN: {"seconds": 5.0}, FaultKind.PINGS: {"seconds": 0.02}}

BROKEN = {
    FaultKind.STALL: "stalled",
    FaultKind.CUT: "reset",
    FaultKind.RESET: "reset",
    FaultKind.ENDS_EARLY: "truncated",
    FaultKind.MALFORMED: "malformed",
    FaultKind.ERROR_EVENT: None,  # as the provider says it
    FaultKind.FAILED_EVENT: None,
    FaultKind.QUOTA_EVENT: "credit",
    FaultKind.NO_FINISH: "truncated",
}
"""Faults after the commit point, in the middle of a stream."""

ANSWERED = {
    FaultKind.BAD_REQUEST: {},
    FaultKind.CONTENT_FILTER: {},
    FaultKind.STATUS: {"status": 413},
}
UNHARMED = {
    FaultKind.ITEM_NEVER_DONE: {},
    FaultKind.NO_DONE: {},
    FaultKind.EMPTY_LENGTH: {},
    FaultKind.DRIP: {"seconds": 0.02},
}
OTHERS = {FaultKind.STREAM_REFUSED, FaultKind.STREAM_IGNORED}


def models(dialect: Dialect, **more: object) -> tuple[list[SimModel], list[SimModel]]:
    return (
        [SimModel("a", dialect=dialect, answer=f"a: {WORDS}", **more)],
        [SimModel("b", dialect=dialect, answer=f"b: {WORDS}")],
    )


def test_the_tables_name_every_fault():
    assert {*ELSEWHERE, *BROKEN, *ANSWERED, *UNHARMED, *OTHERS} == set(FaultKind)


@pytest.mark.parametrize("dialect", UPSTREAMS)
@pytest.mark.parametrize("kind", ELSEWHERE)
async def test_a_failure_before_content_is_answered_by_the_other(kind, dialect):
    outcome = ELSEWHERE[kind][UPSTREAMS.index(dialect)]
    async with stand(*models(dialect), changes=BOTH) as s:
        s.sim.fault("a", Fault(kind, **FIELDS.get(kind, {})))
        for answer in await shapes_at_once(s):
            assert answer.ended
            assert answer.text == f"b: {WORDS}"
            assert await trail_of(s, answer) == [("a", outcome), ("b", "ok")]
        await becomes(lambda: s.router.board.view()["llm/t0/a"].state == ELSEWHERE[kind][2])
        await settled(s)


@pytest.mark.parametrize("dialect", UPSTREAMS)
@pytest.mark.parametrize("kind", BROKEN)
async def test_a_stream_that_breaks_ends_in_an_error_event_and_a_plain_answer_is_made_elsewhere(kind, dialect):
    async with stand(*models(dialect, tokens_per_second=100), changes=BOTH) as s:
        s.sim.fault("a", Fault(kind, after=None if kind is FaultKind.NO_FINISH else 3))
        for answer in await shapes_at_once(s):
            outcomes = await trail_of(s, answer)
            assert outcomes[0][0] == "a"
            if (kind, dialect, answer.stream) == (FaultKind.NO_FINISH, Dialect.OPENAI, False):
                # Its stream has an end, and so may its plain answer.
                assert outcomes[0][1] == "lossy"
                assert answer.ended
                assert answer.text.endswith(WORDS)
                continue
            assert outcomes[0][1] == (BROKEN[kind] or ("server" if dialect is Dialect.OPENAI else "overload"))
            if answer.stream:
                assert (answer.status, answer.torn, answer.ended) == (200, False, False)
                assert answer.error["code"] == "stream_broken"
                assert answer.text
                assert f"a: {WORDS}".startswith(answer.text)
                assert b"[DONE]" not in answer.body
                assert b"message_stop" not in answer.body
                assert (await line_of(s, answer))["outcome"] == "broken"
            else:
                assert answer.ended
                assert answer.text == f"b: {WORDS}"
        await settled(s)


@pytest.mark.parametrize("dialect", UPSTREAMS)
@pytest.mark.parametrize("kind", ANSWERED)
async def test_what_is_the_callers_own_fault_is_answered_at_once(kind, dialect):
    async with stand(*models(dialect), changes=BOTH) as s:
        s.sim.fault("a", Fault(kind, **ANSWERED[kind]))
        for answer in await shapes_at_once(s):
            assert answer.status == ANSWERED[kind].get("status", 400)
            assert answer.headers["x-should-retry"] == "false"
            assert answer.error["source"] == "upstream"
            assert len(await trail_of(s, answer)) == 1
            assert (await line_of(s, answer))["outcome"] == "refused"
        assert s.sim.stats["b"].requests == 0
        assert s.router.board.view()["llm/t0/a"].state == "closed"


@pytest.mark.parametrize("dialect", UPSTREAMS)
@pytest.mark.parametrize("kind", UNHARMED)
async def test_what_harms_nobody_is_relayed_with_its_proper_end(kind, dialect):
    async with stand(*models(dialect), changes=BOTH) as s:
        s.sim.fault("a", Fault(kind, **UNHARMED[kind]))
        for answer in await shapes_at_once(s):
            assert answer.ended
            assert await trail_of(s, answer) == [("a", "ok")]
            assert kind is FaultKind.EMPTY_LENGTH or answer.text == f"a: {WORDS}"


@pytest.mark.parametrize("dialect", UPSTREAMS)
async def test_a_refused_stream_is_sent_as_asked_and_remembered(dialect):
    async with stand(*models(dialect), changes=BOTH) as s:
        s.sim.fault("a", Fault(FaultKind.STREAM_REFUSED))
        first = await shapes_at_once(s)
        second = await shapes_at_once(s)
        for answer in [*first, *second]:
            assert (answer.status, answer.ended) == (200, True)
            if answer.stream:  # that model cannot stream, and another one can
                assert await trail_of(s, answer) == [("a", "unfit"), ("b", "ok")]
        assert {tuple(await trail_of(s, a)) for a in second if not a.stream} == {(("a", "ok"),)}
        sent = [seen.json() for seen in s.sim.requests("a")]
        assert sum(not body.get("stream") for body in sent) == 4


@pytest.mark.parametrize("dialect", UPSTREAMS)
async def test_a_whole_answer_to_a_stream_serves_plain_callers_only(dialect):
    async with stand(*models(dialect), changes=BOTH) as s:
        s.sim.fault("a", Fault(FaultKind.STREAM_IGNORED))
        for answer in await shapes_at_once(s):
            assert answer.ended
            assert answer.text == (f"b: {WORDS}" if answer.stream else f"a: {WORDS}")
