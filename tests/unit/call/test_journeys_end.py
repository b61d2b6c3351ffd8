"""Every request ends in time and gives back everything it took, for any behaviour of upstreams in any order.

The tests run in virtual time: an hour of silence costs nothing.
"""

import asyncio
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from support.decisions import decision_of
from support.virtual import run
from weir_router.admit.ledger_local import LocalLedger
from weir_router.admit.queue import Queue
from weir_router.admit.retry_budget import RetryBudgets
from weir_router.call.candidates import Tools
from weir_router.call.clocks import CONNECT_TIMEOUT, IDLE_TIMEOUT, TOTAL_TIMEOUT, Timers
from weir_router.call.journey import Journey
from weir_router.clock import ManualClock
from weir_router.contract import (
    Backend,
    BackendLimits,
    CompiledConfig,
    Dialect,
    Failover,
    Limit,
    Policy,
    Secrets,
    Tier,
)
from weir_router.decide.types import Candidate, Choice
from weir_router.dialects.registry import caller_named
from weir_router.errors import AttemptFailed, FailureKind, WeirError
from weir_router.health.board import Board

from .conftest import CONTENT, DONE, STOP, Pages, ScriptedResponse, fails, refused

DEADLINE = 60.0
BROKEN = b'data: {"choices": [\n\n'
LIMIT = Limit(key="grant", in_flight=3)

PARTS = st.lists(
    st.sampled_from([CONTENT, CONTENT, STOP + DONE, BROKEN, b": ping\n\n", None, fails(FailureKind.RESET)]), max_size=4
)
STREAMS = PARTS.map(lambda parts: lambda: ScriptedResponse(parts))
REFUSALS = st.sampled_from([400, 401, 408, 429, 500, 503]).map(lambda status: lambda: refused(status))
UNREACHED = st.sampled_from([FailureKind.CONNECT, FailureKind.RESET]).map(lambda kind: lambda: fails(kind))
ANSWERS = st.one_of(STREAMS, REFUSALS, UNREACHED)
ASKED = st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 30.0]), st.sampled_from([None, None, 0.0, 1.0, 20.0]))


class Transport:
    """A transport with drawn answers; the last one repeats."""

    def __init__(self, drawn):
        self._drawn = {name: list(answers) for name, answers in zip("abc", drawn, strict=True)}

    async def post(self, url, headers, body, connect_timeout):
        answers = self._drawn[url.split("/")[2]]
        answer = (answers.pop(0) if len(answers) > 1 else answers[0])()
        await asyncio.sleep(0.01)
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    """Three backends with two slots each, and requests to all of them."""

    def __init__(self, clock, drawn):
        self.clock = clock
        self.board = Board(clock, random.Random(1))
        limits = BackendLimits(concurrency=2)
        self.backends = [
            Backend(name=n, provider=Dialect.OPENAI, base_url=f"http://{n}", model="m", limits=limits) for n in "abc"
        ]
        self.board.configure(
            CompiledConfig(tiers={"t/t": Tier(namespace="t", name="t", backends=tuple(self.backends))})
        )
        self.ledger, self.budgets, self.queue = LocalLedger(clock), RetryBudgets(clock), Queue(clock)
        self.board.on_free = self.queue.free
        self.tools = Tools(self.board, self.ledger, self.budgets, self.queue, Transport(drawn), clock, Timers())
        self.policy = Policy(namespace="n", name="p", models=(), callers=(), failover=Failover(deadline=DEADLINE))

    async def request(self, streamed):
        """Runs one request to its end."""
        body = {"model": "auto", "stream": streamed, "messages": [{"role": "user", "content": "hi"}]}
        ask = caller_named(Dialect.OPENAI).read(msgspec.json.encode(body), {})
        candidates = tuple(Candidate("t/t", it, f"t/t/{it.name}", (LIMIT,)) for it in self.backends)
        choice = Choice(route="r", candidates=candidates, skipped=(), reason="")
        decision = decision_of(choice, self.policy)
        journey = Journey(self.tools, ask, decision, Secrets(), again=lambda: decision)
        began = self.clock.monotonic()
        try:
            attempt = await journey.commit()
        except WeirError:
            assert self.clock.monotonic() - began <= DEADLINE + CONNECT_TIMEOUT
            return
        try:
            await attempt.relay(Pages())
        except AttemptFailed:
            pass
        finally:
            attempt.cancel()
        assert self.clock.monotonic() - began <= DEADLINE + TOTAL_TIMEOUT + IDLE_TIMEOUT


@settings(max_examples=80, deadline=None)
@given(st.tuples(*[st.lists(ANSWERS, min_size=1, max_size=4)] * 3), st.lists(ASKED, min_size=1, max_size=8))
def test_every_request_ends_and_gives_everything_back(drawn, asked):
    clock = ManualClock()

    async def story():
        world = World(clock, drawn)
        loop = asyncio.get_running_loop()
        requests = []
        for streamed, pause, leaves_after in asked:
            await asyncio.sleep(pause)
            requests.append(asyncio.create_task(world.request(streamed)))
            if leaves_after is not None:
                loop.call_later(leaves_after, requests[-1].cancel)
        ends = await asyncio.gather(*requests, return_exceptions=True)
        assert [end for end in ends if isinstance(end, Exception)] == []
        return world

    world = run(clock, story())
    assert [view.pending for view in world.board.view().values()] == [0, 0, 0]
    assert len(world.queue) == 0
    assert {count.in_flight for count in world.ledger._counts.values()} <= {0}
    assert world.budgets.of(world.policy).tokens >= 0
