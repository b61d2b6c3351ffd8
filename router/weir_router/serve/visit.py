"""One request while it is served: its facts are filled in step by step, until it becomes a `Finished`.

Used by `serve.story` and, for a request that is relayed to the gateway, by `sidecar.relay`.
"""

from __future__ import annotations

from collections.abc import Sequence

from weir_router.call.answering import Answering
from weir_router.call.journey import Journey
from weir_router.contract import Policy
from weir_router.contract.caller import Caller
from weir_router.decide.types import Decision
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import FormatRecord, RelayedRecord
from weir_router.errors import AttemptRecord, RateLimited, WeirError, forget_frames
from weir_router.record.finished import NOTHING, Bill, Finished
from weir_router.record.spend import bill
from weir_router.serve.answers import REASON, STREAM_LINES, json_answer, new_request_id, route_lines
from weir_router.serve.errors import headers
from weir_router.serve.facts import Facts, before_last
from weir_router.serve.http import Answer, Request, Stream

SIGN = b": weir waits for an answer\n\n"
"""A comment that says that the request is not lost. Clients of both formats skip comments."""


class Visit:
    """One request in progress. Its outcome is `cancelled` unless another is set."""

    __slots__ = (
        "answer", "arrived", "ask", "backend", "caller", "decision", "error", "events", "format", "id", "journey",
        "model", "opened", "outcome", "passes", "policy", "policy_key", "request", "status", "stream", "tier", "ttft",
    )  # fmt: skip

    def __init__(self, request: Request, format: FormatRecord, arrived: float) -> None:
        self.id = new_request_id()
        self.request = request
        self.format = format
        self.arrived = arrived  # monotonic
        self.caller: Caller | None = None
        self.model: str | None = None  # the name that the caller asks for
        self.stream = False
        self.passes = False  # the bytes of the answer pass as they came, with its own content type
        self.events = True  # if it is a stream, then one of events
        self.ask: Ask | None = None
        self.policy: Policy | None = None
        self.policy_key: str | None = None
        self.decision: Decision | None = None
        self.journey: Journey | None = None
        self.opened: Stream | None = None  # to the caller, if it has begun before the answer
        self.answer: Answering | None = None
        self.tier: str | None = None  # the tier that answers
        self.backend: str | None = None  # the backend that answers
        self.ttft: float | None = None  # seconds from arrival to the first content
        self.outcome = "cancelled"
        self.status = 0  # HTTP status sent to the caller
        self.error: WeirError | None = None

    def answers(self, answer: Answering) -> None:
        """This answer is the caller's."""
        self.answer = answer
        self.tier, self.backend, self.status = answer.tier, answer.name, 200
        self.ttft = None if answer.content_at is None else answer.content_at - self.arrived

    def trail(self) -> Sequence[AttemptRecord]:
        """All that was tried, as it is now."""
        journey = self.journey
        if journey is None:
            return ()
        journey.renew_trail()
        return journey.trail

    def lines(self, own: dict[str, str]) -> bytes:
        """The answer's `own` header lines, and those that say how the request was routed."""
        own["x-weir-request-id"] = self.id
        decision = self.decision
        if decision is None:
            return route_lines(own, (self.policy_key, None, self.tier, self.backend, None, 0))
        choice, reason = decision.choice, decision.reason
        if reason:
            own[REASON] = f"{choice.reason}; {reason}" if choice.diverted else reason
        tries = 0 if self.journey is None else len(self.journey.trail)
        return route_lines(own, (self.policy_key, choice.route, self.tier, self.backend, decision.complexity, tries))

    def begin(self, lines: bytes, first: bytes) -> Stream:
        """The stream to the caller, with its `first` bytes; header lines only if it has not begun before the answer."""
        if self.opened is None:
            return self.request.stream(200, lines if self.passes else STREAM_LINES + lines, first)
        self.opened.write(first)
        return self.opened

    def sign(self) -> None:
        """See `waiting.Waits`: begins the stream, with the headers that are known by now."""
        if self.opened is None:
            self.opened = self.begin(self.lines({self.format.request_id: self.id}), SIGN)
            self.status = 200
        else:
            self.opened.write(SIGN)

    def end_of(self, last: bytes) -> bytes:
        """The `last` bytes of a stream, with the facts that are known only now."""
        if self.passes or (self.answer is None and self.journey is None):
            return last  # a sidecar relays the facts of its gateway
        trail = self.trail()
        facts = Facts(self.tier, self.backend, len(trail))
        if self.answer is not None:
            facts.usage = self.answer.usage
            facts.dropped = trail[-1].dropped if trail else ()
        if (journey := self.journey) is not None:
            attempts = journey.spent if journey.answer is None else [*journey.spent, journey.answer]
            facts.dollars = bill(attempts, ok=False, baseline=None).dollars
        return before_last(last, facts)

    def refuse(self, error: WeirError) -> Answer | None:
        """The answer for an error before the first content was sent; None: it is the last event of the stream."""
        if self.opened is not None:
            self.break_off(self.opened, error)
            return None
        self._blame(error)
        lines = self.lines({self.format.request_id: self.id, **headers(error)})
        return json_answer(error.status, self.format.error_body(error, self.id), lines)

    def break_off(self, stream: Stream, error: WeirError) -> None:
        """Ends a stream whose content cannot be taken back with an error event, or in the middle, which closes the
        connection; never with a clean close.
        """
        self._blame(error)
        self.outcome = "broken"
        if not self.events:
            return
        assert isinstance(self.format, RelayedRecord)
        stream.closes(self.end_of)
        place = None if self.answer is None else self.answer.place()
        stream.end(self.format.error_event(error, self.id, place))

    def finished(self, now: float) -> Finished:
        """The event that the request has ended; `now` is monotonic."""
        journey, decision = self.journey, self.decision
        if journey is None or decision is None:
            return Finished(
                id=self.id,
                path=self.request.path,
                outcome=self.outcome,
                seconds=now - self.arrived,
                status=self.status,
                error=self.error,
                caller=self.caller,
                model=self.model,
                stream=self.stream,
                ask=self.ask,
                policy=self.policy,
                policy_key=self.policy_key,
                decision=decision,
                tier=self.tier,
                backend=self.backend,
                attempts=(),
                over_quota=(),
                bill=NOTHING if self.answer is None else Bill(usage=self.answer.usage, dollars=0.0),
                ttft=self.ttft,
            )
        attempts = journey.spent if journey.answer is None else [*journey.spent, journey.answer]
        ref = decision.policy.baseline
        baseline = None if ref is None else decision.config.tiers.get(ref.tier)
        return Finished(
            id=self.id,
            path=self.request.path,
            outcome=self.outcome,
            seconds=now - self.arrived,
            status=self.status,
            error=self.error,
            caller=self.caller,
            model=self.model,
            stream=self.stream,
            ask=self.ask,
            policy=self.policy,
            policy_key=self.policy_key,
            decision=decision,
            tier=self.tier,
            backend=self.backend,
            attempts=journey.trail,
            over_quota=journey.over_quota,
            bill=bill(attempts, ok=self.outcome == "ok", baseline=baseline),
            ttft=self.ttft,
        )

    def _blame(self, error: WeirError) -> None:
        forget_frames(error)  # one of them holds this visit
        self.error, self.status = error, error.status
        self.outcome = "limited" if isinstance(error, RateLimited) else "refused" if error.status < 500 else "error"
