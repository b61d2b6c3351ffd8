"""Problems → conditions, in words for people. PURE; used by `weir_operator.status.statuses`.

A condition is False where something that the object asks for does not work, and True with the reason of a warning where
it works, though perhaps not as meant. For a condition such as `Conflicted`, False is the good news (`Condition.good`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from weir_operator.kube.objects import JSON
from weir_operator.problems.problem import ConditionType, Problem, Severity
from weir_operator.schemas.common import ConditionStatus

MAX_PROBLEMS = 4
"""Problems that one condition shows: the first say what is wrong, the tenth only hides them."""

MAX_MESSAGE = 1_024
"""Characters of a condition's message: as much as an Event can hold."""

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


class StatusReason(StrEnum):
    """Reasons of conditions beside those of problems (`problems.problem.Reason`); `docs/status.md` explains each."""

    # of Accepted, ResolvedRefs, Conflicted, Priced
    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    NO_CONFLICT = "NoConflict"
    PRICED = "Priced"
    NOT_ACCEPTED = "NotAccepted"
    # of Programmed
    PROGRAMMED = "Programmed"
    WAITING = "Waiting"
    PENDING = "Pending"
    REJECTED = "Rejected"
    NO_ROUTERS = "NoRouters"
    NOT_PUBLISHED = "NotPublished"
    # of Ready
    READY = "Ready"
    PARTLY_READY = "PartlyReady"
    DEGRADED = "Degraded"
    NO_HEALTHY_TIERS = "NoHealthyTiers"
    NO_ACTIVE_BACKENDS = "NoActiveBackends"
    NO_HEALTHY_BACKENDS = "NoHealthyBackends"


class Judgement(NamedTuple):
    """The content of a condition."""

    status: ConditionStatus
    reason: str
    message: str


@dataclass(frozen=True)
class Condition:
    """A condition that an object can have."""

    type: str  # "Ready"
    good: Judgement  # what it says when nothing is wrong
    strict: bool = False  # a warning counts against it, as an error does


ACCEPTED = Condition(ConditionType.ACCEPTED, Judgement(TRUE, StatusReason.ACCEPTED, "the spec is valid"))
RESOLVED = Condition(
    ConditionType.RESOLVED_REFS,
    Judgement(TRUE, StatusReason.RESOLVED_REFS, "everything that it refers to is there"),
)
PROGRAMMED = Condition(
    ConditionType.PROGRAMMED, Judgement(TRUE, StatusReason.PROGRAMMED, "every gateway router runs it")
)
READY = Condition(ConditionType.READY, Judgement(TRUE, StatusReason.READY, "requests are served"))

COMMON = (ACCEPTED, RESOLVED, PROGRAMMED, READY)
"""Conditions of every kind. A kind may have more of its own (`status.step`)."""

_UNJUDGED = Judgement(UNKNOWN, StatusReason.NOT_ACCEPTED, "not looked at: see Accepted")


def judged(condition: Condition, problems: Sequence[Problem], *, usable: bool = True) -> Judgement:
    """The condition, from its problems. `usable`: the object could be compiled."""
    if not usable and condition is not ACCEPTED:
        return _UNJUDGED
    if not problems:
        return condition.good
    worst = sorted(problems, key=lambda it: it.severity is Severity.WARNING)  # errors first; otherwise as found
    good = condition.good.status
    status = good
    if condition.strict or worst[0].severity is Severity.ERROR:
        status = FALSE if good is TRUE else TRUE
    return Judgement(status, worst[0].reason, told(worst))


def told(problems: Sequence[Problem]) -> str:
    """The problems and their remedies, on one line: kubectl cuts a column at the end of the first line."""
    parts = [_sentence(it) for it in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        parts.append(f"and {len(problems) - MAX_PROBLEMS} more")
    return shortened("; ".join(parts))


def _sentence(problem: Problem) -> str:
    place = f"{problem.field}: " if problem.field else ""
    return f"{place}{problem.message}. {problem.action}".rstrip(". ")


def shortened(text: str) -> str:
    """`text` on one line, and not too long for a message."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 3]}..."


def by_type(status: Any) -> dict[str, JSON]:
    """The conditions of a status as it is in the cluster, where anybody may have written it."""
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    return {it["type"]: it for it in conditions or () if isinstance(it, Mapping) and "type" in it}


def conditions(
    judgements: Iterable[tuple[str, Judgement]], before: Mapping[str, JSON], generation: int, now: float
) -> list[JSON]:
    """The conditions of generation `generation`. A time of transition stays as long as the status does."""
    return [
        {
            "type": str(kind),
            "status": it.status.value,
            "observedGeneration": generation,
            "lastTransitionTime": _since(it.status, before.get(kind, {}), now),
            "reason": str(it.reason),
            "message": it.message,
        }
        for kind, it in judgements
    ]


def _since(status: ConditionStatus, before: JSON, now: float) -> str:
    since = before.get("lastTransitionTime")
    # The CRD's default condition is of no generation, and its time is no time of a transition.
    if "observedGeneration" in before and before.get("status") == status.value and isinstance(since, str):
        return since
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
