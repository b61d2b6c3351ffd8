"""A scripted transport, and journeys over it: no sockets, no simulator."""

import asyncio
import random
from types import SimpleNamespace

import msgspec
import pytest
import uvloop

from support.decisions import CALLER, decision_of
from weir_router.admit.ledger_local import LocalLedger
from weir_router.admit.queue import Queue
from weir_router.admit.retry_budget import RetryBudgets
from weir_router.call.candidates import Tools
from weir_router.call.clocks import Timers
from weir_router.call.journey import Journey
from weir_router.call.transport.base import Pulled
from weir_router.clock import ManualClock
from weir_router.contract import Backend, CompiledConfig, Dialect, Failover, Policy, Route, Secrets, Tier, TierRef
from weir_router.decide.types import Candidate, Choice
from weir_router.dialects.registry import caller_named
from weir_router.errors import AttemptFailed
from weir_router.health.board import Board

CONTENT = b'data: {"choices": [{"index": 0, "delta": {"content": "hello"}}]}\n\n'
STOP = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def pytest_asyncio_loop_factories():
    """Runs the tests on uvloop, as deployments do, and on asyncio's own loop."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class ScriptedResponse(Pulled):
    """A response that hands out its parts; an exception among them is raised, `None` hangs."""

    def __init__(self, parts, status=200, headers=None):
        self.status = status
        self.headers = headers or {"content-type": "text/event-stream"}
        self.released = False
        self._parts = list(parts)

    async def read(self):
        part = self._parts.pop(0) if self._parts else b""
        if part is None:
            await asyncio.Event().wait()
        if isinstance(part, Exception):
            raise part
        return part

    async def read_all(self, grow=None):
        return b"".join([part async for part in self._all()])

    async def _all(self):
        while part := await self.read():
            yield part

    def ended(self):
        return not self._parts

    def release(self):
        self.released = True

    def finish(self):
        self.release()


class Pages:
    """A sink that keeps its data, write by write."""

    def __init__(self):
        self.written = []
        self.ended = False
        self.press = None

    def write(self, data):
        self.written += [data] if data else []

    def end(self, last):
        self.write(last)
        self.ended = True

    def waiting(self):
        return 0

    def on_pressure(self, told):
        self.press = told


class ScriptedTransport:
    """A transport that gives one answer after another, per host; it raises an exception among them."""

    def __init__(self):
        self.answers = {}
        self.sent = []

    async def post(self, url, headers, body, connect_timeout):
        name = url.split("/")[2]
        self.sent.append((name, msgspec.json.decode(body)))
        answer = self.answers[name].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ask(self, method, url, headers, body, connect_timeout):
        name = url.split("/")[2]
        self.sent.append((name, method, url.partition(name)[2], headers, body))
        answer = self.answers[name].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def stream(*parts):
    return ScriptedResponse(parts or (CONTENT, STOP + DONE))


def refused(status, **error):
    body = msgspec.json.encode({"error": {"message": "no"} | error})
    return ScriptedResponse([body], status, {"content-type": "application/json"})


def fails(kind, **fields):
    return AttemptFailed(kind, kind.value, **fields)


@pytest.fixture
def ask_for():
    def make(*, streamed=False, **more):
        body = {"model": "auto", "stream": streamed, "messages": [{"role": "user", "content": "hi"}], **more}
        return caller_named(Dialect.OPENAI).read(msgspec.json.encode(body), {})

    return make


@pytest.fixture
def world(ask_for):
    """Backends a, b, c in one tier, in this order; `world.journey()` starts a request over them."""
    clock = ManualClock()
    board = Board(clock, random.Random(1))
    transport = ScriptedTransport()
    tools = Tools(board, LocalLedger(clock), RetryBudgets(clock), Queue(clock), transport, clock, Timers())
    board.on_free = tools.queue.free
    backends = {n: Backend(name=n, provider=Dialect.OPENAI, base_url=f"http://{n}", model="m") for n in "abc"}

    def journey(
        *,
        streamed=False,
        limits=(),
        panic=False,
        skipped=(),
        bounds=None,
        waits=None,
        out="",
        back=None,
        ledger=None,
        after=(),
        subscribers=(),
        ref=None,
        of=CALLER.namespace,
        temperature=None,
        max_tokens=None,
        unable=None,
        dear="",
        **changes,
    ):
        """`out`: backends that are no candidates at first; `back`: the candidates of a second decision; `of`: the
        caller's namespace; `ref`: the tier as the policy may use it; `dear`: backends of the route's second tier.
        """
        used = {n: msgspec.structs.replace(b, **changes.get(n, {})) for n, b in backends.items()}
        board.configure(CompiledConfig(tiers={"t/t": Tier(namespace="t", name="t", backends=tuple(used.values()))}))
        tier_of = {n: "t/dear" if n in dear else "t/t" for n in "abc"}
        every = tuple(Candidate(tier_of[n], used[n], f"t/t/{n}", limits) for n in "abc" if n in transport.answers)
        candidates = tuple(it for it in every if it.backend.name not in out)
        policy = Policy(namespace="n", name="p", models=("auto",), callers=(), failover=bounds or Failover())
        policy = msgspec.structs.replace(policy, queue=waits or policy.queue)
        if dear:
            policy = msgspec.structs.replace(
                policy, routes=(Route(name="r", tiers=(TierRef("t/t"), TierRef("t/dear"))),)
            )
        if ref is not None:
            policy = msgspec.structs.replace(policy, routes=(Route(name="r", tiers=(ref,)),))
        choice = Choice(route="r", candidates=candidates, skipped=skipped, reason="", panic=panic, unable=unable)

        def again():
            late = tuple(it for it in every if it.backend.name in back)
            return decision_of(msgspec.structs.replace(choice, candidates=late), policy)

        more = {"temperature": temperature, "max_tokens": max_tokens}
        ask = ask_for(streamed=streamed, **{name: value for name, value in more.items() if value is not None})
        decision = decision_of(choice, policy, caller=msgspec.structs.replace(CALLER, namespace=of))
        shared = (tools.budgets, tools.queue, tools.transport, tools.clock, tools.timers)
        used_tools = Tools(tools.board, ledger or tools.ledger, *shared, subscribers, after)
        return Journey(used_tools, ask, decision, Secrets(), again=None if back is None else again)

    return SimpleNamespace(
        clock=clock,
        board=board,
        tools=tools,
        budget=tools.budgets._shared,
        transport=transport,
        answers=transport.answers,
        journey=journey,
    )


@pytest.fixture
def slept(world, monkeypatch):
    """The back-offs, which take no time."""
    waits = []

    async def sleep(seconds):
        waits.append(seconds)
        world.clock.advance(seconds)

    monkeypatch.setattr("weir_router.call.journey.asyncio.sleep", sleep)
    return waits
