"""The steps of a request: identify, admit, read, check, measure, decide, call, relay, record.

`Gateway` holds the parts that one router needs to serve; `app` makes the HTTP routes to it. Before the first byte was
sent, an error becomes an HTTP answer; after it, the last event of the stream.
"""

from __future__ import annotations

import logging
import random

import msgspec

from weir_router.admit.ledger_local import LocalLedger
from weir_router.admit.memory import Memory
from weir_router.admit.queue import Room
from weir_router.admit.retry_budget import RetryBudgets
from weir_router.call.answering import Answering
from weir_router.call.candidates import Tools
from weir_router.call.clocks import Timers
from weir_router.call.confirm import Confirmer
from weir_router.call.journey import Journey
from weir_router.call.load import LARGE
from weir_router.call.passing import Passing
from weir_router.call.transport import Transport
from weir_router.clock import Clock
from weir_router.config.store import ConfigStore
from weir_router.contract import CompiledConfig, Policy, Secrets
from weir_router.contract.caller import Caller
from weir_router.contract.hours import load_zones
from weir_router.decide.asked import asked
from weir_router.decide.decision import decide
from weir_router.decide.policy import PolicyIndex
from weir_router.decide.types import Asked, Decision
from weir_router.decide.world import World
from weir_router.dialects import registry
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import ConversationRecord, FormatRecord
from weir_router.errors import (
    AttemptFailed,
    CheckRefused,
    FailureKind,
    InternalError,
    NoCapableModel,
    NotConfigured,
    Source,
    StreamBroken,
    WeirError,
    forget_frames,
)
from weir_router.health.board import Board
from weir_router.identify.identifier import Identifier
from weir_router.record.recorder import Recorder
from weir_router.serve import bodies
from weir_router.serve.answers import (
    error_answer,
    json_answer,
    new_request_id,
)
from weir_router.serve.door import Door
from weir_router.serve.extensions import NONE, Extensions
from weir_router.serve.hops import Hops
from weir_router.serve.http import Answer, Request
from weir_router.serve.keys import StateKeys
from weir_router.serve.models import Models
from weir_router.serve.paths import shape
from weir_router.serve.turns import HEAVY
from weir_router.serve.visit import Visit
from weir_router.serve.waiting import Waiting

logger = logging.getLogger("weir.router")


