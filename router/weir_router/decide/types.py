"""The parts of a decision: what it is asked, and what comes out. Made by `decide.decision` and read by many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from weir_router.contract import Backend, Capability, CompiledConfig, Complexity, Limit, Operation, Policy
from weir_router.contract.caller import Caller
from weir_router.estimate.prompt import Classification, Features

Unable = Callable[[Backend], str | None]
"""Says why a backend cannot serve one request at all, or None. Pure."""

Head = Callable[[Features], Classification]
"""A policy's own estimate of a prompt's class. Pure."""


class Asked(msgspec.Struct, frozen=True):
    """A request as it is measured before the decision. No prompt text."""

    model: str  # the name that the caller asks for
    features: Features
    max_output: int | None = None  # tokens the caller asked for at most
    needs: frozenset[Capability] = frozenset()
    headers: Mapping[str, str] = {}  # names in lower case
    feature: str | None = None  # the client's own claim
    unable: Unable | None = None
    latency_budget: float | None = None  # seconds to the first content that the caller accepts
    session: str | None = None  # the conversation, where it has a home: see `decide.session`
    began: Features | None = None  # in a tool loop: the features of the prompt that began it, see `decide.loop`
    operation: Operation = Operation.CHAT
    longest: int | None = None  # tokens that must fit into the model at once; None: all of the prompt
    home: str = ""  # the account that holds what it uses (`Backend.account`); empty: it uses nothing


Note = str | tuple[str, float]
"""A reason, or one with a figure that is put in only where people read it."""


def told(notes: Iterable[Note]) -> str:
    """The notes as text for people."""
    return "; ".join([note if isinstance(note, str) else note[0].format(note[1]) for note in notes])


class Seen(msgspec.Struct, frozen=True):
    """The health of a backend as a decision has read it: only what the decision looked at, the rest as if all is well.

    See `weir_router.health.view.Judged` for the figures.
    """

    state: str = "closed"
    available_at: float = 0.0
    saturated: bool = False
    keeps_objectives: bool = True
    share: float = 1.0
    score: float | None = None  # None: not looked at
    reason: str | None = None
    last_resort: bool = False
    credential_out: bool = False
    refuses: frozenset[str] = frozenset()
    ttft_p95: float | None = None
    pending: int | None = None


UNSEEN = Seen()


class Candidate(msgspec.Struct, frozen=True):
    """A backend to try, with the limits that its grant puts on it."""

    tier: str  # "namespace/name"
    backend: Backend
    key: str  # on the board
    limits: tuple[Limit, ...]
    notes: tuple[Note, ...] = ()
    seen: Seen = UNSEEN

    @property
    def reason(self) -> str:
        """Why it stands where it does."""
        return told(self.notes)


class Skipped(msgspec.Struct, frozen=True):
    """A backend that is not tried."""

    tier: str
    backend: str  # its name; empty where the whole tier is missing
    reason: str
    key: str = ""
    unfit: bool = False  # it cannot serve this request, healthy or not
    seen: Seen | None = None  # None: waiting does not help this request, so nothing was looked at
    context: int | None = None  # tokens of its context, where the prompt is too long for it


class Choice(msgspec.Struct, frozen=True):
    """The candidates in the order of trying, and why."""

    route: str | None  # the route that matched, also where an override or `mode: Observe` sends elsewhere
    candidates: tuple[Candidate, ...]
    skipped: tuple[Skipped, ...]
    reason: str
    unable: str | None = None  # why nothing here could ever serve this request: a 400, not a 503
    panic: bool = False  # nothing is available: the candidates are last resorts, for `Board.begin(..., panic=True)`
    diverted: bool = False  # an override or `mode: Observe` sends it elsewhere than its route says
    observed: tuple[Candidate, ...] = ()  # `mode: Observe`: the candidates that the route would have had
    unobserved: tuple[Skipped, ...] = ()  # `mode: Observe`: those that the route would not have tried

    @property
    def observed_tier(self) -> str | None:
        """`mode: Observe`: the tier that the route would have used first."""
        return self.observed[0].tier if self.observed else None


class Decision(msgspec.Struct, frozen=True):
    """Where a request goes, and why: what was decided, and by reference what from."""

    asked: Asked
    caller: Caller
    policy: Policy
    config: CompiledConfig  # the revision, and the prices
    wall: float  # seconds since the epoch
    now: float  # monotonic seconds
    draw: float
    classification: Classification
    complexity: Complexity  # as applied: `classification`'s, or one step up
    reason: str  # why this class
    choice: Choice
    head: Head | None = None  # the policy's own estimate, where it has one
    gate: None = None  # no gate is known yet
