"""One request to one backend that is known already: no choice, no slot, no queue and no retry. Used by `serve`.

Examples: the tokens of a request are counted where it would go, and a stored answer is read where it is. Health hears
of its failures (`health.witness`), and the transport keeps to the rules for hosts.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from weir_router.admit.ledger import Hold
from weir_router.admit.memory import Holder
from weir_router.call.answering import Sink
from weir_router.call.candidates import Tools
from weir_router.call.clocks import CONNECT_TIMEOUT, Clocks, Watchdog
from weir_router.call.conceal import conceal, concealed, passed_on
from weir_router.call.ends import words_of
from weir_router.call.transport import Response
from weir_router.call.transport.base import Grow
from weir_router.call.verdict import MEANING, Ending, Next, exhausted, refusal
from weir_router.contract import Backend
from weir_router.decide.types import UNSEEN, Candidate, Choice, Skipped
from weir_router.dialects.base import Host
from weir_router.dialects.registry import ANSWER_HEADERS, host_of
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.failures import Table
from weir_router.dialects.wire.headers import extended
from weir_router.dialects.wire.outgoing import Body
from weir_router.errors import AttemptFailed, AttemptRecord, FailureKind, WeirError, forget_frames
from weir_router.health.kinds import CREDENTIAL_KINDS
from weir_router.health.witness import Witness

DIRECT_TIMEOUT = 30.0
"""Seconds for the whole answer: no model writes it, so it is there in a second or two."""

STREAM_IDLE, STREAM_TOTAL = 600.0, 3600.0
"""Seconds between two parts of a stream, and for the whole. It is of an answer that is written in the background, where
a model may think for minutes without a word.
"""

MISSING = frozenset({404, 405, 410})
"""Statuses that are about the path or a stored answer, and say nothing about the backend's model."""

_REFUSED = frozenset({Next.ANSWER, Next.WITHOUT, Next.LARGER})


class Errand(NamedTuple):
    """One request to a backend."""

    method: str  # e.g. "GET"
    path: str  # below the backend's base URL, with its own query, e.g. "/responses/resp_1?include[]=x"
    body: Body = b""
    headers: tuple[tuple[str, str], ...] = ()  # the caller's that go with it, e.g. `anthropic-beta`
    seconds: float = DIRECT_TIMEOUT  # for the whole answer, unless the backend has `timeouts.total`


class Reply(NamedTuple):
    """The answer to an errand, whose status is 2xx."""

    status: int
    headers: dict[str, str]  # for the caller: see `FormatRecord.answer_headers`
    body: bytes  # without the credential that was sent
    record: AttemptRecord  # for the trail


async def granted(tools: Tools, candidate: Candidate, apart: str) -> Hold:
    """The grant's limits for requests of a kind `apart`, such as `counts`, by the numbers of the grant. A tenant writes
    the limits of its own policy, the owner of a tier those of the grant. Raises `RateLimited`.
    """
    limits = tuple([msgspec.structs.replace(limit, key=f"{apart}/{limit.key}") for limit in candidate.limits])
    hold = tools.ledger.reserve(limits)
    try:
        if hold.pending is not None:
            await hold.pending
    except BaseException:
        hold.release()
        raise
    return hold


async def direct(
    tools: Tools, candidate: Candidate, errand: Errand, table: Table, credential: str | None, holder: Holder
) -> Reply:
    """Asks the candidate's backend once. `table` reads the error of its format, e.g. `openai_responses.failures.TABLE`.

    `holder` is the caller's request: its namespace stands for it, and the answer's bytes are counted for it. Raises
    `WeirError`: `UpstreamRefused` where the request is at fault, otherwise an error that blames the upstream.
    """
    backend, clock = candidate.backend, tools.clock
    started = clock.monotonic()
    witness = tools.board.witness(candidate.key, holder.namespace, backend)
    if witness is None:
        raise _failed(tools, candidate, None, started)

    try:
        async with asyncio.timeout(backend.timeouts.total or errand.seconds):
            response = await send(tools, backend, errand, credential)
            try:
                body = concealed(await response.read_all(_counting(tools, holder)), credential)
            finally:
                response.release()
        if not 200 <= response.status < 300:
            raise failure_of(table, response.status, response.headers, body)
        witness.ended()
        record = AttemptRecord(candidate.tier, backend.name, "ok", clock.monotonic() - started, response.status)
        return Reply(response.status, passed_on(response.headers, ANSWER_HEADERS, credential), body, record)
    except (AttemptFailed, TimeoutError) as error:
        failure = error if isinstance(error, AttemptFailed) else late(clock.monotonic() - started)
        conceal(failure, credential)
        witness.failed(failure.kind, failure.retry_after, words_of(failure))
        raise _failed(tools, candidate, failure, started) from None
    finally:
        witness.ended()


