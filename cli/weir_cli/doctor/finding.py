"""The result of one check, and its words. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

SHOWN = 5
"""Objects that one finding names; the hundredth only hides them."""


class Verdict(StrEnum):
    """Verdict of one check."""

    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"  # it works, and could be safer
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    check: str
    verdict: Verdict
    message: str
    action: str = ""


@dataclass(frozen=True)
class Unseen:
    """We could not look; says why."""

    why: str


def named(names: Sequence[str], separator: str = ", ") -> str:
    """The first names, and the number of the others, e.g. `a, b, c, d, e, and 2 more`."""
    rest = f"{separator}and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return separator.join(names[:SHOWN]) + rest


def good(check: str, message: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Verdict.GOOD, message)


def bad(check: str, message: str, action: str) -> Finding:
    """A mistake, with what mends it."""
    return Finding(check, Verdict.BAD, message, action)


def warning(check: str, message: str, action: str) -> Finding:
    """It works, and could be better."""
    return Finding(check, Verdict.WARNING, message, action)


def unknown(check: str, unseen: Unseen) -> Finding:
    """We could not look."""
    return Finding(check, Verdict.UNKNOWN, unseen.why)