class Gateway:
    """All parts that serve requests, wired by `app`."""

    def __init__(
        self,
        store: ConfigStore,
        board: Board,
        transport: Transport,
        recorder: Recorder,
        clock: Clock,
        rng: random.Random,
        identifier: Identifier,
        room: Room,
        memory: Memory,
        extensions: Extensions = NONE,
        hops: Hops | None = None,
    ) -> None:
        self._before = extensions.before
        self.hops = hops or Hops()
        self._sources = extensions.sources
        ledger = LocalLedger(clock)
        self.room = room
        self.door = Door(ledger, room, memory)
        self._identifier = identifier
        self.store = store
        self._board = board
        self.recorder = recorder
        self.clock = clock
        self._draw = rng.random
        self._budgets = RetryBudgets(clock)
        self._waiting = Waiting()
        self._models = Models()
        self.keys = StateKeys(clock)
        self.tools = Tools(
            board,
            ledger,
            self._budgets,
            room.queue,
            transport,
            clock,
            Timers(),
            extensions.subscribers,
            extensions.after,
            Confirmer(board, transport, clock),
            memory,
        )
        store.subscribe(self._configured)

    def _configured(self, config: CompiledConfig, secrets: Secrets) -> None:
        self.door.index = PolicyIndex(config)
        load_zones(config)
        self._budgets.configure(config)
        self._identifier.configure(config, secrets)
        self.keys.configure(secrets)
        registry.forget_credentials()

    async def list_models(self, request: Request) -> Answer:
        """Handles `GET /v1/models` and `GET /v1/models/{id}`."""
        format = shape(request.sent, request.headers)
        try:
            caller, index = await self.identify(request.headers), self.door.index
            self.door.own(request, caller)
            config = self.store.config
            assert config is not None
            assert isinstance(format, ConversationRecord)
            body = self._models.answer(request, format, index, config, caller, self.clock.wall())
            return json_answer(200, body)
        except WeirError as error:
            return error_answer(error, format, new_request_id())

    async def complete(self, request: Request, format: FormatRecord) -> Answer | None:
        """Handles `POST` to the path of a format, e.g. `/v1/chat/completions`."""
        visit = Visit(request, format, self.clock.monotonic())
        self.recorder.started()
        try:
            return await self._complete(visit)
        except WeirError as error:
            if visit.ask is not None and visit.ask.below and isinstance(error, NoCapableModel):
                error.status = 404  # a path that no backend of the route has
            return visit.refuse(error)
        except Exception as bug:
            return visit.refuse(bug_in(bug, visit.id))
        finally:
            self.recorder.ended(visit.finished(self.clock.monotonic()))

    async def _complete(self, visit: Visit) -> Answer | None:
        headers = visit.request.headers
        visit.caller = caller = self._known(headers) or await self.identify(headers)
        self.door.own(visit.request, caller)
        body = visit.request.body
        if body is None or "content-encoding" in headers:
            body = await self.body(visit, caller)
        if visit.request.deployment:
            body = visit.request.body = bodies.named(body, visit.request.deployment)
        door = self.door
        size = len(body)
        heavy = size >= HEAVY
        if heavy:
            await door.turns.next()
        look = visit.format.look(body)
        policy = door.policy(visit, caller, look, size)
        via = self.hops.passed(headers, visit.model or "", self.store.config) if "via" in headers else ""
        hold = door.reserve(policy, caller)
        try:
            if hold.pending is not None:
                await hold.pending
            if not self.room.enter(caller.namespace):
                await door.room(policy, caller, size)
            try:
                if size >= LARGE:
                    if heavy:
                        await door.turns.next()
                    door.weigh(visit.request, body)
                    if heavy:
                        await door.turns.next()
                visit.ask = ask = visit.format.read(body, headers)
                if not ask.model:
                    visit.ask = ask = msgspec.structs.replace(ask, model=visit.model)
                if via:
                    visit.ask = ask = msgspec.structs.replace(ask, via=via)
                if ask.state is not None:
                    visit.ask = ask = self.bound(ask, caller, policy)
                if self._before:
                    self._check(ask, caller, policy)
                measured = asked(ask, headers)
                answer = await self._reused(ask, measured, policy) if self._sources else None
                if answer is None:
                    deciding = _Deciding(self, measured, caller, policy)
                    visit.decision = decision = self.decide(measured, caller, policy)
                    visit.journey = journey = Journey(self.tools, ask, decision, self.store.secrets, size, deciding)
                    if ask.large:
                        journey.load = door.load(visit.request, ask, body, policy)
                        body = b""
                        if heavy:
                            await door.turns.next()
                    answer = await (self._streamed(visit, journey, policy) if visit.stream else journey.commit())
                if _is_whole(visit, answer):
                    return _whole(visit, answer)
                await _relay(visit, answer)
                return None
            finally:
                self.room.leave(caller.namespace)
        finally:
            hold.release()

    def bound(self, ask: Ask, caller: Caller, policy: Policy) -> Ask:
        """The request, bound to the provider whose state it uses: see `StateKeys.bound`."""
        assert self.store.config is not None
        return self.keys.bound(ask, caller, policy, self.store.config)

    async def _streamed(self, visit: Visit, journey: Journey, policy: Policy) -> Answering:
        """The answer for a streaming caller, who gets a sign of life every so often until then."""
        seconds = policy.failover.keep_alive
        if not seconds:
            return await journey.commit()
        self._waiting.join(visit, seconds)
        try:
            return await journey.commit()
        finally:
            self._waiting.leave(visit)

    def _check(self, ask: Ask, caller: Caller, policy: Policy) -> None:
        """The checks before the call. Raises `CheckRefused`."""
        for check in self._before:
            verdict = check.check(ask, caller, policy)
            if not verdict.passes:
                raise CheckRefused(f"The check {check.name} refuses the request: {verdict.reason}.")

    async def _reused(self, ask: Ask, measured: Asked, policy: Policy) -> Answering | None:
        """The answer of the first source that has one."""
        for source in self._sources:
            answer = await source(ask, measured, policy)
            if answer is not None:
                return answer
        return None

    def knows(self, headers: dict[str, str]) -> str | None:
        """The caller's namespace if a quick look at the headers identifies it, so that a body may be read at once."""
        caller = self._known(headers)
        return None if caller is None else caller.namespace

    async def body(self, visit: Visit, caller: Caller) -> bytes:
        """The body of a request, if it has not come yet or is compressed."""
        request, coding = visit.request, visit.request.headers.get("content-encoding")
        body = request.body
        if body is None:
            body = await bodies.read(request)
            visit.arrived = self.clock.monotonic()  # the caller's time for sending is not ours
        return body if coding is None else await self.door.unpacked(request, body, coding, caller)

    def _known(self, headers: dict[str, str]) -> Caller | None:
        """The caller in nearly all cases, without a coroutine; None: call `_identify`."""
        return None if self.store.config is None else self._identifier.remembered(headers)

    async def identify(self, headers: dict[str, str]) -> Caller:
        """The caller behind `headers`. Raises `errors.WeirError`."""
        if self.store.config is None:
            raise NotConfigured("This router has no config yet; it is waiting for the operator.", retry_after=2.0)
        return await self._identifier.identify(headers)

    def decide(self, asked: Asked, caller: Caller, policy: Policy) -> Decision:
        """The decision with the present health and time."""
        config = self.store.config
        assert config is not None
        now, wall = self.clock.monotonic(), self.clock.wall()
        return decide(asked, caller, policy, World(config, self._board.view(), wall, now, self._draw()))


