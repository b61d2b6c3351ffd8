"""The only retry loop: candidates in, a committed attempt out. Called by `serve.story` once per request.

1. Take the next candidate that may still help (`call.candidates`). If all candidates left have reached their
   concurrency, wait for a slot.
2. Try it until its commit point, within the rest of the policy's deadline.
3. After a failure, `verdict.MEANING` gives the next step: another candidate (healthy ones first), the same one without
   additions, a larger context, another tier, or the answer to the caller.
4. Without further candidates, attempts, time or retry budget: one error that names the failed part and the attempts
   (`call.verdict`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Container, Sequence

from weir_router.admit.queue import WAIT
from weir_router.call.answering import Answering
from weir_router.call.attempt import Attempt
from weir_router.call.candidates import Candidates, Taken, Tools
from weir_router.call.clocks import CONNECT_TIMEOUT, IDLE_TIMEOUT, TOTAL_TIMEOUT, Clocks
from weir_router.call.ends import EMPTY
from weir_router.call.held import Held
from weir_router.call.load import Load
from weir_router.call.passing import Passing
from weir_router.call.patience import EARLY, Patience, patience_of
from weir_router.call.tap import Listener, Subscriber, Tap
from weir_router.call.verdict import CORRECTED, MEANING, PASSING, Ending, Next, alike, exhausted, refusal
from weir_router.contract import Secrets
from weir_router.contract import Transport as Mode
from weir_router.decide.types import Candidate, Decision
from weir_router.dialects.ask import Ask
from weir_router.dialects.passed.record import PASSED
from weir_router.dialects.wire.outgoing import header_of
from weir_router.errors import (
    AttemptFailed,
    AttemptRecord,
    FailureKind,
    Overloaded,
    RateLimited,
    WeirError,
    forget_frames,
)
from weir_router.health.board import identity
from weir_router.health.kinds import CREDENTIAL_KINDS
from weir_router.health.refused import NOTHING

DROPPED = "x-weir-dropped"
"""Header of the answer with the names of fields that the upstream did not get, e.g. `seed, user`."""

ALONE = " No other backend has the response or item that the request names."
"""The end of the error for a request that only one account can serve."""

BACK_OFF, MAX_BACK_OFF = 0.5, 2.0
"""Seconds until a backend that has failed is tried again where no other is left, doubled each time; and at most. SDKs
wait as long, so a router before one backend hides what they would have hidden."""


class Journey:
    """One request on its way through the candidates. `trail` grows with every try."""

    def __init__(
        self,
        tools: Tools,
        ask: Ask,
        decision: Decision,
        secrets: Secrets,
        size: int = 0,
        again: Callable[[], Decision] | None = None,
    ) -> None:
        """`size`: bytes of the request, which count while it waits for a slot. `again` repeats the decision."""
        policy = decision.policy
        self.trail: list[AttemptRecord] = []
        self.answer: Attempt | None = None  # the attempt that has reached its commit point
        self.load: Load | None = None  # of a large request
        self.spent: list[Attempt] = []  # failed attempts whose tokens must still be paid for
        self._tools = tools
        self._candidates = Candidates(tools, decision)
        self.over_quota: Sequence[str] = self._candidates.over_quota  # tiers whose grants had no room for it
        self._ask = ask
        self._passes = ask.format in PASSED  # its answers pass in the bytes that come
        self._again = again
        self._bounds = policy.failover
        self._waits = policy.queue
        self._size = size
        self._secrets = secrets
        self._prompt_tokens = decision.asked.features.tokens
        self._without: dict[str, frozenset[str]] = {}  # by backend: fields without which it is asked once more
        self._deadline = tools.clock.monotonic() + policy.failover.deadline
        self._refused: WeirError | None = None
        self._blips = 0  # back-offs so far
        self._empty: Attempt | None = None  # has an empty answer, in whose place another one may come
        self._patience = patience_of(decision) if policy.failover.tier_delay else None
        self._listeners = _listeners(tools.subscribers, decision) if tools.subscribers else []

    def renew_trail(self) -> None:
        """Brings `trail` up to date, in which the attempt that answers is the last."""
        if self.answer is not None:
            self.trail[-1] = self.answer.record()

    async def commit(self) -> Answering:
        """The first attempt that reaches its commit point. Raises the `WeirError` that ends the request."""
        while True:
            if self._patience is not None:
                await self._wait_for_cheaper(self._patience)
            taken = self._next() or self._back_again() or await self._after_blip() or await self._slot()
            if taken.hold.pending is not None and not await self._confirmed(taken):
                continue
            candidate = taken.candidate
            without = taken.guard.refuses
            if self._without:
                without |= self._without.get(candidate.key, NOTHING)
            streamed = self._streamed(candidate, without)
            attempt = self._attempt(taken, streamed)
            try:
                await attempt.start(self._credential(candidate), streamed=streamed, without=without)
            except AttemptFailed as failure:
                self._failed(attempt, failure)
            except Overloaded:  # this router has no memory for the answer, or for another attempt
                self.trail.append(attempt.record())
                self.spent.append(attempt)
                raise
            except WeirError as refused:  # the request cannot be put into this backend's format
                forget_frames(refused)
                self._refused = refused
            except BaseException:
                self.trail.append(attempt.record())
                self.spent.append(attempt)
                raise
            else:
                if self._without:
                    taken.guard.takes_without(self._without.get(candidate.key, NOTHING))
                if attempt.dropped:
                    attempt.headers[DROPPED] = header_of(attempt.dropped)
                self.trail.append(attempt.record())
                self.answer = attempt
                if attempt.empty and self._empty is None and self._candidates.available(candidate.key):
                    return await self._in_place_of(attempt)
                if self.load is not None:
                    self.load.committed()
                return attempt

    async def _in_place_of(self, empty: Attempt) -> Answering:
        """The answer of another candidate, or else the empty one as it is."""
        self._empty, self.answer = empty, None
        self.trail[-1].outcome = EMPTY
        empty.forget()
        self.spent.append(empty)
        self._candidates.retrying = True
        try:
            return await self.commit()
        except WeirError as error:
            forget_frames(error)
            self.spent.remove(empty)
            self.trail = [*[record for record in self.trail if record.outcome != EMPTY], empty.record()]
            self.answer = empty
            return empty

    async def _confirmed(self, taken: Taken) -> bool:
        """Waits for the ledger's answer. False: it has refused, and all that was taken is given back."""
        assert taken.hold.pending is not None
        try:
            await taken.hold.pending
        except BaseException as error:
            taken.give_back()
            if not isinstance(error, RateLimited):
                raise
            self._candidates.refused_by_grant(taken.candidate, error)
            return False
        return True

    def _next(self) -> Taken | None:
        """The next candidate that can be taken at once; None: none can. Raises the error that ends the request."""
        while (candidate := self._candidates.pop()) is not None:
            if self.trail and (reason := self._must_stop()):
                raise self._exhausted(reason)
            if (taken := self._candidates.take(candidate)) is not None:
                return taken
            self._candidates.set_aside(candidate)
        return None

    def _back_again(self) -> Taken | None:
        """A candidate that was out at the decision and is back: a try may have taken long."""
        if self._again is None or not self.spent:
            return None
        return self._next() if self._candidates.renew(self._again(), self._tried()) else None

    async def _after_blip(self) -> Taken | None:
        """A backend that has just failed, after a short back-off, where no other is left. None: waiting is no help."""
        if not self.spent or self._empty is not None or self._candidates.can_wait() or self._must_stop():
            return None
        now = self._tools.clock.monotonic()
        passing = [it.candidate for it in self.spent if it.failure is not None and it.failure.kind in PASSING]
        back_off = BACK_OFF * 2**self._blips
        found = self._candidates.soonest(passing, now)
        if found is None or max(back_off, found[1]) > min(MAX_BACK_OFF, self._deadline - now):
            return None
        self._blips += 1
        await asyncio.sleep(max(back_off, found[1]))
        self._candidates.again(found[0])
        return self._next()

    async def _wait_for_cheaper(self, patience: Patience) -> None:
        """Waits for a backend of a cheaper tier than the next candidate's, and puts it first. One try is left for that
        candidate.
        """
        candidates, now = self._candidates, self._tools.clock.monotonic()
        dearer = candidates.head()
        if dearer is None or self._tries() + 1 >= self._bounds.attempts:
            return
        health, back_off = self._tools.board.view(), BACK_OFF * 2**self._blips
        found = patience.soonest(dearer, self.spent, candidates.choice, health, now, back_off)
        if found is None or found[0] >= self._deadline - now:
            return
        seconds, key, failed = found
        if not candidates.affords_another() if failed is not None else self._again is None:
            return
        patience.begins(now)
        self._blips += failed is not None
        await asyncio.sleep(seconds + EARLY)
        if failed is not None:
            candidates.again(failed)
        elif self._again is not None:
            candidates.back_first(self._again(), key)

    async def _slot(self) -> Taken:
        """Waits for a candidate that only lacks a slot. Raises the error that ends the request."""
        candidates = self._candidates
        if self._empty is not None or not candidates.can_wait():
            raise self._exhausted(candidates.left)
        if self.trail and (reason := self._must_stop()):
            raise self._exhausted(reason)
        wait = WAIT if self._waits.wait is None else self._waits.wait
        try:
            return await self._tools.queue.wait(
                frozenset(candidates.full),
                self._offered,
                Taken.give_back,
                what=candidates.lacking(),
                namespace=candidates.namespace,
                priority=self._waits.priority,
                ahead=candidates.ahead(),
                size=self._size,
                seconds=min(wait, self._deadline - self._tools.clock.monotonic()),
            )
        except Overloaded as full:
            if self.trail:
                raise self._exhausted("all others are at their concurrency") from full
            raise

    def _offered(self) -> Taken | None:
        """A formerly full candidate, if a slot is free now. Raises if waiting for any of them has become useless."""
        taken = self._candidates.offered()
        if taken is None and not self._candidates.still_full():
            raise self._exhausted(self._candidates.left)
        return taken

    def _tries(self) -> int:
        # To send the same request without a refused field is a correction, and not another try.
        return sum([record.outcome not in CORRECTED for record in self.trail])

    def _must_stop(self) -> str | None:
        if self._tries() >= self._bounds.attempts:
            return f"{self._bounds.attempts} attempts were made"
        if self._tools.clock.monotonic() >= self._deadline:
            return f"{self._bounds.deadline:g} s have passed"
        return None

    def _streamed(self, candidate: Candidate, without: frozenset[str]) -> bool:
        """Whether the upstream is asked for a stream."""
        wanted = "stream" not in without and self._ask.streamable and candidate.backend.transport is Mode.STREAMED
        return wanted or self._ask.stream

    def _credential(self, candidate: Candidate) -> str | None:
        key = candidate.backend.credential
        return None if key is None else self._secrets.credentials[key]

    def _attempt(self, taken: Taken, streamed: bool) -> Attempt:
        if self._bounds.attempts == 1 or self.trail:
            self._candidates.last = self._tries() + 1 >= self._bounds.attempts
        if streamed:
            taken.guard.awaits_content()
        clocks = self._clocks(taken.candidate, taken.guard.slow_after if streamed else None)
        tools, guard, hold = self._tools, taken.guard, taken.hold
        held = Held(tools.memory, self._candidates.namespace, stream=self._ask.stream or self._passes)
        tap = Tap(self._listeners, tools.after) if self._listeners or tools.after else None
        # Each class is called by its name: compiled code makes a dict of the arguments for a class in a variable.
        if self._passes:
            return Passing(
                self._ask, taken.candidate, guard=guard, hold=hold, clocks=clocks, transport=tools.transport,
                clock=tools.clock, timers=tools.timers, prompt_tokens=self._prompt_tokens, load=self.load, held=held,
                others=self._candidates,
            )  # fmt: skip
        return Attempt(
            self._ask, taken.candidate, guard=guard, hold=hold, clocks=clocks, transport=tools.transport,
            clock=tools.clock, timers=tools.timers, prompt_tokens=self._prompt_tokens, load=self.load, held=held,
            others=self._candidates, tap=tap,
        )  # fmt: skip

    def _failed(self, attempt: Attempt, failure: AttemptFailed) -> None:
        candidate, candidates = attempt.candidate, self._candidates
        self.trail.append(attempt.record())
        self.spent.append(attempt)
        forget_frames(failure)
        candidates.retrying = failure.kind not in CORRECTED
        candidates.tried.append(candidate.key)
        if failure.kind in CREDENTIAL_KINDS and self._tools.confirmer is not None:
            self._tools.confirmer.doubt(candidate, self._credential(candidate), self._ask.format)
        self._take_back(failure)
        match MEANING[failure.kind]:
            case Next.ANSWER:
                raise refusal(failure, self.trail)
            case Next.WITHOUT:
                self._correct(attempt, failure)
            case Next.LARGER:
                if not candidates.larger(candidate):
                    raise refusal(failure, self.trail)
            case Next.NEXT_TIER:
                candidates.leave_tier(candidate.tier)
            case Next.ONCE_MORE:
                accident = failure.kind is FailureKind.SERVER and attempt.guard.was_reliable
                candidates.once_more(candidate)
                candidates.healthy_first()
                if accident and len(candidates.tried) == 1 and self._tries() + 1 < self._bounds.attempts:
                    candidates.again(candidate)
            case _:
                candidates.healthy_first()

    def _correct(self, attempt: Attempt, failure: AttemptFailed) -> None:
        """Asks the same backend without the field that it refuses, once for each; otherwise another one."""
        candidate, field = attempt.candidate, failure.field
        if failure.kind is FailureKind.LOSSY:
            self._deadline += attempt.seconds  # it is for the first content, which had come
        if field is not None:
            attempt.guard.met(field)
            left_out = self._without.get(candidate.key, NOTHING)
            if failure.tunes and field not in left_out:
                self._without[candidate.key] = left_out | {field}
                self._candidates.at_once(candidate)
                return
        self._candidates.healthy_first()

    def _take_back(self, failure: AttemptFailed) -> None:
        """If two backends have failed alike, the request is at fault, and not they."""
        those = [attempt for attempt in self.spent if alike(attempt.failure, failure)]
        if len({identity(attempt.backend) for attempt in those}) > 1:
            for attempt in those:
                attempt.guard.take_back()

    def _tried(self, kinds: Container[FailureKind] | None = None) -> frozenset[str]:
        """The keys of the backends that were tried, or of those that failed in one of these ways."""
        spent = self.spent
        if kinds is not None:
            spent = [it for it in spent if it.failure is not None and it.failure.kind in kinds]
        return frozenset([attempt.candidate.key for attempt in spent])

    def _exhausted(self, reason: str) -> WeirError:
        """The one error for a request that no backend could serve."""
        error = exhausted(
            reason,
            Ending(
                choice=self._candidates.choice,
                trail=self.trail,
                failures=[it.failure for it in self.spent if it.failure is not None],
                tried=self._tried(),
                ours=self._tried(CREDENTIAL_KINDS),
                limited=self._candidates.limited,
                refused=self._refused,
                health=self._tools.board.view(),
                now=self._tools.clock.monotonic(),
                deadline=self._deadline,
                bound=self._bounds.deadline,
                prompt_tokens=self._prompt_tokens,
            ),
        )
        if self._ask.home and error.unserved:
            error.message += ALONE
        return error

    def _clocks(self, candidate: Candidate, slow_after: float | None) -> Clocks:
        """The clocks of an attempt. `slow_after`: None for a whole answer, whose silence says nothing."""
        board, timeouts = self._tools.board, candidate.backend.timeouts
        left = max(0.0, self._deadline - self._tools.clock.monotonic())
        total = timeouts.total or (math.inf if self._ask.stream else TOTAL_TIMEOUT)
        bound = total if slow_after is None else board.ttft_deadline(candidate.key, self._prompt_tokens)
        connect, idle = timeouts.connect or CONNECT_TIMEOUT, timeouts.idle or IDLE_TIMEOUT
        if self._ask.state is not None and self._ask.state.background:  # it is written without haste, even if streamed
            return Clocks(connect, left, None, TOTAL_TIMEOUT, total, hurried=True, last=left)
        return Clocks(connect, min(left, bound), slow_after, idle, total, hurried=left < bound, last=left)


def _listeners(subscribers: Sequence[Subscriber], decision: Decision) -> list[Listener]:
    """Those that want to hear this answer."""
    asked = [subscriber.begin(decision) for subscriber in subscribers]
    return [listener for listener in asked if listener is not None]
