"""Recovery of a breaker, on a clock that is moved by hand: first probes, then all traffic."""

import asyncio

from support.callers import one, settled, trail_of
from support.stand import stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.clock import ManualClock
from weir_router.health.settings import SLOW_START

A = "llm/t0/a"
TWO = [SimModel("a")], [SimModel("b")]


async def black_out(s):
    """Opens the breaker of `a` by five failures; `b` answers every caller."""
    s.sim.fault("a", Fault(FaultKind.SERVER_ERROR))
    for _ in range(5):
        assert await trail_of(s, await one(s)) == [("a", "server"), ("b", "ok")]
    assert s.router.board.view()[A].state == "open"


async def test_an_open_breaker_lets_nobody_through():
    async with stand(*TWO, clock=ManualClock()) as s:
        await black_out(s)
        for _ in range(5):
            assert await trail_of(s, await one(s)) == [("b", "ok")]


async def test_traffic_returns_after_three_clean_probes():
    clock = ManualClock()
    async with stand(*TWO, clock=clock) as s:
        await black_out(s)
        s.sim.clear()
        clock.advance(7)
        for state in ("half-open", "half-open", "closed"):
            assert await trail_of(s, await one(s)) == [("a", "ok")]
            assert s.router.board.view()[A].state == state
        clock.advance(SLOW_START)  # until then it takes a part of its traffic
        assert await trail_of(s, await one(s)) == [("a", "ok")]


async def test_a_failed_probe_costs_its_caller_nothing_and_lengthens_the_wait():
    clock = ManualClock()
    async with stand(*TWO, clock=clock) as s:
        await black_out(s)
        clock.advance(7)
        assert await trail_of(s, await one(s)) == [("a", "server"), ("b", "ok")]
        view = s.router.board.view()[A]
        assert view.state == "open"
        assert 6.3 <= view.available_at - clock.monotonic() <= 9.7


async def test_one_probe_at_a_time_while_the_others_go_elsewhere():
    clock = ManualClock()
    async with stand([SimModel("a", ttft=0.2)], [SimModel("b")], clock=clock) as s:
        await black_out(s)
        s.sim.clear()
        clock.advance(7)
        answers = await asyncio.gather(*(one(s) for _ in range(6)))
        trails = await asyncio.gather(*(trail_of(s, answer) for answer in answers))
        assert sorted(trails) == [[("a", "ok")]] + [[("b", "ok")]] * 5


async def test_a_cancelled_probe_gives_its_slot_back():
    clock = ManualClock()
    async with stand(*TWO, clock=clock) as s:
        await black_out(s)
        s.sim.fault("a", Fault(FaultKind.SILENCE, count=1))
        clock.advance(7)
        probe = asyncio.create_task(one(s))
        await s.sim.until(lambda: s.sim.stats["a"].in_flight == 1)
        probe.cancel()
        await s.sim.until(lambda: s.sim.stats["a"].cancelled == 1)
        await settled(s)
        assert s.router.board.view()[A].state == "half-open"
        assert await trail_of(s, await one(s)) == [("a", "ok")]


async def test_a_port_that_opens_again_gets_its_traffic_back():
    clock = ManualClock()
    async with stand([SimModel("a")], clock=clock) as s:
        await s.sim.refuse_connections()
        assert [(await one(s)).status for _ in range(6)] == [503] * 6
        assert s.router.board.view()[A].state == "open"
        await s.sim.accept_connections()
        clock.advance(7)
        assert [(await one(s)).ended for _ in range(4)] == [True] * 4
        assert s.router.board.view()[A].state == "closed"


async def test_a_request_that_was_kept_waiting_finds_what_has_returned_meanwhile():
    clock = ManualClock()
    async with stand(*TWO, clock=clock) as s:
        await black_out(s)
        s.sim.clear()
        s.sim.fault("b", Fault(FaultKind.SILENCE, count=1))
        asked = asyncio.create_task(one(s))
        await s.sim.until(lambda: s.sim.stats["b"].in_flight == 1)
        clock.advance(20)  # the breaker of `a` would let a probe through; the request knows of `b` alone
        assert await trail_of(s, await asked) == [("b", "silent"), ("a", "ok")]
