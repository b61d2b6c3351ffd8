"""The status of every object, from observed, compiled, published and reported state. PURE.

Called by the leader's `status.reporter`, which writes those that differ. It knows no kind: the rows of
`weir_operator.kinds` bring their steps (`status.step`). A status says nothing that changes while no object and no
router changes. It holds no revision, and figures only as `status.figures` makes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from weir_operator.compile import Compiled, ours
from weir_operator.kube.objects import JSON
from weir_operator.observe.observed import Manifest, Observed
from weir_operator.problems.problem import ConditionType, Problem
from weir_operator.status.conditions import (
    ACCEPTED,
    FALSE,
    PROGRAMMED,
    READY,
    RESOLVED,
    TRUE,
    Judgement,
    conditions,
    judged,
)
from weir_operator.status.rollout import Rollout
from weir_operator.status.step import Around, Judgeable, StatusStep, Subject

Broken = list[tuple[str, Exception]]
"""Objects whose status cannot be worked out, as `Kind/namespace/name`, each with the error."""


def statuses(
    observed: Observed,
    kinds: Iterable[Judgeable],
    compiled: Compiled,
    rollout: Rollout,
    present: Mapping[str, Any],
    now: float,
    broken: Broken | None = None,
) -> list[tuple[Manifest, JSON]]:
    """Every object of our class with the status that it should have.

    `present` are the statuses that are there, by object; `now` is in seconds since the epoch. An object whose status
    cannot be worked out, by a bug of ours, goes into `broken` with its error and keeps no other from its status;
    without `broken`, the error is raised.
    """
    problems: dict[str, list[Problem]] = defaultdict(list)
    for problem in compiled.problems:
        problems[problem.object].append(problem)
    around = Around(compiled.config, rollout)
    found = []
    for step, manifests in ((kind.judge, observed.of(kind.kind)) for kind in kinds):
        for it in ours(manifests, observed.class_name):
            subject = Subject(it, problems.get(it.id, ()), present.get(it.id), step.whole)
            try:
                found.append((it, _status(step, subject, around, now)))
            except Exception as error:
                if broken is None:
                    raise
                broken.append((it.id, error))
    return found


def _status(step: StatusStep, it: Subject, around: Around, now: float) -> JSON:
    result, generation = step.judge(it, around), it.manifest.generation
    found = {one.type: judged(one, it.of(one), usable=it.usable) for one in (ACCEPTED, RESOLVED, *step.own)}
    found |= {PROGRAMMED.type: result.programmed, READY.type: result.ready}
    found |= _stalled(found[ACCEPTED.type], result.ready)
    listed = conditions(found.items(), it.conditions, generation, now)
    return {"observedGeneration": generation, "conditions": listed, **result.fields}


def _stalled(accepted: Judgement, ready: Judgement) -> dict[str, Judgement]:
    """Only another spec will make it ready: a tool that waits for that, such as Flux, need not go on waiting."""
    if accepted.status is FALSE and ready.status is FALSE:
        return {ConditionType.STALLED: accepted._replace(status=TRUE)}
    return {}
