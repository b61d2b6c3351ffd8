"""Callers that go away or read slowly, and configs that change during streams, do not count against backends."""

import asyncio
import time

import aiohttp
import pytest
from msgspec.structs import replace

from support.callers import SHAPES, ask, becomes, in_flight, one, request_for, settled, trail_of
from support.stand import stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.call import clocks
from weir_router.contract import BackendLimits, Dialect, Limit, Objectives, Timeouts

A = "llm/t0/a"


def untouched(s) -> bool:
    view = s.router.board.view()[A]
    return (view.state, view.reason, view.healthy, view.pending) == ("closed", None, True, 0)


@pytest.mark.parametrize("kind", [FaultKind.SILENCE, FaultKind.STALL, FaultKind.PINGS, FaultKind.BYTE_DRIP])
async def test_callers_that_go_away_stop_their_upstream_calls_and_blame_nobody(kind):
    async with stand([SimModel("a")], limits=Limit(key="team", in_flight=4)) as s:
        s.sim.fault("a", Fault(kind))
        callers = [asyncio.create_task(one(s, dialect, stream=stream)) for dialect, stream in SHAPES]
        await s.sim.until(lambda: s.sim.stats["a"].in_flight == 4)
        await asyncio.sleep(0.05)  # some wait for content, some for more of it
        left = time.monotonic()
        for caller in callers:
            caller.cancel()
        await s.sim.until(lambda: s.sim.stats["a"].cancelled == 4, timeout=1.0)
        assert time.monotonic() - left < 1.0
        await settled(s)
        assert untouched(s)
        assert {line["outcome"] for line in s.log.lines} == {"cancelled"}
        s.sim.clear()
        assert (await one(s)).ended  # the caller's own limit was given back too


async def reader_that_sleeps(s, seconds: float, **kind) -> bytes:
    """A streaming caller with a tiny buffer that reads nothing for `seconds` once its answer begins."""
    path, body, headers = request_for(Dialect.OPENAI, stream=True, **kind)
    async with (
        aiohttp.ClientSession(read_bufsize=1024) as session,
        session.post(s.url + path, json=body, headers=headers) as response,
    ):
        await response.content.read(1)
        await asyncio.sleep(seconds)
        return await response.read()


LONG_ANSWER = "word " * 120_000
"""Text of several MB as a stream: more than all buffers between the simulator and a caller."""


async def test_a_caller_that_reads_slowly_is_not_its_upstreams_stall():
    changes = {"a": {"timeouts": Timeouts(idle=0.4), "objectives": Objectives(tokens_per_second=50.0)}}
    async with stand([SimModel("a", answer=LONG_ANSWER)], changes=changes) as s:
        body = await reader_that_sleeps(s, 1.2)
        assert body.endswith(b"data: [DONE]\n\n")
        await settled(s)
        assert untouched(s)
        assert s.last["outcome"] == "ok"
        assert s.router.board.view()[A].tokens_per_second is None  # that was the caller's speed


async def test_a_caller_that_stops_reading_loses_its_slot_and_blames_nobody(monkeypatch):
    monkeypatch.setattr(clocks, "UNREAD_SECONDS", 0.1)
    changes = {"a": {"limits": BackendLimits(concurrency=1)}}
    async with stand([SimModel("a", answer=LONG_ANSWER)], changes=changes) as s:
        stops = asyncio.create_task(reader_that_sleeps(s, 60.0))
        await becomes(lambda: bool(s.log.lines))
        assert (s.last["outcome"], s.last["error_source"]) == ("broken", "caller")
        assert s.last["attempts"][0]["outcome"] == "unread"
        assert untouched(s)
        stops.cancel()
        await asyncio.wait([stops])


async def test_a_stall_behind_a_slow_caller_is_still_seen():
    changes = {"a": {"timeouts": Timeouts(idle=0.3)}}
    async with stand([SimModel("a")], changes=changes) as s:
        s.sim.fault("a", Fault(FaultKind.STALL))
        body = await reader_that_sleeps(s, 0.1)
        assert b"stream_broken" in body


async def test_a_reload_lets_running_streams_finish():
    model = SimModel("a", tokens_per_second=60, answer_tokens=30)
    async with stand([model], [SimModel("b")]) as s:
        running = [asyncio.create_task(one(s, dialect, stream=stream)) for dialect, stream in SHAPES]
        await s.sim.until(lambda: s.sim.stats["a"].in_flight == 4)
        gone = {key: tier for key, tier in s.config.tiers.items() if key != "llm/t0"}
        routes = (replace(s.config.policies[0].routes[0], tiers=s.config.policies[0].routes[0].tiers[1:]),)
        s.apply(replace(s.config, revision=2, tiers=gone, policies=(replace(s.config.policies[0], routes=routes),)))
        assert await trail_of(s, await one(s)) == [("b", "ok")]
        for answer in await asyncio.gather(*running):
            assert answer.ended
            assert await trail_of(s, answer) == [("a", "ok")]
        await settled(s)


async def test_a_reload_during_a_failover_reaches_what_is_left():
    """The second candidate vanishes while the first is silent: it is not tried, and nothing leaks."""
    changes = {"a": {"timeouts": Timeouts(ttft=0.3)}}
    async with stand([SimModel("a")], [SimModel("b")], [SimModel("c")], changes=changes) as s:
        s.sim.fault("a", Fault(FaultKind.SILENCE))
        running = asyncio.create_task(one(s))
        await s.sim.until(lambda: s.sim.stats["a"].in_flight == 1)
        s.apply(replace(s.config, revision=2, tiers={k: t for k, t in s.config.tiers.items() if k != "llm/t1"}))
        answer = await running
        assert await trail_of(s, answer) == [("a", "silent"), ("c", "ok")]
        await settled(s)


async def test_after_a_storm_of_everything_nothing_is_left_pending():
    """All faults in turn, with all shapes of requests; a third of the callers leave before the end."""
    changes = {name: {"timeouts": Timeouts(ttft=0.2, idle=0.2)} for name in "ab"}
    models = [SimModel("a", tokens_per_second=400)], [SimModel("b", dialect=Dialect.ANTHROPIC)]
    async with stand(*models, changes=changes) as s, aiohttp.ClientSession() as session:
        for number, kind in enumerate(FaultKind):
            s.sim.fault("a", Fault(kind, status=500, seconds=0.05))
            s.sim.fault("b", Fault(list(FaultKind)[number - 7], status=500, seconds=0.05))
            tasks = [asyncio.create_task(ask(session, s, d, stream=stream)) for d, stream in SHAPES * 2]
            await asyncio.sleep(0.02)
            for task in tasks[:3]:
                task.cancel()
            answers = await asyncio.gather(*tasks[3:])
            assert all(answer.ended or answer.error for answer in answers)
            assert not any(answer.torn or answer.status == 500 for answer in answers)
        await settled(s)
        assert in_flight(s) == 0
