"""The attempts at one place that have failed in a row, in the words of a report. Used by `health.place` and
`health.guard`.

The breaker decides where requests go; this says what people read: whether the place was tried lately, and how it
failed last. It counts what says something against the place: all that the breaker counts as bad, refusals of our
credential, credit or model, which the breaker judges on its own, and a firewall's refusals.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from weir_router.contract import FAILING, MAX_FAILING, TRIED_SECONDS
from weir_router.errors import FailureKind
from weir_router.health.kinds import CREDENTIAL_KINDS

REFUSED_KINDS = CREDENTIAL_KINDS | {FailureKind.BLOCKED}
"""Failures that count although they are not bad for the breaker."""


class Streak:
    """Those of one place. `on_failing` is called when it begins to fail, and when it works again."""

    def __init__(self, on_failing: Callable[[], None]) -> None:
        self.failing = 0  # failures since the last answer
        self.words = ""  # the last of them; empty: it works, or was never tried
        self._on_failing = on_failing
        self.at = -math.inf  # monotonic moment of the last attempt that says something

    def tried(self, now: float) -> bool:
        """Whether there was such an attempt lately."""
        return now - self.at <= TRIED_SECONDS

    def answered(self) -> None:
        """An attempt was answered; its moment is set by itself, since nearly all end so."""
        self._set(0, "")

    def failed(self, now: float, words: str) -> None:
        """An attempt failed, and its failure counts."""
        self.at = now
        self._set(min(self.failing + 1, MAX_FAILING), words)

    def passed(self, now: float) -> None:
        """An attempt ended otherwise: the upstream has answered, and refused this request."""
        self.at = now

    def take_back(self) -> None:
        """The request was at fault for the last failure."""
        if self.failing:
            self._set(self.failing - 1, self.words if self.failing > 1 else "")

    def forget(self) -> None:
        """The config of the place has changed: nothing is known of the new one."""
        self.at = -math.inf
        self._set(0, "")

    def _set(self, failing: int, words: str) -> None:
        turned = (self.failing >= FAILING) != (failing >= FAILING)
        self.failing, self.words = failing, words
        if turned:
            self._on_failing()
