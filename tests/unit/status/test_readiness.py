"""The metric of all objects' readiness."""

from __future__ import annotations

from typing import Any

import pytest

from weir_operator.observe.observed import Manifest
from weir_operator.run.metrics import Metrics
from weir_operator.status.readiness import OTHER, Readiness, readiness


def tier(status: Any, class_name: str = "weir") -> Manifest:
    return Manifest("ModelTier", "llm", "budget", {"className": class_name}, status=status)


def ready(status: str, reason: str) -> dict[str, Any]:
    return {
        "conditions": [{"type": "Accepted", "status": "True"}, {"type": "Ready", "status": status, "reason": reason}]
    }


def test_the_condition_ready_is_what_counts() -> None:
    found = list(readiness([tier(ready("False", "NoHealthyBackends"))], "weir"))
    assert found == [Readiness("ModelTier", "False", "NoHealthyBackends")]


def test_objects_of_another_class_are_of_another_installation() -> None:
    assert not list(readiness([tier(ready("True", "Ready"), "second")], "weir"))


@pytest.mark.parametrize(
    "status",
    [None, {}, {"conditions": []}, {"conditions": None}, {"conditions": ["Ready"]}, "ready", ready("Maybe", "")],
)
def test_an_object_without_a_verdict_is_unknown(status: Any) -> None:
    assert list(readiness([tier(status)], "weir")) == [Readiness("ModelTier", "Unknown", OTHER)]


@pytest.mark.parametrize("reason", ["Invented", "sk-secret", 7, None, ["Ready"]])
def test_a_reason_that_another_client_wrote_makes_no_series(reason: Any) -> None:
    (found,) = readiness([tier(ready("True", reason))], "weir")
    assert found.reason == OTHER


def test_the_metric_shows_the_present_objects_only() -> None:
    metrics = Metrics()

    def value(*labels: str) -> float | None:
        names = ("kind", "ready", "reason")
        return metrics.registry.get_sample_value("weir_operator_objects", dict(zip(names, labels, strict=True)))

    metrics.objects([Readiness("ModelTier", "True", "Ready")] * 2)
    assert value("ModelTier", "True", "Ready") == 2
    metrics.objects([Readiness("ModelTier", "False", "NoHealthyBackends")])
    assert value("ModelTier", "True", "Ready") is None
    assert value("ModelTier", "False", "NoHealthyBackends") == 1
