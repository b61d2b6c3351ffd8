"""The operator's metrics, in Prometheus' format. Filled by `reconciler` and `replica`; none has an object's name,
and one that of namespaces.

Routers' own figures are their own: nothing of them is repeated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from weir_operator.kube.unknowns import Unknown
from weir_operator.status.readiness import Readiness

COMPILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
PUBLISH_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RESULTS = ("published", "unchanged", "failed")


class Metrics:
    """All metrics of one replica, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._rounds = Counter(
            "weir_operator_reconciles", "Rounds of gather, compile, publish.", ["result"], registry=self.registry
        )
        for result in RESULTS:
            self._rounds.labels(result)
        self.compile_seconds = Histogram(
            "weir_operator_compile_seconds", "To compile everything.", buckets=COMPILE_BUCKETS, registry=self.registry
        )
        self.publish_seconds = Histogram(
            "weir_operator_publish_seconds", "To publish it.", buckets=PUBLISH_BUCKETS, registry=self.registry
        )
        self._objects = _of_objects(self.registry)
        self.revision = Gauge(
            "weir_operator_revision", "Revision that this replica hands to routers; 0: none.", registry=self.registry
        )
        self.unpublished_seconds = Gauge(
            "weir_operator_unpublished_seconds",
            "For how long what was applied could not be published; 0: it is.",
            registry=self.registry,
        )
        self.certificate_expiry = Gauge(
            "weir_operator_certificate_expiry_timestamp_seconds",
            "When the config server's certificate ends, in seconds since the epoch; 0: there is none yet.",
            registry=self.registry,
        )
        self.leader = Gauge("weir_operator_leader", "Whether this replica leads.", registry=self.registry)
        self.polls = Gauge("weir_operator_polls", "Routers' polls that wait at this replica.", registry=self.registry)
        self._routers = Gauge(
            "weir_operator_routers",
            "Routers that have reported to this replica, or to a follower of it, within 90 s.",
            ["gateway", "current"],
            registry=self.registry,
        )
        self._refused_keys = Gauge(
            "weir_operator_refused_api_keys",
            "Secrets with a caller's API key that is refused; the log names them.",
            ["reason"],
            registry=self.registry,
        )
        self._make_of_others()
        self._unknown = Gauge(
            "weir_operator_unknown_kinds",
            "Kinds, in one namespace or all, whose present state is not known.",
            ["kind", "reason"],
            registry=self.registry,
        )

    def _make_of_others(self) -> None:
        """Makes the gauges of what other clients broke, all of them the leader's."""
        self.webhook_missing = Gauge(
            "weir_operator_webhook_missing",
            "Whether the sidecars' webhook configuration is not there, though sidecars are on; of the leader.",
            registry=self.registry,
        )
        self.webhook_changed = Gauge(
            "weir_operator_webhook_changed",
            "Whether another client changed fields of it that only Helm mends; of the leader.",
            registry=self.registry,
        )
        self._pods_without_sidecar = Gauge(
            "weir_operator_pods_without_sidecar",
            "Pods that should have a sidecar and have none, of the 50 namespaces with most; of the leader.",
            ["namespace"],
            registry=self.registry,
        )
        self._contested = Gauge(
            "weir_operator_contested",
            "Whether another client writes the operator's objects again and again, by group of objects.",
            ["object"],
            registry=self.registry,
        )

    def contested(self, found: Mapping[str, bool]) -> None:
        """Shows whether another client contests each group of objects."""
        for name, contested in found.items():
            self._contested.labels(name).set(contested)

    def pods_lacking(self, counts: Mapping[str, int]) -> None:
        """Shows these, by namespace, and no others."""
        self._pods_without_sidecar.clear()
        for namespace, count in counts.items():
            self._pods_without_sidecar.labels(namespace).set(count)

    def round(self, result: str) -> None:
        """Counts a round with one of `RESULTS`."""
        self._rounds.labels(result).inc()

    def refused_keys(self, reasons: Iterable[str]) -> None:
        """Shows these, one per Secret, and no others."""
        self._refused_keys.clear()
        for reason in reasons:
            self._refused_keys.labels(reason).inc()

    def unknown(self, found: Iterable[Unknown]) -> None:
        """Shows these, and no others."""
        self._unknown.clear()
        for it in found:
            self._unknown.labels(it.kind, it.reason).inc()

    def objects(self, found: Iterable[Readiness]) -> None:
        """Shows how many objects have each readiness, and no others."""
        self._objects.clear()
        for it in found:
            self._objects.labels(*it).inc()

    def routers_seen(self, found: Iterable[tuple[bool, bool]]) -> None:
        """Shows how many routers there are, each as (of the gateway, runs the published revision)."""
        self._routers.clear()
        for gateway, current in found:
            self._routers.labels(str(gateway).lower(), str(current).lower()).inc()


def _of_objects(registry: CollectorRegistry) -> Gauge:
    text = "ModelTiers and RoutingPolicies by their condition Ready and its reason."
    return Gauge("weir_operator_objects", text, ["kind", "ready", "reason"], registry=registry)
