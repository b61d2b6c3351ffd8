"""How a kind takes part in statuses: its step, and what the step sees of an object and around it. PURE.

A kind's row holds one `StatusStep` (`weir_operator.kinds`). Example: a kind without fields or conditions of its own.

    StatusStep(judge=lambda it, around: Judged(around.programmed(it, frozenset()), it.served()))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from weir_operator.kube.objects import JSON
from weir_operator.observe.observed import Manifest
from weir_operator.problems.problem import Problem, Reason, Severity
from weir_operator.status.conditions import (
    ACCEPTED,
    COMMON,
    FALSE,
    PROGRAMMED,
    READY,
    RESOLVED,
    TRUE,
    UNKNOWN,
    Condition,
    Judgement,
    StatusReason,
    by_type,
    judged,
    shortened,
    told,
)
from weir_operator.status.events import Event
from weir_operator.status.rollout import Rollout
from weir_router.contract import CompiledConfig

T = TypeVar("T")

_NO_CONFIG = (Reason.INVALID_SPEC, Reason.COMPILER_BUG, Reason.TOO_LARGE)


@dataclass(frozen=True)
class Subject:
    """An object with its problems and its present status."""

    manifest: Manifest
    problems: Sequence[Problem]
    before: Any
    whole: tuple[str, ...] = ()  # reasons about the object as a whole: said before what is wrong with its parts

    @property
    def usable(self) -> bool:
        """Whether it could be compiled."""
        return not any(it.reason in _NO_CONFIG for it in self.problems)

    @property
    def conditions(self) -> Mapping[str, JSON]:
        """The conditions of its present status, by type."""
        return by_type(self.before)

    def of(self, condition: Condition) -> list[Problem]:
        """Its problems with this condition."""
        return [it for it in self.problems if it.condition == condition.type]

    def places(self, condition: Condition, place: re.Pattern[str]) -> int:
        """The number of fields of this form that have a problem with the condition."""
        found = (place.match(it.field) for it in self.of(condition))
        return len({match[0] for match in found if match})

    def fault(self) -> Judgement | None:
        """The reason why it is not ready, as far as it follows from the observed objects."""
        if not self.usable:
            return judged(ACCEPTED, self.of(ACCEPTED))
        found = sorted(self.of(READY), key=lambda it: it.reason not in self.whole)
        if not found:
            return None
        causes = [it for it in (*self.of(ACCEPTED), *self.of(RESOLVED)) if it.severity is Severity.ERROR]
        # The action comes first: a column of kubectl has room for one sentence.
        return judged(READY, found)._replace(message=told([*causes, *found]))

    def served(self, ill: str = "") -> Judgement:
        """It is ready; says so if not all of it is. `ill` is what fails at present, for example a backend."""
        lacking = [it for it in (*self.of(ACCEPTED), *self.of(RESOLVED)) if it.severity is Severity.ERROR]
        buts = [it for it in (ill, told(lacking)) if it]
        if not buts:
            return READY.good
        reason = StatusReason.DEGRADED if ill else StatusReason.PARTLY_READY
        return Judgement(TRUE, reason, shortened(f"requests are served, but {'; '.join(buts)}"))


@dataclass(frozen=True)
class Around:
    """Everything that all objects share."""

    config: CompiledConfig
    rollout: Rollout
    _once: dict[Callable[[Around], Any], Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, work: Callable[[Around], T]) -> T:
        """The result of `work`, which is computed for the first object that needs it."""
        if work not in self._once:
            self._once[work] = work(self)
        return cast("T", self._once[work])

    def programmed(self, it: Subject, namespaces: frozenset[str] | None) -> Judgement:
        """Whether routers run the object; `namespaces` are those whose sidecars may use it (None: all)."""
        if not it.usable:
            return Judgement(FALSE, StatusReason.NOT_ACCEPTED, "there is nothing to run: see Accepted")
        before = it.conditions.get(PROGRAMMED.type, {})
        return self.rollout.programmed(it.manifest.id, it.manifest.generation, before, namespaces)


class Judged(NamedTuple):
    """The part of a status that a kind decides."""

    programmed: Judgement
    ready: Judgement
    fields: Mapping[str, Any] = {}
    """Further fields of the status. Figures among them are made by `status.figures`."""


def _nothing(*_: Any) -> Sequence[Event]:
    return ()


@dataclass(frozen=True)
class StatusStep:
    """The part of a kind in statuses."""

    judge: Callable[[Subject, Around], Judged]
    """Judges one object."""
    own: tuple[Condition, ...] = ()
    """Conditions that only this kind has. They follow from the problems of the compile."""
    whole: tuple[str, ...] = ()
    """Reasons of Ready that are about an object as a whole."""
    passing: tuple[str, ...] = ()
    """Fields that a status does not always have. Server-side apply removes one that is left out."""
    news: Callable[[Manifest, Any, JSON], Sequence[Event]] = _nothing
    """Events beside those of its conditions, from an object, its present status and the one that it gets."""

    @property
    def good(self) -> Mapping[str, Judgement]:
        """The kind's conditions when nothing is wrong, by type."""
        return {it.type: it.good for it in (*COMMON, *self.own)}


class Judgeable(Protocol):
    """A kind, as far as statuses know it."""

    @property
    def kind(self) -> str:
        """The kind, for example `ModelTier`."""

    @property
    def judge(self) -> StatusStep:
        """Its step."""


def waits_for(programmed: Judgement) -> Judgement | None:
    """Ready follows Programmed: an object that no router runs serves no request."""
    if programmed.status is TRUE:
        return None
    under_way = programmed.reason in (StatusReason.PENDING, StatusReason.WAITING)
    return programmed._replace(status=UNKNOWN if under_way else FALSE)
