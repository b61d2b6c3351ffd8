"""The only retry loop: candidates in, a committed attempt out. Called by `serve.story` once per request.

1. Take the next candidate that may still help: a grant's limit, a concurrency slot and a half-open probe are taken
   here. If all candidates left have reached their concurrency, wait for a slot.
2. Try it until its commit point, within the rest of the policy's deadline.
3. After a failure, `MEANING` gives the next step: another candidate (healthy ones first), the same one without
   additions, a larger context, or the answer to the caller.
4. Without further candidates, attempts, time or retry budget: one error that names the failed part and the attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from weir_router.admit.ledger import Hold, Ledger
from weir_router.admit.queue import WAIT, Queue
from weir_router.admit.retry_budget import RetryBudgets
from weir_router.call.attempt import Attempt
from weir_router.call.clocks import CONNECT_TIMEOUT, IDLE_TIMEOUT, TOTAL_TIMEOUT, Clocks, Timers
from weir_router.call.transport import Transport
from weir_router.clock import Clock
from weir_router.contract import Secrets
from weir_router.contract import Transport as Mode
from weir_router.decide.types import Candidate, Decision
from weir_router.dialects.ask import Ask
from weir_router.errors import (
    AttemptFailed,
    AttemptRecord,
    CredentialsExhausted,
    DeadlineExceeded,
    FailureKind,
    NoCapableModel,
    Overloaded,
    RateLimited,
    Unavailable,
    UpstreamRefused,
    WeirError,
    forget_frames,
)
from weir_router.health.board import Board, Guard
from weir_router.health.view import BackendView

SOONEST_RETRY = 1.0
"""Seconds of the shortest Retry-After, even for a backend that is only busy, so that callers do not retry in a loop."""


_STREAMED = Mode.STREAMED  # looking up an enum's member costs as much as a call


class Next(Enum):
    """The next step of a request after a failed attempt."""

    ELSEWHERE = "another candidate; never the same one again in this request"
    ONCE_MORE = "another candidate; the same one once more when there is no other"
    AS_ASKED = "the same candidate without what Weir added"
    LARGER = "only a candidate with a larger context"
    ANSWER = "the caller's own fault: answer at once"


MEANING: dict[FailureKind, Next] = {
    FailureKind.CALLER: Next.ANSWER,
    FailureKind.CONTENT_FILTER: Next.ANSWER,
    FailureKind.CONTEXT_LENGTH: Next.LARGER,
    FailureKind.ADDED: Next.AS_ASKED,
    FailureKind.CREDENTIAL: Next.ELSEWHERE,
    FailureKind.CREDIT: Next.ELSEWHERE,
    FailureKind.MODEL: Next.ELSEWHERE,
    FailureKind.RATE_LIMIT: Next.ELSEWHERE,
    FailureKind.OVERLOAD: Next.ELSEWHERE,
    FailureKind.SERVER: Next.ONCE_MORE,
    FailureKind.CONNECT: Next.ELSEWHERE,
    FailureKind.RESET: Next.ONCE_MORE,
    FailureKind.SILENT: Next.ELSEWHERE,  # a silent upstream may cost one TTFT deadline, and no more
    FailureKind.STALLED: Next.ELSEWHERE,
    FailureKind.TOO_LONG: Next.ELSEWHERE,
    FailureKind.MALFORMED: Next.ONCE_MORE,
    FailureKind.TRUNCATED: Next.ONCE_MORE,
}

OURS = frozenset({FailureKind.CREDENTIAL, FailureKind.CREDIT, FailureKind.MODEL})
"""Failures caused by our account with the upstream, and not by its health."""


class Tools(NamedTuple):
    """The parts that the loop uses; one set per router."""

    board: Board
    ledger: Ledger
    budgets: RetryBudgets
    queue: Queue
    transport: Transport
    clock: Clock
    timers: Timers


class Taken:
    """A candidate with its guard and permit, which are given back when the try has ended."""

    __slots__ = ("candidate", "guard", "hold")

    def __init__(self, candidate: Candidate, guard: Guard, hold: Hold) -> None:
        self.candidate = candidate
        self.guard = guard
        self.hold = hold

    def give_back(self) -> None:
        """Gives both back without a try."""
        self.guard.cancelled()
        self.hold.release()


class Journey:
    """One request on its way through the candidates. `trail` grows with every try."""

    def __init__(
        self,
        tools: Tools,
        ask: Ask,
        decision: Decision,
        secrets: Secrets,
        as_asked: set[str],
        size: int = 0,
        again: Callable[[], Decision] | None = None,
    ) -> None:
        """`size`: bytes of the request, which count while it waits for a slot. `again` repeats the decision."""
        policy = decision.policy
        self.trail: list[AttemptRecord] = []
        self.spent: list[Attempt] = []  # failed attempts whose tokens must still be paid for
        self._tools = tools
        self._ask = ask
        self._choice = decision.choice
        self._again = again
        self._bounds = policy.failover
        self._waits = policy.queue
        self._budget = tools.budgets.of(policy)
        self._size = size
        self._secrets = secrets
        self._prompt_tokens = decision.asked.features.tokens
        self._as_asked = as_asked  # backends known to refuse Weir's additions; shared by all requests
        self._deadline = tools.clock.monotonic() + policy.failover.deadline
        self._queue = list(decision.choice.candidates)
        self._full: dict[str, Candidate] = {}  # skipped because they had reached their concurrency
        self._left = "no candidate is left"
        self._repeated: list[str] = []
        self._failures: list[AttemptFailed] = []
        self._limited: RateLimited | None = None
        self._refused: WeirError | None = None
        self._larger_than = 0

    async def commit(self) -> Attempt:
        """The first attempt that reaches its commit point. Raises the `WeirError` that ends the request."""
        self._budget.request()
        while True:
            taken = self._next() or self._back_again() or await self._slot()
            if taken.hold.pending is not None and not await self._confirmed(taken):
                continue
            candidate = taken.candidate
            as_asked = candidate.key in self._as_asked
            streamed = self._streamed(candidate, as_asked)
            attempt = self._attempt(taken, streamed)
            try:
                await attempt.start(self._credential(candidate), streamed=streamed, as_asked=as_asked)
            except AttemptFailed as failure:
                self._failed(attempt, failure, as_asked=as_asked)
            except WeirError as refused:  # the request cannot be put into this backend's format
                forget_frames(refused)
                self._refused = refused
            except BaseException:
                self.trail.append(attempt.record())
                self.spent.append(attempt)
                raise
            else:
                self.trail.append(attempt.record())
                return attempt

    async def _confirmed(self, taken: Taken) -> bool:
        """Waits for the ledger's answer. False: it has refused, and all that was taken is given back."""
        assert taken.hold.pending is not None
        try:
            await taken.hold.pending
        except BaseException as error:
            taken.give_back()
            if not isinstance(error, RateLimited):
                raise
            self._limited = error
            return False
        return True

    def _next(self) -> Taken | None:
        """The next candidate that can be taken at once; None: none can. Raises the error that ends the request."""
        while self._queue:
            candidate = self._queue.pop(0)
            if not self._fits(candidate):
                continue
            if self.trail and (reason := self._must_stop()):
                raise self._exhausted(reason)
            if (taken := self._affordable(candidate)) is not None:
                return taken
            if self._tools.board.full(candidate.key):
                self._full[candidate.key] = candidate
        return None

    def _back_again(self) -> Taken | None:
        """A candidate that was out at the decision and is back: a try may have taken long."""
        if self._again is None or not self.spent:
            return None
        choice = self._again().choice
        known = {attempt.candidate.key for attempt in self.spent} | self._full.keys()
        back = [candidate for candidate in choice.candidates if candidate.key not in known]
        if not back:
            return None
        self._choice = choice
        self._queue.extend(back)
        return self._next()

    async def _slot(self) -> Taken:
        """Waits for a candidate that only lacks a slot. Raises the error that ends the request."""
        if not any(self._fits(candidate) for candidate in self._full.values()):
            raise self._exhausted(self._left)
        if self.trail and (reason := self._must_stop()):
            raise self._exhausted(reason)
        wait = WAIT if self._waits.wait is None else self._waits.wait
        try:
            return await self._tools.queue.wait(
                frozenset(self._full),
                self._offered,
                Taken.give_back,
                what=f"All backends for this request are at their concurrency ({', '.join(self._full)})",
                priority=self._waits.priority,
                size=self._size,
                seconds=min(wait, self._deadline - self._tools.clock.monotonic()),
            )
        except Overloaded as full:
            if self.trail:
                raise self._exhausted("all others are at their concurrency") from full
            raise

    def _offered(self) -> Taken | None:
        """A formerly full candidate, if a slot is free now. Raises if waiting for any of them has become useless."""
        for candidate in self._full.values():
            if self._fits(candidate) and (taken := self._affordable(candidate)) is not None:
                del self._full[candidate.key]
                return taken
        if not any(map(self._tools.board.full, self._full)):
            raise self._exhausted(self._left)
        return None

    def _affordable(self, candidate: Candidate) -> Taken | None:
        """The candidate with its guard and permit, within the retry budget."""
        costs = self._costs_budget(candidate)
        if costs and self._budget.tokens < 1:  # a later candidate may be healthy, and cost nothing
            self._left = "the retry budget is used up"
            return None
        taken = self._take(candidate)
        if taken is not None and costs:
            self._budget.take()
        return taken

    def _must_stop(self) -> str | None:
        # Sending the same request again without Weir's additions is a correction, and not another try.
        tries = sum(record.outcome != FailureKind.ADDED for record in self.trail)
        if tries >= self._bounds.attempts:
            return f"{self._bounds.attempts} attempts were made"
        if self._tools.clock.monotonic() >= self._deadline:
            return f"{self._bounds.deadline:g} s have passed"
        return None

    def _costs_budget(self, candidate: Candidate) -> bool:
        """Whether this try adds load where it hurts, and so costs retry budget.

        A try at a healthy backend does not, even if many requests move there at once when another goes black: it would
        get them anyway as soon as the other's breaker opens. If it fails under this load, further tries cost again.
        """
        if not self._failures or self._failures[-1].kind is FailureKind.ADDED:
            return False
        return candidate.key in self._repeated or not self._healthy(candidate)

    def _healthy(self, candidate: Candidate) -> bool:
        view = self._tools.board.view().get(candidate.key)
        return view is not None and view.healthy

    def _fits(self, candidate: Candidate) -> bool:
        limits = candidate.backend.limits
        return self._larger_than == 0 or limits.context_tokens is None or limits.context_tokens > self._larger_than

    def _take(self, candidate: Candidate) -> Taken | None:
        """Takes the grant's limits and the backend's slot or probe in one step."""
        try:
            hold = self._tools.ledger.reserve(candidate.limits)
        except RateLimited as limited:
            self._limited = limited
            return None
        guard = self._tools.board.begin(
            candidate.key, self._prompt_tokens, panic=self._choice.panic, backend=candidate.backend
        )
        if guard is None:
            hold.release()
            return None
        return Taken(candidate, guard, hold)

    def _streamed(self, candidate: Candidate, as_asked: bool) -> bool:
        """Whether the upstream is asked for a stream."""
        wanted = not as_asked and self._ask.streamable and candidate.backend.transport is _STREAMED
        return wanted or self._ask.stream

    def _credential(self, candidate: Candidate) -> str | None:
        key = candidate.backend.credential
        return None if key is None else self._secrets.credentials[key]

    def _attempt(self, taken: Taken, streamed: bool) -> Attempt:
        if streamed:
            taken.guard.awaits_content()
        return Attempt(
            self._ask,
            taken.candidate,
            guard=taken.guard,
            hold=taken.hold,
            clocks=self._clocks(taken.candidate, taken.guard.slow_after if streamed else None),
            transport=self._tools.transport,
            clock=self._tools.clock,
            timers=self._tools.timers,
            prompt_tokens=self._prompt_tokens,
        )

    def _failed(self, attempt: Attempt, failure: AttemptFailed, *, as_asked: bool) -> None:
        candidate = attempt.candidate
        self.trail.append(attempt.record())
        self.spent.append(attempt)
        forget_frames(failure)
        self._failures.append(failure)
        match MEANING[failure.kind]:
            case Next.ANSWER:
                raise self._refusal(failure)
            case Next.AS_ASKED if not as_asked:  # another request may have learned it meanwhile
                self._as_asked.add(candidate.key)
                self._queue.insert(0, candidate)
            case Next.AS_ASKED:
                raise self._refusal(failure)
            case Next.LARGER:
                self._larger_than = max(self._larger_than, candidate.backend.limits.context_tokens or 0, 1)
                if not any(self._fits(other) for other in self._queue):
                    raise self._refusal(failure)
            case Next.ONCE_MORE if candidate.key not in self._repeated:
                self._repeated.append(candidate.key)
                self._queue.append(candidate)
                self._healthy_first()
            case _:
                self._healthy_first()

    def _healthy_first(self) -> None:
        """Puts healthy candidates first: after one failure, the request should go where all is well."""
        self._queue.sort(key=lambda it: (it.key in self._repeated, not self._healthy(it)))

    def _clocks(self, candidate: Candidate, slow_after: float | None) -> Clocks:
        """The clocks of an attempt. `slow_after`: None for a whole answer, whose silence says nothing."""
        board, timeouts = self._tools.board, candidate.backend.timeouts
        left = max(0.0, self._deadline - self._tools.clock.monotonic())
        total = timeouts.total or TOTAL_TIMEOUT
        bound = total if slow_after is None else board.ttft_deadline(candidate.key, self._prompt_tokens)
        ttft = min(left, bound)
        return Clocks(timeouts.connect or CONNECT_TIMEOUT, ttft, slow_after, timeouts.idle or IDLE_TIMEOUT, total)

    def _refusal(self, failure: AttemptFailed) -> UpstreamRefused:
        return UpstreamRefused(
            failure.message,
            status=failure.status or 400,
            code=failure.code,
            kind=failure.type,
            param=failure.param,
            trail=self.trail,
        )

    def _exhausted(self, reason: str) -> WeirError:
        """The one error for a request that no backend could serve."""
        if not self.trail:
            if self._limited is not None:
                return self._limited
            if self._refused is not None:
                return self._refused
            if self._choice.unable is not None:
                return NoCapableModel(self._choice.unable)
        tried = "; ".join(f"{a.tier}/{a.backend}: {a.message or a.outcome}" for a in self.trail) or self._skipped()
        kinds = {failure.kind for failure in self._failures} - {FailureKind.ADDED}
        if kinds and kinds <= OURS and self._only_credentials():
            return CredentialsExhausted(
                f"Every backend refuses the platform's credentials ({tried}).", trail=self.trail
            )
        if not self._failures and self._only_credentials():
            return CredentialsExhausted(f"Every backend is out for its credentials ({tried}).", trail=self.trail)
        if self._tools.clock.monotonic() >= self._deadline:
            return DeadlineExceeded(f"No content within {self._bounds.deadline:g} s ({tried}).", trail=self.trail)
        soonest = self._soonest()
        return Unavailable(
            f"No backend could answer: {reason} ({tried}).",
            retry_after=SOONEST_RETRY if soonest is None else soonest,
            trail=self.trail,
            exhausted=soonest is None,
        )

    def _skipped(self) -> str:
        return "; ".join(f"{s.tier}/{s.backend}: {s.reason}" for s in self._choice.skipped) or self._choice.reason

    def _views(self) -> dict[str, BackendView]:
        """The present health of all backends that could serve this request."""
        view = self._tools.board.view()
        keys = [candidate.key for candidate in self._choice.candidates]
        keys += [skip.key for skip in self._choice.skipped if skip.seen is not None]
        return {key: view[key] for key in keys if key in view}

    def _only_credentials(self) -> bool:
        """Whether all backends that could serve this request are out because of our credentials."""
        views = self._views().values()
        return bool(views) and all(view.credential_out for view in views)

    def _soonest(self) -> float | None:
        """Seconds until the first backend may be back; None: all that are not out were tried just now."""
        now = self._tools.clock.monotonic()
        tried = {attempt.candidate.key for attempt in self.spent}
        waits = [
            view.available_at - now
            for key, view in self._views().items()
            if not view.credential_out and (view.available_at > now or key not in tried)
        ]
        if self._limited is not None and self._limited.retry_after is not None:
            waits.append(self._limited.retry_after)
        return max(SOONEST_RETRY, min(waits)) if waits else None
