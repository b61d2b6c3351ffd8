"""What goes into a choice and what comes out. Made by `serve`, read by `call.failover`, `record` and `weir explain`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from weir_router.contract import Backend, Capability, Complexity, Limit
from weir_router.estimate.prompt import Classification
from weir_router.identify.caller import Caller


class RouteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a choice may look at. No prompt text."""

    caller: Caller
    classification: Classification
    complexity: Complexity  # as applied: the classification's, or raised by `minConfidence`
    prompt_tokens: int  # estimated
    max_output: int | None = None  # tokens the caller asked for at most
    needs: frozenset[Capability] = frozenset()
    headers: Mapping[str, str] = {}  # names in lower case
    feature: str | None = None  # the client's own claim
    unable: Callable[[Backend], str | None] | None = None  # pure: why this backend cannot serve, or None


Note = str | tuple[str, float]
"""A reason, or one with a figure that is put in only where people read it."""


def told(notes: Iterable[Note]) -> str:
    """What people read."""
    return "; ".join([note if isinstance(note, str) else note[0].format(note[1]) for note in notes])


class Candidate(msgspec.Struct, frozen=True):
    """A backend to try, with the limits that its grant puts on it."""

    tier: str  # "namespace/name"
    backend: Backend
    key: str  # on the board
    limits: tuple[Limit, ...]
    notes: tuple[Note, ...] = ()

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
    available_at: float | None = None  # monotonic; None: waiting does not help this request
    credential_out: bool = False  # it refuses our credentials
    unfit: bool = False  # it cannot serve this request, healthy or not


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The candidates in the order of trying, and why."""

    route: str | None  # the route that matched, also where an override or `mode: Observe` sends elsewhere
    candidates: tuple[Candidate, ...]
    skipped: tuple[Skipped, ...]
    reason: str
    complexity: Complexity
    unable: str | None = None  # why nothing here could ever serve this request: a 400, not a 503
    panic: bool = False  # nothing is available: the candidates are last resorts, for `Board.begin(..., panic=True)`
    diverted: bool = False  # an override or `mode: Observe` sends it elsewhere than its route says
    observed_tier: str | None = None  # `mode: Observe`: the tier that the route would have used first
