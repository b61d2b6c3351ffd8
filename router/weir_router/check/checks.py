"""Checks before and after the call: what one is, and what it says. Used by `serve.story` and `call.tap`.

A check has a name, which callers and log lines show, and a function, which gives a verdict with its reason. The reason
is for the caller and for the log, so it must not quote the prompt or the answer. A check must neither raise nor block.
Example:

    def short(sample: Sample) -> Verdict | None:
        if len(sample.text) > 20:
            return PASS
        return Verdict(False, "the answer is too short") if sample.last else None

    After("length", short)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from weir_router.contract import Policy
from weir_router.contract.caller import Caller
from weir_router.dialects.ask import Ask


class Verdict(NamedTuple):
    """The result of a check."""

    passes: bool
    reason: str = ""  # why not


PASS = Verdict(True)


class Before(NamedTuple):
    """A check of a request, as soon as its body is decoded. A request that does not pass gets a 403."""

    name: str
    check: Callable[[Ask, Caller, Policy], Verdict]


class Sample(NamedTuple):
    """The beginning of an answer: the decoded text of its first choice."""

    text: str
    last: bool  # no more of it is shown before the verdict: it is whole, or no more of it may be held back


class After(NamedTuple):
    """A check of an answer. Until each has passed, nothing goes to the caller; an answer that does not pass is thrown
    away, and the request goes to the next tier.
    """

    name: str
    check: Callable[[Sample], Verdict | None]
    """None: it has to see more. After the last sample that is as good as passing."""
