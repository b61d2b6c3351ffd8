"""Too many callers: they wait in turn, for a short time, and then get an error with a Retry-After."""

import asyncio
import re

import aiohttp
import msgspec
import pytest

from support.callers import ask, one, settled
from support.stand import stand
from weir_cli.sim import SimModel
from weir_router.contract import BackendLimits, Priority, Queue

CALLERS = 30
SLOW = SimModel("a", ttft=0.1)
ONE_AT_A_TIME = {"a": {"limits": BackendLimits(concurrency=1)}}


async def metric(s, name):
    async with aiohttp.ClientSession() as session, session.get(s.router.admin_url + "/metrics") as response:
        return float(re.search(rf"^{name} (\S+)$", await response.text(), re.MULTILINE)[1])


async def crowd(s, callers=CALLERS):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return await asyncio.gather(*(ask(session, s, stream=number % 2 == 0) for number in range(callers)))


@pytest.mark.parametrize("where", ["the router", "the backend"])
async def test_callers_wait_in_turn_and_those_who_would_wait_too_long_are_told_when_to_come_back(where):
    room = {"max_in_flight": 1} if where == "the router" else {"changes": ONE_AT_A_TIME}
    async with stand([SLOW], queue=Queue(wait=1.0), **room) as s:
        answers = await crowd(s)
        served = [answer for answer in answers if answer.ended]
        refused = [answer for answer in answers if not answer.ended]
        assert len(served) >= 5
        assert refused
        assert {(answer.status, answer.error["code"]) for answer in refused} == {(503, "overloaded")}
        assert {(answer.headers["retry-after"], answer.headers["x-should-retry"]) for answer in refused} == {
            ("1", "true")
        }
        assert max(answer.seconds for answer in answers) < 3.0
        await settled(s)
        assert [await metric(s, name) for name in ("weir_queue_depth", "weir_queue_oldest_seconds")] == [0.0, 0.0]
        assert await metric(s, "weir_saturation") == 0.0


async def test_the_figures_for_an_autoscaler_show_the_crowd_while_it_waits():
    async with stand([SimModel("a", ttft=0.5)], changes=ONE_AT_A_TIME, max_in_flight=8) as s:
        waiting = asyncio.create_task(crowd(s, 12))
        await s.sim.until(lambda: s.sim.stats["a"].in_flight == 1)
        async with asyncio.timeout(2):
            while await metric(s, "weir_queue_depth") < 11:
                pass
        assert await metric(s, "weir_saturation") == 1.0
        assert await metric(s, "weir_queue_oldest_seconds") > 0
        assert await metric(s, 'weir_backend_saturation{backend="a",tier="llm/t0"}') == 1.0
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await settled(s)
        assert await metric(s, "weir_queue_depth") == 0.0


async def test_who_is_more_important_is_served_before_those_who_came_earlier():
    async with stand([SLOW], changes=ONE_AT_A_TIME, queue=Queue(priority=Priority.LOW)) as s:
        crowding = asyncio.create_task(crowd(s, 10))
        await s.sim.until(lambda: s.sim.stats["a"].in_flight == 1)
        important = msgspec.structs.replace(s.config.policies[0], queue=Queue(priority=Priority.HIGH))
        s.apply(msgspec.structs.replace(s.config, policies=(important,)))
        urgent = await one(s)
        assert urgent.ended
        ended = urgent.started + urgent.seconds
        assert sum(answer.started + answer.seconds > ended for answer in await crowding) >= 5