class _Deciding:
    """The decision for one request, which may be repeated. A `partial` would cost four times as much."""

    __slots__ = ("_asked", "_caller", "_gateway", "_policy")

    def __init__(self, gateway: Gateway, asked: Asked, caller: Caller, policy: Policy) -> None:
        self._gateway, self._asked, self._caller, self._policy = gateway, asked, caller, policy

    def __call__(self) -> Decision:
        return self._gateway.decide(self._asked, self._caller, self._policy)


def _lines(visit: Visit, answer: Answering) -> bytes:
    """The header lines of `answer`, which is the caller's from now on."""
    visit.answers(answer)
    visit.request.held += answer.counted()
    return visit.lines({visit.format.request_id: visit.id, **answer.headers})


def _is_whole(visit: Visit, answer: Answering) -> bool:
    """Whether the answer goes out at once, and not as a stream."""
    if not isinstance(answer, Passing):
        return not visit.stream
    visit.passes, visit.events, visit.stream = True, answer.events, answer.events
    return answer.done


def _whole(visit: Visit, answer: Answering) -> Answer:
    """The whole answer for a plain caller."""
    lines = _lines(visit, answer)
    visit.outcome = "ok"
    return Answer(200, lines, answer.body) if visit.passes else json_answer(200, answer.body, lines)


async def _relay(visit: Visit, answer: Answering) -> None:
    """Sends the stream to the caller, from the commit point to its end or failure."""
    lines = _lines(visit, answer)
    try:
        done = answer.done
        stream = visit.begin(lines, visit.end_of(answer.body) if done else answer.body)
        if not done:
            stream.closes(visit.end_of)
        try:
            await answer.relay(stream)
            visit.outcome = "ok"
        except AttemptFailed as failure:
            sent = answer.usage.output if answer.usage else 0
            forget_frames(failure)
            unread = failure.kind is FailureKind.UNREAD
            what = "stream was given up" if unread else "upstream's stream broke"
            error = StreamBroken(f"The {what} after about {sent} tokens: {failure.message}.", trail=visit.trail())
            error.source = Source.CALLER if unread else error.source
            visit.break_off(stream, error)
        except Exception as bug:
            answer.cancel()
            visit.break_off(stream, bug_in(bug, visit.id))
    finally:
        answer.cancel()
        visit.trail()  # the attempt as it has ended


def bug_in(bug: Exception, request_id: str) -> InternalError:
    """Logs a bug, and turns it into an error that names the log line."""
    logger.error("request %s failed because of a bug in Weir", request_id, exc_info=bug)
    return InternalError(
        f"Weir failed on this request ({type(bug).__name__}); its log has the details under {request_id}."
    )
