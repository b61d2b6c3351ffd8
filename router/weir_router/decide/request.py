"""The request as choices see it: facts for conditions, and bounds for backends. Made by `decide.decision`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from weir_router.contract import Capability, Complexity
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import NO_HEADERS, Facts
from weir_router.decide.types import Unable


class RouteRequest(Facts):
    """One request for one choice."""

    __slots__ = ("max_output", "unable")

    def __init__(
        self,
        caller: Caller,
        model: str,
        complexity: Complexity,
        prompt_tokens: int,
        needs: frozenset[Capability] = frozenset(),
        headers: Mapping[str, str] = NO_HEADERS,
        feature: str | None = None,
        max_output: int | None = None,
        unable: Unable | None = None,
    ) -> None:
        super().__init__(caller, model, complexity, prompt_tokens, needs, headers, feature)
        self.max_output: Final = max_output  # tokens the caller asked for at most
        self.unable: Final = unable
