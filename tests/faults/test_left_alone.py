"""One of two backends fails under load: no caller notices before content, and the router soon avoids it.

Within 3 s for errors, within 10 s for silence, slowness and stalls; with the default timeouts.
"""

import asyncio
import time
from typing import NamedTuple

import pytest

from support.callers import load, settled
from support.stand import stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.contract import Objectives, Price

A = "llm/t0/a"
RATE = 12.0
UNDER_WAY = 0.3
"""Seconds in which requests arrive that were sent before the breaker opened."""


class Outcome(NamedTuple):
    seconds: float  # until the breaker let nobody through
    refused: list[str]  # what callers with an error before content were told
    broken: int  # callers whose stream ended in an error event
    asked_after: int  # requests to the sick backend during a second soon after that


async def fall_ill(fault, *, warm=0.0, rate=RATE, one_tier=False, objective=None, changes=None):
    """Loads a pair of backends, of which `a` is the first choice, before and after `fault` sets in there."""
    a, b = (SimModel(name, ttft=0.05, tokens_per_second=400) for name in "ab")
    fields = {name: {"objectives": Objectives(ttft=objective)} for name in "ab"}
    fields["b"]["price"] = Price(input=9.0, output=9.0)  # in one tier the cheaper is the first choice
    fields["a"].update(changes or {})
    async with stand(*([[a, b]] if one_tier else [[a], [b]]), changes=fields) as s:
        if warm:
            assert all(answer.ended for answer in await load(s, rate, warm))
        s.sim.fault("a", fault)
        start, view, opened = time.monotonic(), s.router.board.view()[A], []

        def a_second_after_it_opened() -> bool:
            if not opened and view.state != "closed":
                opened.append(time.monotonic())
            if len(opened) == 1 and time.monotonic() > opened[0] + UNDER_WAY:
                opened.append(s.sim.stats["a"].requests)
            return len(opened) == 2 and time.monotonic() > opened[0] + UNDER_WAY + 1.0

        answers = await load(s, rate, 14.0, stop=a_second_after_it_opened)
        assert opened, "the sick backend still gets everything"
        await settled(s)
        bad = [answer for answer in answers if not answer.ended]
        broken = [answer for answer in bad if answer.status == 200 and answer.error["code"] == "stream_broken"]
        refused = ["torn" if answer.torn else str(answer.error) for answer in bad if answer not in broken]
        after = s.sim.stats["a"].requests - opened[1]
        return Outcome(opened[0] - start, refused, len(broken), after)


ERRORS = [
    Fault(FaultKind.SERVER_ERROR),
    Fault(FaultKind.OVERLOADED),
    Fault(FaultKind.REFUSE),
    Fault(FaultKind.RESET),
    Fault(FaultKind.RESET, after=3),
    Fault(FaultKind.CUT),
    Fault(FaultKind.UNAUTHORIZED),
    Fault(FaultKind.RATE_LIMIT),
    Fault(FaultKind.ERROR_BODY),
    Fault(FaultKind.SERVER_ERROR, probability=0.7),
]


LATE = [Fault(FaultKind.RESET, after=3), Fault(FaultKind.CUT)]
"""Faults that come after content."""


@pytest.mark.parametrize("warm", [0.0, 1.5], ids=["cold", "warm"])
async def test_errors_take_three_seconds_and_cost_no_caller_an_error(warm):
    outcomes = await asyncio.gather(*(fall_ill(fault, warm=warm) for fault in ERRORS))
    assert [outcome.refused for outcome in outcomes] == [[]] * len(ERRORS)
    assert max(outcome.seconds for outcome in outcomes) < 3.0
    assert max(outcome.asked_after for outcome in outcomes) <= 1
    assert not any(outcome.broken for fault, outcome in zip(ERRORS, outcomes, strict=True) if fault not in LATE)


async def test_a_port_that_nobody_listens_on_is_left_alone_at_once():
    outcome = await fall_ill(Fault(FaultKind.SILENCE), changes={"base_url": "http://127.0.0.1:9/v1"})
    assert (outcome.refused, outcome.broken) == ([], 0)
    assert outcome.seconds < 3.0


SICK = {
    "silence, cold": {"fault": Fault(FaultKind.SILENCE)},
    "silence, cold, the cheaper of a tier": {"fault": Fault(FaultKind.SILENCE), "one_tier": True},
    "silence, warm": {"fault": Fault(FaultKind.SILENCE), "warm": 2.0, "rate": 25.0},
    "silence, objective": {"fault": Fault(FaultKind.SILENCE), "objective": 0.5},
    "slow, cold": {"fault": Fault(FaultKind.SLOW_FIRST_TOKEN, seconds=7.0)},
    "slow, warm": {"fault": Fault(FaultKind.SLOW_FIRST_TOKEN, seconds=3.0), "warm": 2.0},
    "slow, objective": {"fault": Fault(FaultKind.SLOW_FIRST_TOKEN, seconds=1.5), "objective": 0.5},
    "pings, cold": {"fault": Fault(FaultKind.PINGS)},
    "stalls": {"fault": Fault(FaultKind.STALL), "warm": 1.0},
}


async def test_silence_slowness_and_stalls_take_ten_seconds_and_cost_no_caller_an_error():
    outcomes = dict(zip(SICK, await asyncio.gather(*(fall_ill(**sick) for sick in SICK.values())), strict=True))
    assert {name: outcome.refused for name, outcome in outcomes.items()} == {name: [] for name in SICK}
    assert {name for name, outcome in outcomes.items() if outcome.seconds > 10.0} == set()
    assert {name for name, outcome in outcomes.items() if outcome.asked_after > 1} == set()
    assert {name for name, outcome in outcomes.items() if outcome.broken} == {"stalls"}
