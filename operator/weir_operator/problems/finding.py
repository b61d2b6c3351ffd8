"""A check's finding, and its verdict on the thing that was looked at. PURE; the checks are those of the kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple, TypeVar

from weir_operator.problems.problem import Severity

T = TypeVar("T")


class Verdict(StrEnum):
    """The consequence for the checked subject."""

    REMOVE = "Remove"  # it cannot be used
    FAULTY = "Faulty"  # it stays, and does not do what it says
    WARN = "Warn"  # it stays, and works

    @property
    def severity(self) -> Severity:
        """How bad that is for people."""
        return Severity.WARNING if self is Verdict.WARN else Severity.ERROR


class Finding(NamedTuple):
    """The result of a check that found something."""

    reason: str  # of `Reason`, or of the kind's own
    message: str
    verdict: Verdict
    condition: str  # of `ConditionType`, or of the kind's own
    action: str
    field: str = ""  # below the thing that was looked at: ".credentials.secretRef.name"


Check = Callable[[T], Finding | None]


def findings(checks: Iterable[Check[T]], subject: T) -> list[Finding]:
    """The findings of the checks, in order, up to the first that removes the subject."""
    found: list[Finding] = []
    for check in checks:
        finding = check(subject)
        if finding is not None:
            found.append(finding)
            if finding.verdict is Verdict.REMOVE:
                break
    return found


def removed(found: Iterable[Finding]) -> bool:
    """Whether one of the findings removes the subject."""
    return any(finding.verdict is Verdict.REMOVE for finding in found)
