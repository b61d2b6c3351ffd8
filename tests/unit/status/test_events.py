"""Times at which a status is written, and at which it causes an Event."""

from __future__ import annotations

from typing import Any

import pytest

from support.statuses import TIER, case, gateway, observed
from weir_operator.kinds import MODEL_TIER
from weir_operator.status.changes import QUIET_SECONDS, same, write_at
from weir_operator.status.events import MAX_NOTE_BYTES, Event, EventType, events, manifest_of

GOOD = case().of()
BAD = case(TIER.replace("name: one,", "name: one, credentials: {secretRef: {name: k, key: k}},")).of()
INVALID = case(TIER.replace("provider: OpenAI", "provider: Nobody")).of()
PENDING = case(routers=(gateway(current=False, revision=0),)).of()
REJECTED = case(routers=(gateway(current=False, revision=0, rejected="version"),)).of()


def heard(before: Any, after: Any) -> list[tuple[str, str]]:
    return [(it.type.value, it.reason) for it in events(before, after, MODEL_TIER.judge.good)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, GOOD, [("Normal", "Ready")]),
        (None, BAD, [("Warning", "SecretNotFound")]),
        (None, INVALID, [("Warning", "InvalidSpec")]),
        (None, PENDING, []),
        (GOOD, GOOD, []),
        (BAD, BAD, []),
        (GOOD, BAD, [("Warning", "SecretNotFound")]),
        (BAD, GOOD, [("Normal", "ResolvedRefs"), ("Normal", "Ready")]),
        (INVALID, GOOD, [("Normal", "Accepted"), ("Normal", "Ready")]),
        (PENDING, GOOD, [("Normal", "Ready")]),
        (PENDING, REJECTED, [("Warning", "Rejected")]),
        (REJECTED, GOOD, [("Normal", "Programmed"), ("Normal", "Ready")]),
    ],
)
def test_only_a_change_of_a_verdict_is_news_and_each_is_told_once(before: Any, after: Any, expected: list[Any]):
    assert heard(before, after) == expected


def test_an_event_is_about_its_object_and_fits_into_its_fields():
    (subject,) = observed(TIER).of("ModelTier")
    body = manifest_of(events(None, BAD, MODEL_TIER.judge.good)[0], subject, "i" * 500, "2027-01-15T08:00:00.000000Z")
    assert body["regarding"] == {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "ModelTier",
        "namespace": "llm",
        "name": "budget",
        "uid": "t1",
    }
    assert (body["metadata"]["generateName"], body["metadata"]["namespace"]) == ("budget-", "llm")
    assert len(body["reportingInstance"]) == 128


@pytest.mark.parametrize("note", ["x" * 2_000, "漢" * 1_024, "a" + "é" * 600, "😀" * 300])
def test_a_note_in_any_script_has_as_many_bytes_as_an_event_takes(note: str):
    (subject,) = observed(TIER).of("ModelTier")
    found = manifest_of(Event(EventType.WARNING, "Degraded", note), subject, "i", "2027-01-15T08:00:00.000000Z")["note"]
    assert MAX_NOTE_BYTES - 3 <= len(found.encode()) <= MAX_NOTE_BYTES
    assert note.startswith(found.removesuffix("..."))


def test_what_is_there_is_not_written_whoever_has_added_something():
    theirs = GOOD | {"other": 1, "conditions": [*GOOD["conditions"], {"type": "Theirs", "status": "True"}]}
    assert same(theirs, GOOD)
    assert write_at(theirs, GOOD, 5.0) is None
    assert not same(None, GOOD)
    assert not same(GOOD | {"backendsReady": "0/2"}, GOOD)


def test_a_verdict_is_written_at_once_and_anything_else_once_a_minute():
    other = GOOD | {"backendsReady": "1/2"}
    assert write_at(GOOD, other, None) == 0.0
    assert write_at(GOOD, other, 5.0) == 5.0 + QUIET_SECONDS
    assert write_at(GOOD, BAD, 5.0) == 0.0
    assert write_at(None, GOOD, 5.0) == 0.0
    newer = GOOD | {"conditions": [it | {"observedGeneration": 2} for it in GOOD["conditions"]]}
    assert write_at(GOOD, newer, 5.0) == 0.0
