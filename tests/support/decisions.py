"""Decisions for tests, made by hand."""

from __future__ import annotations

from typing import Any

from weir_router.contract import CallerKind, CompiledConfig, Complexity, Policy
from weir_router.contract.caller import Caller
from weir_router.decide.types import Asked, Choice, Decision
from weir_router.estimate.prompt import Classification, Features

CALLER = Caller("team-a", "bot", CallerKind.API_KEY)


def decision_of(choice: Choice, policy: Policy, *, tokens: int = 10, **changes: Any) -> Decision:
    """A decision for `choice`; `changes` are other fields."""
    fields: dict[str, Any] = {
        "asked": Asked(model="auto", features=Features(tokens=tokens, words=1, turns=1)),
        "caller": CALLER,
        "policy": policy,
        "config": CompiledConfig(),
        "wall": 0.0,
        "now": 0.0,
        "draw": 0.5,
        "classification": Classification(Complexity.SIMPLE, 0.9, "short"),
        "complexity": Complexity.SIMPLE,
        "reason": "short",
        "choice": choice,
    }
    return Decision(**(fields | changes))
