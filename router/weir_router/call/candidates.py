"""The candidates of one request that may still help, and the taking of one. Used by `call.journey`.

A candidate is taken with all that must be atomic: the limits of its grant, and its backend's concurrency slot or
half-open probe. One that lacks only a slot is set aside, and can be waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from weir_router.admit.ledger import Hold, Ledger
from weir_router.admit.memory import Memory
from weir_router.admit.queue import NOWHERE, Queue
from weir_router.admit.retry_budget import RetryBudget, RetryBudgets
from weir_router.call.clocks import Timers
from weir_router.call.confirm import Confirmer
from weir_router.call.tap import Subscriber
from weir_router.call.transport import UNBOUNDED, Transport
from weir_router.check.checks import After
from weir_router.clock import Clock
from weir_router.contract import Priority
from weir_router.decide.types import Candidate, Decision
from weir_router.errors import RateLimited
from weir_router.health.board import Board, Guard


class Tools:
    """The parts that a request is tried with; one set per router."""

    __slots__ = (
        "after",
        "board",
        "budgets",
        "clock",
        "confirmer",
        "ledger",
        "memory",
        "queue",
        "subscribers",
        "timers",
        "transport",
    )

    def __init__(
        self,
        board: Board,
        ledger: Ledger,
        budgets: RetryBudgets,
        queue: Queue,
        transport: Transport,
        clock: Clock,
        timers: Timers,
        subscribers: tuple[Subscriber, ...] = (),
        after: tuple[After, ...] = (),
        confirmer: Confirmer | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.board: Final = board
        self.ledger: Final = ledger
        self.budgets: Final = budgets
        self.queue: Final = queue
        self.transport: Final = transport
        self.clock: Final = clock
        self.timers: Final = timers
        self.subscribers: Final = subscribers
        self.memory: Final = Memory(UNBOUNDED) if memory is None else memory
        self.after: Final = after  # checks after the call
        self.confirmer: Final = confirmer  # None: refusals are only confirmed by other requests


class Taken:
    """A candidate with its guard and hold, which are given back when the try has ended."""

    __slots__ = ("_namespace", "_paid", "candidate", "guard", "hold")

    def __init__(
        self, candidate: Candidate, guard: Guard, hold: Hold, namespace: str, paid: RetryBudget | None
    ) -> None:
        """`paid` is the budget from which `namespace` has taken a retry for it, if any."""
        self.candidate = candidate
        self.guard = guard
        self.hold = hold
        self._namespace = namespace
        self._paid = paid

    def give_back(self) -> None:
        """Gives all back without a try."""
        if self._paid is not None:
            self._paid.give_back(self._namespace)
        self.guard.cancelled()
        self.hold.release()


class Candidates:
    """Those of one request, in the order of trying. The request counts in the retry budget of its policy."""

    def __init__(self, tools: Tools, decision: Decision) -> None:
        self.choice = decision.choice  # the last that was made
        self.left = "no candidate is left"  # why nothing can be taken
        self.full: dict[str, Candidate] = {}  # set aside because they had reached their concurrency
        self.limited: RateLimited | None = None  # the last grant that had no room
        self.over_quota: list[str] = []  # the tiers of such grants
        self.retrying = False  # another try adds load, since one has failed
        self.last = False  # the present try is the last that the policy allows
        self._board = tools.board
        self._ledger = tools.ledger
        self.namespace = decision.caller.namespace
        self._policy = decision.policy
        self._budget = tools.budgets.of(decision.policy)
        self._prompt_tokens = decision.asked.features.tokens
        self._queue = list(decision.choice.candidates)
        self.tried: list[str] = []  # keys of those that have failed
        self._repeated: list[str] = []
        self._larger_than = 0
        self._left_tiers: set[str] = set()  # whose answers are of no use
        self._choosy = False  # not every candidate will do
        self._budget.request()

    def pop(self) -> Candidate | None:
        """The next one that the request fits."""
        while self._queue:
            candidate = self._queue.pop(0)
            if not self._choosy or self._fits(candidate):
                return candidate
        return None

    def head(self) -> Candidate | None:
        """The next one, as `pop` would give it."""
        return next((it for it in self._queue if not self._choosy or self._fits(it)), None)

    def take(self, candidate: Candidate) -> Taken | None:
        """The candidate with its guard and hold, within the retry budget. None: not now; `left` may say why."""
        costs = self.retrying and self._adds_load(candidate)
        if costs and not self._budget.has(self.namespace):  # a later candidate may be healthy, and cost nothing
            self.left = "the retry budget is used up"
            return None
        try:
            hold = self._ledger.reserve(candidate.limits)
        except RateLimited as limited:
            self.refused_by_grant(candidate, limited)
            return None
        backend, panic = candidate.backend, self.choice.panic
        guard = self._board.begin(candidate.key, self._prompt_tokens, self.namespace, panic=panic, backend=backend)
        if guard is None:
            hold.release()
            return None
        if costs:
            self._budget.take(self.namespace)
        return Taken(candidate, guard, hold, self.namespace, self._budget if costs else None)

    def refused_by_grant(self, candidate: Candidate, limited: RateLimited) -> None:
        """The candidate's grant has no room for the request."""
        self.limited = limited
        self.over_quota.append(candidate.tier)

    def set_aside(self, candidate: Candidate) -> None:
        """Keeps a candidate that could not be taken, if it only lacks a slot."""
        if self._board.full(candidate.key, self.namespace):
            self.full[candidate.key] = candidate

    def lacking(self) -> str:
        """Says which slots the request lacks."""
        names, view = ", ".join(self.full), self._board.view()
        if all(key in view and view[key].saturated for key in self.full):
            return f"All backends for this request are at their concurrency ({names})"
        return f"Namespace {self.namespace} has its share of the concurrency of all backends for this request ({names})"

    def can_wait(self) -> bool:
        """Whether a slot would help at any that were set aside."""
        return any(self._fits(candidate) for candidate in self.full.values())

    def ahead(self) -> frozenset[str]:
        """Those set aside where the request goes ahead of other namespaces': the policy wants it, its tier consents."""
        if self._policy.queue.priority is not Priority.HIGH:
            return NOWHERE
        consenting = {it.tier for it in self._policy.references() if it.priority is Priority.HIGH}
        return frozenset([key for key, candidate in self.full.items() if candidate.tier in consenting])

    def offered(self) -> Taken | None:
        """One that was set aside, if its slot is free now."""
        for candidate in self.full.values():
            if self._fits(candidate) and (taken := self.take(candidate)) is not None:
                del self.full[candidate.key]
                return taken
        return None

    def still_full(self) -> bool:
        """Whether any that were set aside still only lack a slot."""
        return any(self._board.full(key, self.namespace) for key in self.full)

    def renew(self, decision: Decision, tried: frozenset[str]) -> bool:
        """Adds the candidates of a later decision that are neither tried nor set aside. False: there are none."""
        back = [it for it in decision.choice.candidates if it.key not in tried and it.key not in self.full]
        if not back:
            return False
        self.choice = decision.choice
        self._queue.extend(back)
        return True

    def available(self, besides: str) -> bool:
        """Whether another candidate than this one could be tried now."""
        if self.last:
            return False
        if any(it.key != besides and self._fits(it) and self._ready(it.key) for it in self._queue):
            return True
        back = [it.key for it in self.choice.skipped if it.seen is not None and it.key not in self.tried]
        return any(key != besides and self._ready(key) for key in [*self.full, *back])

    def at_once(self, candidate: Candidate) -> None:
        """Puts it first again."""
        self._queue.insert(0, candidate)

    def larger(self, candidate: Candidate) -> bool:
        """Leaves out those whose context is not larger than this one's. False: none with a larger one is left."""
        self._larger_than = max(self._larger_than, candidate.backend.limits.context_tokens or 0, 1)
        self._choosy = True
        return any(self._fits(other) for other in self._queue)

    def soonest(self, candidates: Sequence[Candidate], now: float) -> tuple[Candidate, float] | None:
        """The one of these that is back first, and in how many seconds. None: none of them will do."""
        found: tuple[Candidate, float] | None = None
        for candidate in candidates:
            view = self._board.view().get(candidate.key)
            if view is None or not self._fits(candidate):
                continue
            wait = max(view.available_at - now, 0.0)
            if found is None or wait < found[1]:
                found = candidate, wait
        return found

    def again(self, candidate: Candidate) -> None:
        """Puts it first once more, although it has failed; this costs retry budget."""
        if candidate.key not in self._repeated:
            self._repeated.append(candidate.key)
        self._queue = [candidate, *[it for it in self._queue if it.key != candidate.key]]

    def affords_another(self) -> bool:
        """Whether the retry budget has one more try for this caller."""
        return self._budget.has(self.namespace)

    def back_first(self, decision: Decision, key: str) -> None:
        """Puts the candidate of this key first, if a later decision has it."""
        self.choice = decision.choice
        self._queue = [it for it in decision.choice.candidates if it.key == key] + self._queue

    def once_more(self, candidate: Candidate) -> None:
        """Puts it last, if it has not been repeated yet."""
        if candidate.key not in self._repeated:
            self._repeated.append(candidate.key)
            self._queue.append(candidate)

    def leave_tier(self, tier: str) -> None:
        """Leaves out all others of this tier."""
        self._left_tiers.add(tier)
        self._choosy = True

    def healthy_first(self) -> None:
        """Puts healthy candidates first: after one failure, the request should go where all is well."""
        self._queue.sort(key=lambda it: (it.key in self._repeated, not self._healthy(it)))

    def _adds_load(self, candidate: Candidate) -> bool:
        """Whether another try adds load where it hurts, and so costs retry budget.

        A try at a healthy backend does not, even if many requests move there at once when another goes black: it would
        get them anyway as soon as the other's breaker opens. If it fails under this load, further tries cost again.
        """
        return candidate.key in self._repeated or not self._healthy(candidate)

    def _ready(self, key: str) -> bool:
        view = self._board.view().get(key)
        return view is not None and not view.available_at and not view.saturated

    def _healthy(self, candidate: Candidate) -> bool:
        view = self._board.view().get(candidate.key)
        return view is not None and view.healthy

    def _fits(self, candidate: Candidate) -> bool:
        tokens = candidate.backend.limits.context_tokens
        return (tokens is None or tokens > self._larger_than) and candidate.tier not in self._left_tiers
