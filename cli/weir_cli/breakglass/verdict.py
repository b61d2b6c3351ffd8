"""The operator's verdict on a change of an object, awaited for a few seconds. Used by `weir override`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weir_operator.problems.problem import ConditionType
from weir_operator.status.conditions import FALSE, by_type

VERDICT_SECONDS = 5.0
"""Seconds in which the operator judges a change: it takes one or two, unless none runs."""

POLL_SECONDS = 0.2
"""Seconds between two looks at the status."""

_JUDGED = (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS, ConditionType.READY)
"""Conditions that say whether an object is served as written, the first cause first."""

OVERRIDE = "spec.override"
"""Field that a message names where the override is what is wrong."""


@dataclass(frozen=True)
class Verdict:
    """The words of the operator about one generation of an object."""

    judged: bool  # the status is of that generation
    usable: bool
    message: str


def verdict_on(read: Callable[[], Mapping[str, Any]], generation: int, seconds: float = VERDICT_SECONDS) -> Verdict:
    """The verdict on `generation` of the object that `read` gives; after `seconds` without one, that there is none."""
    until = time.monotonic() + seconds
    while (found := verdict(read(), generation)) is None and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    return found or Verdict(False, True, f"no operator has judged it within {seconds:g} s: see its status")


def verdict(body: Mapping[str, Any], generation: int) -> Verdict | None:
    """The verdict on an override in a policy's status; None: it is of an older generation. Pure.

    Other parts of the policy may be wrong: with an override that can be used, it answers in spite of these.
    """
    conditions = by_type(body.get("status"))
    judged = [conditions[it] for it in _JUDGED if it in conditions]
    if not judged or any(it.get("observedGeneration", 0) < generation for it in judged):
        return None
    for it in judged:
        if it["status"] == FALSE and (it["type"] == ConditionType.READY or OVERRIDE in it["message"]):
            return Verdict(True, False, f"{it['type']} is False, {it['reason']}: {it['message']}")
    return Verdict(True, True, judged[-1]["message"])
