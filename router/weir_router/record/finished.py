"""`Finished`: the event that a request has ended, with all its data. `serve` makes it, sinks read it.

It refers to the decision and its inputs instead of copying them, so a sink pays only for the fields that it reads.
`app` wires the sinks: metrics and the request log. A further sink is a function that takes a `Finished`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from weir_router.contract import Policy
from weir_router.contract.facts import Caller
from weir_router.decide.types import Decision
from weir_router.dialects.ask import Ask
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptRecord, WeirError


class Bill(msgspec.Struct, frozen=True):
    """The tokens and dollars of one request. None: unknown, or nothing was used."""

    usage: Usage | None = None  # of the last attempt
    upstream_model: str | None = None  # the last attempt's backend's own name for its model
    dollars: float | None = None  # US dollars of all attempts
    price_source: str | None = None
    baseline_dollars: float | None = None  # what the same tokens cost at the policy's baseline tier
    tokens_per_second: float | None = None  # of the answer, after its first content


NOTHING = Bill()


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """One request whose last byte was sent, or that ended without one. A field that never became known is None."""

    id: str
    path: str
    outcome: str  # ok, error, refused, limited, broken, cancelled
    seconds: float  # from arrival to the last byte
    status: int = 0  # HTTP status sent to the caller
    error: WeirError | None = None
    caller: Caller | None = None
    model: str | None = None  # the name that the caller asks for
    stream: bool = False
    ask: Ask | None = None
    policy: Policy | None = None
    decision: Decision | None = None  # the first; it may have been repeated during the attempts
    tier: str | None = None  # the tier that answered
    backend: str | None = None  # the backend that answered
    attempts: Sequence[AttemptRecord] = ()
    bill: Bill = NOTHING
    ttft: float | None = None  # seconds from arrival to the first content


Sink = Callable[[Finished], None]
"""A function that is called once for each request, at its end. It must neither raise nor block."""
