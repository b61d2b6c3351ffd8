"""The metrics that routers and operator register, with their labels."""

from __future__ import annotations

from prometheus_client import Counter

from weir_operator.run.metrics import Metrics as OperatorMetrics
from weir_router.record import metrics
from weir_router.record.series import Counters


def registered() -> dict[str, set[str]]:
    """Labels of every metric of a router, by the name that Prometheus shows."""
    known = metrics.Metrics().registry._collector_to_names
    return {it.name + "_total" * isinstance(it, Counters): set(it.labels) for it in known}  # type: ignore[attr-defined]


def registered_by_the_operator() -> dict[str, set[str]]:
    """Labels of the operator's own metrics."""
    known = OperatorMetrics().registry._collector_to_names
    return {it._name + "_total" * isinstance(it, Counter): set(it._labelnames) for it in known}  # type: ignore[attr-defined]
