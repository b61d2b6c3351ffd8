"""The facts of a request that the conditions of routes are about. Made by `decide`, read by `conditions`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from weir_router.contract.caller import Caller
from weir_router.contract.policy import Complexity, Operation
from weir_router.contract.tier import Capability

NO_HEADERS: Mapping[str, str] = {}


class Facts:
    """The facts of one request that conditions can be about, without any of its text. Made by `decide`."""

    __slots__ = (
        "caller", "complexity", "feature", "headers", "latency_budget", "model", "needs", "operation", "prompt_tokens",
        "wall",
    )  # fmt: skip

    def __init__(
        self,
        caller: Caller,
        model: str,
        complexity: Complexity,
        prompt_tokens: int,
        needs: frozenset[Capability] = frozenset(),
        headers: Mapping[str, str] = NO_HEADERS,
        feature: str | None = None,
        wall: float = 0.0,
        latency_budget: float | None = None,
        operation: Operation = Operation.CHAT,
    ) -> None:
        self.caller: Final = caller
        self.model: Final = model  # the name that the caller asks for
        self.complexity: Final = complexity  # as applied: estimated, or raised by `minConfidence`
        self.prompt_tokens: Final = prompt_tokens  # estimated
        self.needs: Final = needs
        self.headers: Final = headers  # names in lower case
        self.feature: Final = feature  # the client's own claim, `x-weir-feature`
        self.wall: Final = wall  # seconds since the epoch
        self.latency_budget: Final = latency_budget  # seconds to the first content, `x-weir-ttft`
        self.operation: Final = operation

    def but(self, **changes: Any) -> Facts:
        """The same with other values, e.g. `facts.but(prompt_tokens=9)`."""
        same = {name: getattr(self, name) for name in FACTS}
        return Facts(**(same | changes))


FACTS = (
    "caller", "model", "complexity", "prompt_tokens", "needs", "headers", "feature", "wall", "latency_budget",
    "operation",
)  # fmt: skip
"""Names of all facts."""
