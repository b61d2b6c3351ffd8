"""The circuit breaker of one backend with one credential. Held by `health.place`; takes a clock and a random source.

Two signals. The count of five consecutive hard failures is fast in a black-out. The ratio (half of at least ten
outcomes in ten seconds are bad) sees a brown-out, in which successes keep breaking the count. 429s are in the ratio but
not in the count, since they are about our rate (see `health.refusals`).

The meaning of "consecutive". Attempts are numbered as they start, and a success only ends the streak of failures that
started *before* it: a stream that began in good times and ends well during an outage says nothing about the outage.
A success is recorded when the stream ends, because a stall comes after the first token. But failures that come *before*
any content are also refuted by first content of a later attempt, and the five must lie within ten attempts: failures
are reported in milliseconds, first content in hundreds, completed streams after seconds, so at 200 requests per second
even 2 % of quick errors would look like an unbroken streak.

Recovery. It is open for 5 s, then for 8 s from the start of each failed probe, ±20 % so that routers do not return in
step; Retry-After overrides this. Then one probe at a time goes through; one that never reports frees its slot. Three
clean completed streams close it, and one bad stream opens it again. A refusal of our credential or of the model, once
confirmed (`health.doubts`), ejects the backend for 60 s; it returns through the same probes.

One tenant alone opens no breaker that others need: see `health.tenants`, and `take_back`. The state changes when an
attempt is taken or reported, never by a timer. Readers see a state computed from the clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import StrEnum

from weir_router.clock import Clock
from weir_router.errors import FailureKind
from weir_router.health.doubts import Doubts
from weir_router.health.kinds import BLAMELESS_KINDS, CREDENTIAL_KINDS, NEUTRAL_KINDS, PROVOKED_KINDS
from weir_router.health.refusals import Refusals
from weir_router.health.settings import DEFAULTS
from weir_router.health.tenants import Tenants
from weir_router.health.window import Outcome, Window

STREAK_SPAN = 2
"""Factor of attempts, in the order of starting, within which consecutive failures must lie: five within ten. While most
attempts in between are under way, five quick failures say little. Twice, so that half must have failed, as for the
ratio."""
HEALTHY_BAD = 0.1
"""Share of bad outcomes up to which the backend of a closed breaker is healthy: every provider has a few."""
OPEN_JITTER, OPEN_LEAST = 0.2, 1.0
"""Share by which periods differ; and the seconds of the shortest, after a probe that took long to fail."""
EJECT_SECONDS = 60.0
"""Seconds for which a refused credential ejects a backend. It rarely clears sooner; a config change ends it at once."""
PROBE_DEADLINE = 30.0
"""Seconds after which a silent probe frees its slot: the cap of the TTFT deadline of ordinary models."""
SLOW_START_SHARE = 0.2
"""Share of its normal requests with which a closed backend begins again (agentgateway's `restore_health`)."""
SLOW = "slow"
"""The reason of a breaker that opened for slowness, beside the values of `FailureKind`."""
ALIKE_IN_A_ROW = 5
"""Requests in a row whose outcomes are taken back, while no other is served: beyond it, backends are ill."""


class State(StrEnum):
    """The state of a breaker, which decides about the next attempt."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    EJECTED = "ejected"


class Ticket:
    """One attempt, as the breaker knows it. Taken with `Breaker.acquire`, handed back with every report."""

    __slots__ = ("bad_at", "content", "epoch", "namespace", "number", "probe", "slow")

    def __init__(self, number: int, epoch: int, probe: bool, namespace: str) -> None:
        self.number = number  # in the order of starting
        self.epoch = epoch  # of the state in which it started
        self.probe = probe
        self.namespace = namespace  # of the caller
        self.content = False  # first content has been seen
        self.slow = False  # counted as bad for slowness
        self.bad_at: int | None = None  # second of the window in which it counts as bad


_TIMED = (State.OPEN, State.EJECTED)


class Breaker:
    """Closed, open, half-open or ejected; see the module's docstring. `on_change` gets the old and the new state."""

    def __init__(
        self, clock: Clock, rng: random.Random, on_change: Callable[[State, State], None] = lambda old, new: None
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self.settings = DEFAULTS
        self._window = Window(clock)
        self._state = State.CLOSED
        self._reason: str | None = None
        self._epoch = 0
        self._started = 0
        self._until = 0.0  # end of OPEN or EJECTED
        self._paused_until = 0.0  # a Retry-After, in any state
        self._strikes = 0  # openings since it was last closed
        self._streak: dict[int, bool] = {}  # hard failures in a row: number -> whether content had come
        self._refusals = Refusals()
        self._doubts = Doubts()
        self._tenants = Tenants()
        self._alike = 0  # requests whose outcomes were taken back since the last content
        self._content_number = 0  # latest started attempt that gave content
        self._success_number = 0  # latest started attempt that completed
        self._probe: Ticket | None = None
        self._probe_deadline = 0.0
        self._clean = 0  # probes completed in this half-open
        self._recovering = False  # a probe of this half-open has given content
        self.closed_at: float | None = None  # when it last returned from half-open

    # For readers

    @property
    def state(self) -> State:
        """The state as of now: an open or ejected breaker whose time is over is half-open, even before a probe."""
        return State.HALF_OPEN if self._state in _TIMED and self._now() >= self._until else self._state

    @property
    def reason(self) -> str | None:
        """The reason why it is not closed, or is paused: a `FailureKind` value or `SLOW`. None: all well."""
        return None if self._state is State.CLOSED and not self._paused else self._reason

    @property
    def available_at(self) -> float:
        """The monotonic moment from which `acquire` may succeed; 0 when it may now."""
        at = self._paused_until
        if self._state in _TIMED:
            at = max(at, self._until)
        elif self._probe is not None:
            at = max(at, self._probe_deadline)
        return at if at and at > self._now() else 0.0

    @property
    def credential_out(self) -> bool:
        """Whether our credential or model name was refused and probes have not closed the breaker since."""
        return self._state is not State.CLOSED and self._reason in CREDENTIAL_KINDS

    @property
    def in_doubt(self) -> bool:
        """Whether our credential, credit or model was refused, and no second request has met the same."""
        return bool(self._doubts.waiting) and self._state is not State.EJECTED

    @property
    def healthy(self) -> bool:
        """Whether it is closed, not paused, and hardly anything in the window is bad."""
        if self._state is not State.CLOSED or self._paused:
            return False
        total, bad = self._window.counts()
        return bad <= HEALTHY_BAD * total

    @property
    def share(self) -> float:
        """Share of its normal requests: below 1 for a while after it has closed."""
        if self.closed_at is None:
            return 1.0
        since, whole = self._now() - self.closed_at, self.settings.slow_start
        return 1.0 if since >= whole else SLOW_START_SHARE + (1 - SLOW_START_SHARE) * since / whole

    @property
    def last_resort(self) -> bool:
        """Whether `acquire(panic=True)` succeeds: merely slow, or half-open and a probe is already giving content."""
        if self._paused:
            return False
        if self._state is State.HALF_OPEN:
            return self._recovering
        return self._state is State.OPEN and self._reason == SLOW

    def acquire(self, namespace: str = "", *, panic: bool = False) -> Ticket | None:
        """A ticket for one attempt, or None. `panic`: nothing else is available, so take a `last_resort` too.

        An attempt taken in panic is no probe. While half-open it is judged by the rules of the closed state; otherwise
        one stray error among a hundred requests would reopen a breaker that three probes have nearly closed.
        """
        if self.available_at:
            return self._ticket(namespace, probe=False) if panic and self.last_resort else None
        if self._state in _TIMED:
            self._change(State.HALF_OPEN, self._reason)
        if self._state is State.CLOSED:
            return self._ticket(namespace, probe=False)
        self._probe = self._ticket(namespace, probe=True)
        self._probe_deadline = self._now() + PROBE_DEADLINE
        return self._probe

    def beside(self, namespace: str) -> Ticket | None:
        """A ticket for a request that asks no model, which is never a probe; None: the backend is out."""
        out = self._paused or self.state in _TIMED
        return None if out else self._ticket(namespace, probe=False)

    def content(self, ticket: Ticket) -> None:
        """The first content has come; not a success yet. In time, it refutes earlier failures without content.

        Late content takes back only the bad outcome of its own silence.
        """
        ticket.content = True
        if not self._counts(ticket):
            return
        self._recovering |= ticket.probe
        if ticket.slow:
            self._streak.pop(ticket.number, None)
            return
        self._window.add(Outcome.CONTENT)
        self._served(ticket)
        if self._streak:
            self._streak = {n: late for n, late in self._streak.items() if late or n > ticket.number}

    def slow(self, ticket: Ticket) -> None:
        """Counts one bad outcome now instead of at the attempt's end. While it is silent it counts in the streak, too,
        so that a black hole is noticed before its deadline; its first content takes that back.
        """
        if ticket.slow:
            return
        ticket.slow = True
        if not self._counts(ticket):
            return
        if ticket.probe:
            self._open(SLOW)
            return
        self._count_bad(ticket)
        if not ticket.content:
            self._extend_streak(ticket)
        self._judge(SLOW)

    def good(self, ticket: Ticket) -> None:
        """The stream completed. Good news never opens a breaker, so the ratio is not judged here."""
        if not self._counts(ticket):
            return
        if ticket.probe:
            self._clean += 1
            self._give_back(ticket)
            if self._clean >= self.settings.probes:
                self._close()
            return
        if not ticket.slow:
            self._window.add(Outcome.COMPLETED)
        self._served(ticket)
        self._success_number = max(self._success_number, ticket.number)
        if self._streak:
            self._streak = {n: late for n, late in self._streak.items() if n > ticket.number}

    def failed(self, ticket: Ticket, kind: FailureKind, retry_after: float | None = None) -> bool:
        """The attempt failed; `retry_after` in seconds as the upstream said. Returns whether it counts as bad."""
        if kind in BLAMELESS_KINDS:
            self.cancelled(ticket)
        elif kind in NEUTRAL_KINDS:
            self._streak.pop(ticket.number, None)  # slow perhaps, but it did answer
            self._give_back(ticket)
        elif kind in CREDENTIAL_KINDS:
            self._refused(ticket, kind)
        elif kind in PROVOKED_KINDS and not ticket.slow and not self._tenants.counts(ticket.namespace, self._now()):
            self._give_back(ticket)
        else:
            self._tenants.failed(ticket.namespace)
            self._pause(kind, retry_after)
            self._bad(ticket, kind)
            return True
        return False

    def take_back(self, ticket: Ticket) -> bool:
        """The request has failed alike at another backend, so its failure is no evidence. False: all requests fail."""
        if ticket.bad_at is None or not self._counts(ticket):
            return False
        if self._alike >= ALIKE_IN_A_ROW and not self._tenants.serves_others(ticket.namespace, self._now()):
            return False
        self._alike += 1
        self._window.remove(Outcome.BROKEN if ticket.content else Outcome.BAD, ticket.bad_at)
        self._streak.pop(ticket.number, None)
        ticket.bad_at = None
        return True

    def cancelled(self, ticket: Ticket) -> None:
        """The client went away: counts nothing, and frees a probe's slot. An outcome counted by `slow` stays."""
        self._give_back(ticket)

    def settle(self, kind: FailureKind | None) -> None:
        """The router's own request has met `kind`, or was answered (None). Other failures settle no doubt."""
        if kind in CREDENTIAL_KINDS:
            self._eject(kind)
        elif kind is None or kind in NEUTRAL_KINDS:
            self._doubts.trust(self._now())

    @property
    def _paused(self) -> bool:
        return self._now() < self._paused_until

    def _now(self) -> float:
        return self._clock.monotonic()

    def _ticket(self, namespace: str, *, probe: bool) -> Ticket:
        self._started += 1
        return Ticket(self._started, self._epoch, probe, namespace)

    def _counts(self, ticket: Ticket) -> bool:
        """Whether the attempt counts: one from before the present state describes the past, and an open breaker has
        nothing to decide.
        """
        return ticket.epoch == self._epoch and self._state not in _TIMED

    def _bad(self, ticket: Ticket, kind: FailureKind) -> None:
        if not self._counts(ticket):
            if self._state is State.OPEN and self._reason == SLOW:
                self._reason = kind  # not merely slow, so no longer a last resort
            return
        if ticket.probe:
            self._open(kind)
            return
        if not ticket.slow:
            self._count_bad(ticket)
        # A 429 is about our rate, not the backend's health: one busy minute must not open five times as fast.
        if kind is not FailureKind.RATE_LIMIT:
            self._extend_streak(ticket)
        elif self._refuses_everything(ticket):
            self._open(kind)
            return
        self._judge(kind)

    def _count_bad(self, ticket: Ticket) -> None:
        ticket.bad_at = self._window.add(Outcome.BROKEN if ticket.content else Outcome.BAD)

    def _extend_streak(self, ticket: Ticket) -> None:
        if ticket.number > (self._success_number if ticket.content else self._content_number):
            self._streak[ticket.number] = ticket.content
        while len(self._streak) > self.settings.consecutive:
            del self._streak[min(self._streak)]

    def _refuses_everything(self, ticket: Ticket) -> bool:
        if ticket.number <= self._content_number:
            return False
        return self._refusals.all_refused(ticket.number, self._now())

    def _served(self, ticket: Ticket) -> None:
        self._content_number = max(self._content_number, ticket.number)
        self._tenants.served[ticket.namespace] = self._window.tick
        self._alike = 0
        if self._doubts.waiting:
            self._doubts.clear()
        if self._refusals.times:
            self._refusals.served(ticket.number)

    def _judge(self, reason: str) -> None:
        total, bad = self._window.counts()
        it, streak = self.settings, self._streak
        in_a_row = len(streak) == it.consecutive and max(streak) - min(streak) < STREAK_SPAN * it.consecutive
        if in_a_row or (total >= it.minimum and bad >= it.ratio * total):
            self._open(reason)

    def _pause(self, kind: FailureKind, retry_after: float | None) -> None:
        if retry_after is None or retry_after <= 0:
            return
        self._paused_until = max(self._paused_until, self._now() + min(retry_after, self.settings.retry_after_cap))
        if self._state is State.CLOSED:
            self._reason = kind

    def _open(self, reason: str) -> None:
        period = min(self.settings.open_first * 2 ** min(self._strikes, 10), self.settings.open_last)
        period *= 1 - OPEN_JITTER + 2 * OPEN_JITTER * self._rng.random()
        self._strikes += 1
        begun = self._now() if self._probe is None else self._probe_deadline - PROBE_DEADLINE
        self._until = self._paused_until if self._paused else max(begun + period, self._now() + OPEN_LEAST)
        self._change(State.OPEN, reason)

    def _refused(self, ticket: Ticket, kind: FailureKind) -> None:
        """A refusal of our account. It is believed if another namespace has met it, or has before this state."""
        if ticket.epoch != self._epoch and self._state is State.CLOSED:
            return
        known = self._state is State.HALF_OPEN and self._reason == kind
        if known or self._doubts.confirmed(ticket.namespace, kind, self._now()):
            self._eject(kind)
        else:
            self._give_back(ticket)

    def _eject(self, kind: FailureKind) -> None:
        if self._state is State.EJECTED:
            return
        self._until = self._now() + EJECT_SECONDS
        self._change(State.EJECTED, kind)

    def _close(self) -> None:
        self._strikes = 0
        self.closed_at = self._now()
        self._change(State.CLOSED, None)

    def _give_back(self, ticket: Ticket) -> None:
        if self._probe is ticket:
            self._probe = None

    def _change(self, new: State, reason: str | None) -> None:
        old, self._state, self._reason = self._state, new, reason
        self._epoch += 1
        self._probe, self._clean, self._recovering = None, 0, False
        self._streak = {}
        self._doubts.clear()
        self._refusals.clear()
        self._tenants.clear()
        self._window.clear()
        self._on_change(old, new)
