"""The readiness of all objects, for a metric: `Ready` of each and its reason, as the stored statuses have it.

Called by `run.replica` at each scrape. PURE. It names no object: statuses do, and only to those who may read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from weir_operator.compile.classes import ours
from weir_operator.observe.observed import Manifest
from weir_operator.problems.problem import Reason
from weir_operator.status.conditions import FALSE, TRUE, UNKNOWN, StatusReason

OTHER = "other"
"""Reason that stands for all that Weir does not write: a status may be written by others, and a label is bounded."""

REASONS = frozenset({*Reason, *StatusReason})
STATUSES = frozenset({TRUE, FALSE, UNKNOWN})


class Readiness(NamedTuple):
    """The condition `Ready` of one object."""

    kind: str
    ready: str  # True, False or Unknown
    reason: str


def readiness(manifests: Iterable[Manifest], class_name: str) -> Iterator[Readiness]:
    """The readiness of each object of this class."""
    for it in ours(manifests, class_name):
        condition = _condition(it.status)
        status, reason = condition.get("status"), condition.get("reason")
        yield Readiness(
            it.kind,
            status if isinstance(status, str) and status in STATUSES else UNKNOWN.value,
            reason if isinstance(reason, str) and reason in REASONS else OTHER,
        )


def _condition(status: Any) -> dict[str, Any]:
    """`Ready` of a stored status, which may be anything that the CRD lets through."""
    conditions = status.get("conditions") if isinstance(status, dict) else None
    found = (it for it in conditions or () if isinstance(it, dict) and it.get("type") == "Ready")
    return next(found, {})
