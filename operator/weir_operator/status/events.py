"""Two statuses → what people should hear of: Kubernetes Events. PURE; sent by `status.reporter` after the later
status was written.

Only a change of a verdict is news: a condition's status or reason. Since it is taken from what the object's status said
before, an operator that restarts repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from weir_operator.kube.objects import JSON
from weir_operator.observe.observed import Manifest
from weir_operator.problems.problem import ConditionType, Reason
from weir_operator.schemas import GROUP, VERSION
from weir_operator.status.conditions import UNKNOWN, Judgement, StatusReason, by_type

CONTROLLER = "weir.dev/operator"
"""`reportingController` of our Events."""

MAX_NOTE_BYTES = 1_024
"""Bytes of an Event's note in UTF-8: the API server refuses a longer one."""

_SILENT = (
    StatusReason.PENDING,
    StatusReason.WAITING,
    StatusReason.NOT_ACCEPTED,
    StatusReason.PARTLY_READY,
    Reason.OVERRIDE_EXPIRED,  # the end of an override is news of its own, and nothing to warn of
)
"""Reasons of a moment, or that repeat what another condition or Event says, as Stalled does."""


class EventType(StrEnum):
    """The type of a Kubernetes Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


class Event(NamedTuple):
    """One Event for people."""

    type: EventType
    reason: str
    note: str


def events(before: Any, after: Any, good: Mapping[str, Judgement]) -> list[Event]:
    """The news of the status `after` beside `before`, each once. `good` are the good judgements of its conditions."""
    old = by_type(before)
    found = (_event(condition, old.get(name), good) for name, condition in by_type(after).items())
    return list(dict.fromkeys(event for event in found if event is not None))


def _event(condition: JSON, before: JSON | None, good: Mapping[str, Judgement]) -> Event | None:
    kind, reason = condition["type"], condition["reason"]
    if condition["status"] == UNKNOWN or reason in _SILENT or kind == ConditionType.STALLED:
        return None
    if before is not None and (before.get("status"), before.get("reason")) == (condition["status"], reason):
        return None
    if reason != good[kind].reason:
        return Event(EventType.WARNING, reason, condition["message"])
    # Good news is that something works at all, and that something works again.
    again = before is not None and before.get("reason") not in _SILENT
    return Event(EventType.NORMAL, reason, condition["message"]) if kind == ConditionType.READY or again else None


def manifest_of(event: Event, subject: Manifest, instance: str, moment: str) -> Mapping[str, Any]:
    """The Event as `events.k8s.io/v1` wants it; `instance` is this operator's name, `moment` an RFC 3339 time."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{subject.name[:200]}-", "namespace": subject.namespace},
        "type": event.type.value,
        "reason": event.reason,
        "note": _cut(event.note),
        "action": "Report",
        "eventTime": moment,
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "regarding": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": subject.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
        },
    }


def _cut(note: str) -> str:
    """`note` in as many bytes as an Event takes. A message of as many characters has more where it is not English."""
    data = note.encode()
    if len(data) <= MAX_NOTE_BYTES:
        return note
    return data[: MAX_NOTE_BYTES - 3].decode(errors="ignore") + "..."
