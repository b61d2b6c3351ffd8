"""The statuses that differ from those in the cluster, each with the moment from which it may be written. PURE.

Called by `status.reporter` in a thread: for a thousand objects it takes so long that routers would otherwise wait.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir_operator.compile import Compiled
from weir_operator.kube.objects import JSON
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.status.changes import write_at
from weir_operator.status.events import Event, events
from weir_operator.status.rollout import Rollout
from weir_operator.status.statuses import Broken, statuses
from weir_operator.status.step import Judgeable


@dataclass(frozen=True)
class Made:
    """The last compile: its input and its result."""

    observed: Observed
    compiled: Compiled


@dataclass(frozen=True)
class Task:
    """A status to write."""

    subject: Manifest
    wanted: JSON
    news: tuple[Event, ...]  # to be sent once it is written


def due(
    kinds: Sequence[Judgeable],
    made: Made,
    rollout: Rollout,
    there: Mapping[str, Manifest],
    present: Mapping[str, Any],
    written: Mapping[str, float],
    wall: float,
    undeclared: Collection[tuple[str, str]] = (),
    broken: Broken | None = None,
) -> list[tuple[Task, float]]:
    """The writes that are due, each with the moment from which it may happen (monotonic seconds).

    `there` are the objects of the cluster and `present` their statuses, both by `Kind/namespace/name`; `written` says
    by uid when a status was written last; `wall` is the time in seconds since the epoch. `undeclared` are kinds and
    fields that the installed CRDs do not know: with such a field the API server would refuse the whole status.
    `broken`: as in `statuses`.
    """
    found = []
    steps = {kind.kind: kind.judge for kind in kinds}
    for subject, whole in statuses(made.observed, kinds, made.compiled, rollout, present, wall, broken):
        wanted = {name: it for name, it in whole.items() if (subject.kind, name) not in undeclared}
        current = there.get(subject.id)
        if current is None or current.uid != subject.uid:
            continue  # deleted since, or made anew: another compile will follow
        before, step = present[subject.id], steps[subject.kind]
        at = write_at(before, wanted, written.get(subject.uid), step.passing)
        if at is not None:
            news = (*events(before, wanted, step.good), *step.news(subject, before, wanted))
            found.append((Task(current, wanted, news), 0.0 if news else at))
    return found
