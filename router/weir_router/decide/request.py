"""The request as choices see it: facts for conditions, and bounds for backends. Made by `decide.decision`."""

from __future__ import annotations

from typing import Final

from weir_router.contract import CONVERSATIONS, Complexity
from weir_router.contract.caller import Caller
from weir_router.contract.facts import Facts
from weir_router.decide.types import Asked
from weir_router.estimate.prompt import Features


class RouteRequest(Facts):
    """One request for one choice. Every fact is filled in here, and in `asked_of`."""

    __slots__ = ("at_once", "endpoint", "home", "max_output", "session", "unable")

    def __init__(self, asked: Asked, caller: Caller, complexity: Complexity, wall: float) -> None:
        """`complexity` is the class as applied, `wall` the moment in seconds since the epoch."""
        super().__init__(
            caller,
            asked.model,
            complexity,
            asked.features.tokens,
            asked.needs,
            asked.headers,
            asked.feature,
            wall,
            asked.latency_budget,
            asked.operation,
        )
        self.endpoint: Final = None if asked.operation in CONVERSATIONS else asked.operation  # that a backend must list
        self.home: Final = asked.home
        self.max_output: Final = asked.max_output  # tokens the caller asked for at most
        self.at_once: Final = asked.features.tokens if asked.longest is None else asked.longest  # into the model
        self.unable: Final = asked.unable
        self.session: Final = asked.session


def asked_of(facts: Facts) -> Asked:
    """A made-up request that has these facts as a `RouteRequest`, with their caller, class and moment."""
    return Asked(
        model=facts.model,
        features=Features(tokens=facts.prompt_tokens, words=0, turns=1),
        needs=facts.needs,
        headers=facts.headers,
        feature=facts.feature,
        latency_budget=facts.latency_budget,
        operation=facts.operation,
    )