class Flow:
    """The stream that answers an errand, from its head to its end, under its clocks."""

    def __init__(self, tools: Tools, candidate: Candidate, witness: Witness, credential: str | None) -> None:
        timeouts = candidate.backend.timeouts
        idle, total = timeouts.idle or STREAM_IDLE, timeouts.total or STREAM_TOTAL
        clocks = Clocks(timeouts.connect or CONNECT_TIMEOUT, DIRECT_TIMEOUT, None, max(idle, STREAM_IDLE), total)
        self.headers: dict[str, str] = {}  # for the caller
        self._watchdog = Watchdog(tools.clock, clocks, _Alone(), tools.timers)
        self._witness = witness
        self._credential = credential
        self._response: Response | None = None

    async def begin(self, tools: Tools, backend: Backend, errand: Errand, table: Table, grow: Grow) -> None:
        """Waits for the head of the stream. Raises `AttemptFailed`."""
        response = self._response = await self._watchdog.waits_for(send(tools, backend, errand, self._credential))
        kind = response.headers.get("content-type", "")
        if response.status == 200 and host_of(backend.provider).framing.reads(kind, True):
            self.headers = passed_on(response.headers, ANSWER_HEADERS, self._credential)
            return
        body = concealed(await self._watchdog.waits_for(response.read_all(grow)), self._credential)
        if response.status != 200:
            raise failure_of(table, response.status, response.headers, body)
        raise AttemptFailed(FailureKind.MALFORMED, "a stream was asked for, and a whole answer came")

    async def relay(self, sink: Sink, show: Callable[[bytes], bytes]) -> None:
        """Sends what `show` makes of each part, the empty one at the end included, and ends `sink`. Raises
        `AttemptFailed`.
        """
        assert self._response is not None

        def receive(part: bytes) -> bool:
            if part:
                self._watchdog.content()
                sink.write(show(part))
            else:
                sink.end(show(part))
            return True

        self._watchdog.caller = sink
        sink.on_pressure(self._press)
        try:
            await self._watchdog.waits_for(self._response.each(receive))
        except AttemptFailed as failure:
            conceal(failure, self._credential)
            forget_frames(failure)
            raise

    def cancel(self) -> None:
        """Ends it, be it over or not."""
        self._witness.ended()
        self._watchdog.stop()
        if self._response is not None:
            self._response.release()

    def failed(self, failure: AttemptFailed) -> None:
        """Reports a failure before the stream has begun."""
        conceal(failure, self._credential)
        self._witness.failed(failure.kind, failure.retry_after, words_of(failure))

    def _press(self, pressed: bool) -> None:
        if self._response is not None:
            self._response.hold(pressed)
            self._watchdog.hold(pressed)


class _Alone:
    """See `clocks.Watched`: no other backend can answer, and the clocks end the stream all the same."""

    def slow(self) -> None:
        pass

    def flows(self) -> None:
        pass

    def alone(self) -> bool:
        return False


async def direct_stream(
    tools: Tools, candidate: Candidate, errand: Errand, table: Table, credential: str | None, holder: Holder
) -> Flow:
    """Like `direct`, for an errand whose answer is a stream. The calling function must `cancel` it in the end."""
    started = tools.clock.monotonic()
    witness = tools.board.witness(candidate.key, holder.namespace, candidate.backend)
    if witness is None:
        raise _failed(tools, candidate, None, started)
    flow = Flow(tools, candidate, witness, credential)
    try:
        await flow.begin(tools, candidate.backend, errand, table, _counting(tools, holder))
    except AttemptFailed as failure:
        flow.failed(failure)
        flow.cancel()
        raise _failed(tools, candidate, failure, started) from None
    except BaseException:
        flow.cancel()
        raise
    return flow


def _counting(tools: Tools, holder: Holder) -> Grow:
    """Counts bytes of an answer for the caller's request. Raises `Overloaded`."""

    def grow(size: int) -> None:
        tools.memory.claim(size, holder.namespace, "this answer")
        holder.held += size

    return grow


async def send(tools: Tools, backend: Backend, errand: Errand, credential: str | None) -> Response:
    """The beginning of the answer. Raises `AttemptFailed`."""
    host: Host = host_of(backend.provider)
    path, extra = errand.path, backend.extra
    if extra is None:
        headers = host.headers(credential, errand.headers)
    else:
        headers = extended(host.headers, credential, errand.headers, extra)
        if extra.query:
            path += ("&" if "?" in path else "?") + extra.query
    connect = backend.timeouts.connect or CONNECT_TIMEOUT
    return await tools.transport.ask(errand.method, backend.base_url + path, headers, errand.body, connect)


def failure_of(table: Table, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
    """The failure in an error answer. A path or answer that is not there is no fault of the backend's model."""
    failure = failures.from_answer(table, status, headers, body, frozenset())
    if status in MISSING:
        failure.kind = FailureKind.CALLER
    return failure


def late(seconds: float) -> AttemptFailed:
    """The failure of a backend that has not answered in time."""
    return AttemptFailed(FailureKind.TOO_LONG, f"no answer within {seconds:.1f} s")


def _failed(tools: Tools, candidate: Candidate, failure: AttemptFailed | None, started: float) -> WeirError:
    """The error for a backend that has failed, or is out (None)."""
    now, health = tools.clock.monotonic(), tools.board.view()
    tier, key, name = candidate.tier, candidate.key, candidate.backend.name
    trail: list[AttemptRecord] = []
    if failure is not None:
        forget_frames(failure)
        code = failure.code or failure.type
        trail = [AttemptRecord(tier, name, failure.kind.value, now - started, failure.status, code, failure.message)]
        if MEANING[failure.kind] in _REFUSED:
            return refusal(failure, trail)
    view = health.get(key)
    why = "not in the config" if view is None else f"{view.state} because of {view.reason}"
    tried = frozenset({key}) if trail else frozenset[str]()
    return exhausted(
        "no other has what it asks for",
        Ending(
            choice=Choice(None, (), (Skipped(tier, name, why, key, seen=UNSEEN),), ""),
            trail=trail,
            failures=[] if failure is None else [failure],
            tried=tried,
            ours=tried if failure is not None and failure.kind in CREDENTIAL_KINDS else frozenset(),
            limited=None,
            refused=None,
            health=health,
            now=now,
            deadline=math.inf,
            bound=0.0,
            prompt_tokens=0,
        ),
    )
