"""`Finished`: the event that a request has ended, with all its data. `serve` makes it, sinks read it.

It refers to the decision and its inputs instead of copying them, so a sink pays only for the fields that it reads.
`app` wires the sinks: metrics and the request log. A further sink is a function that takes a `Finished`. Every field is
`Final`. These are no structs, since compiled code makes and reads an object of its own at a fifth of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from weir_router.contract import Policy
from weir_router.contract.caller import Caller
from weir_router.decide.types import Decision
from weir_router.dialects.ask import Ask
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptRecord, WeirError


class Bill:
    """The tokens and dollars of one request. None: unknown, or nothing was used."""

    __slots__ = ("baseline_dollars", "dollars", "price_source", "tokens_per_second", "upstream_model", "usage")

    def __init__(
        self,
        usage: Usage | None = None,
        upstream_model: str | None = None,
        dollars: float | None = None,
        price_source: str | None = None,
        baseline_dollars: float | None = None,
        tokens_per_second: float | None = None,
    ) -> None:
        self.usage: Final = usage  # of the last attempt
        self.upstream_model: Final = upstream_model  # the last attempt's backend's own name for its model
        self.dollars: Final = dollars  # US dollars of all attempts
        self.price_source: Final = price_source
        self.baseline_dollars: Final = baseline_dollars  # what the same tokens cost at the policy's baseline tier
        self.tokens_per_second: Final = tokens_per_second  # of the answer, after its first content


NOTHING = Bill()


class Finished:
    """One request whose last byte was sent, or that ended without one. A field that never became known is None.

    No field has a default, so that mypy names each place that does not fill in a new one.
    """

    __slots__ = (
        "ask", "attempts", "backend", "bill", "caller", "decision", "error", "id", "model", "outcome", "over_quota",
        "path", "policy", "policy_key", "seconds", "status", "stream", "tier", "ttft",
    )  # fmt: skip

    def __init__(
        self,
        id: str,
        path: str,
        outcome: str,
        seconds: float,
        *,
        status: int,
        error: WeirError | None,
        caller: Caller | None,
        model: str | None,
        stream: bool,
        ask: Ask | None,
        policy: Policy | None,
        policy_key: str | None,
        decision: Decision | None,
        tier: str | None,
        backend: str | None,
        attempts: Sequence[AttemptRecord],
        over_quota: Sequence[str],
        bill: Bill,
        ttft: float | None,
    ) -> None:
        self.id: Final = id
        self.path: Final = path
        self.outcome: Final = outcome  # ok, error, refused, limited, broken, cancelled
        self.seconds: Final = seconds  # from arrival to the last byte
        self.status: Final = status  # HTTP status sent to the caller
        self.error: Final = error
        self.caller: Final = caller
        self.model: Final = model  # the name that the caller asks for
        self.stream: Final = stream
        self.ask: Final = ask
        self.policy: Final = policy
        self.policy_key: Final = policy_key  # computed once per request
        self.decision: Final = decision  # the first; it may have been repeated during the attempts
        self.tier: Final = tier  # the tier that answered
        self.backend: Final = backend  # the backend that answered
        self.attempts: Final = attempts
        self.over_quota: Final = over_quota  # tiers that the request did not reach, since a grant is used up
        self.bill: Final = bill
        self.ttft: Final = ttft  # seconds from arrival to the first content


Sink = Callable[[Finished], None]
"""A function that is called once for each request, at its end. It must neither raise nor block."""
