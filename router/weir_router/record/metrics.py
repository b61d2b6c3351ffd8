"""Prometheus metrics with bounded label cardinality, under Weir's names and OpenTelemetry's `gen_ai` names.

Labels come from config (bounded by it), but for the feature, which is the client's own claim: after `MAX_FEATURES`
different ones the rest count as "other". Label children are looked up once and kept: prometheus-client's `labels()`
costs more than the increment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from weir_router.record.events import RequestRecord

MAX_FEATURES = 100
"""Different `x-weir-feature` values that get a label of their own; a dashboard cannot show more."""

MAX_CHILDREN = 10_000
"""Label sets kept per metric before new ones fold into "other": bounds memory whatever callers send."""

TTFT_BUCKETS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0, 60.0)
DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
RATE_BUCKETS = (1.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

REQUEST_LABELS = ("namespace", "policy", "route", "tier", "backend", "feature")
SPEED_LABELS = REQUEST_LABELS[:-1]  # a histogram is a dozen series, and speed is no matter of the client's own claim
STATES = ("closed", "open", "half-open", "ejected")


class _Family:
    """A metric whose children are kept by their label values."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], Any] = {}

    def __getitem__(self, values: tuple[str, ...]) -> Any:
        child = self._children.get(values)
        if child is None:
            if len(self._children) >= MAX_CHILDREN:
                values = ("other",) * len(values)
            child = self._children[values] = self._metric.labels(*values)
        return child

    def forget(self, unwanted: Callable[[tuple[str, ...]], bool]) -> None:
        """Removes the children whose label values are `unwanted`: what is no longer configured must not be shown."""
        for values in [values for values in self._children if unwanted(values)]:
            del self._children[values]
            self._metric.remove(*values)


class Metrics:
    """All metrics of one router, in a registry of its own (several routers live in one test process)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._features: set[str] = set()

        def counter(name: str, text: str, labels: tuple[str, ...]) -> _Family:
            return _Family(Counter(name, text, labels, registry=self.registry))

        def histogram(name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> _Family:
            return _Family(Histogram(name, text, labels, buckets=buckets, registry=self.registry))

        def gauge(name: str, text: str, labels: tuple[str, ...]) -> _Family:
            return _Family(Gauge(name, text, labels, registry=self.registry))

        self.requests = counter(
            "weir_requests", "Requests by where they went and how they ended.", (*REQUEST_LABELS, "outcome")
        )
        self.tokens = counter(
            "weir_tokens",
            "Tokens by type: input, cached_input, cache_write, output, reasoning.",
            (*REQUEST_LABELS, "type"),
        )
        self.cost = counter(
            "weir_cost_dollars", "US dollars spent, failed and cancelled answers included.", REQUEST_LABELS
        )
        self.baseline = counter(
            "weir_baseline_cost_dollars",
            "US dollars that the same tokens cost at the policy's baseline tier.",
            REQUEST_LABELS,
        )
        self.saved = gauge(
            "weir_saved_dollars",
            "US dollars saved against the baseline since start; negative where routing cost more.",
            REQUEST_LABELS,
        )
        self.per_success = gauge(
            "weir_cost_per_successful_request_dollars",
            "US dollars spent per successful request since start.",
            ("policy",),
        )
        self.ttft = histogram(
            "weir_time_to_first_token_seconds",
            "Arrival to first content, failovers included.",
            SPEED_LABELS,
            TTFT_BUCKETS,
        )
        self.duration = histogram(
            "weir_request_duration_seconds",
            "Arrival to last byte (time to last token).",
            SPEED_LABELS,
            DURATION_BUCKETS,
        )
        self.rate = histogram(
            "weir_output_tokens_per_second",
            "Output tokens per second after the first.",
            SPEED_LABELS,
            RATE_BUCKETS,
        )
        self.attempts = counter("weir_attempts", "Tries at backends, by outcome.", ("tier", "backend", "outcome"))
        self.classifications = counter(
            "weir_classifications", "Prompts by class, after minConfidence.", ("policy", "complexity")
        )
        self.errors = counter("weir_errors", "Errors answered, by who failed.", ("policy", "source", "code"))
        self.breaker = gauge(
            "weir_breaker_state", "1 for the state that a backend's breaker is in.", ("tier", "backend", "state")
        )
        self.transitions = counter(
            "weir_breaker_transitions", "Changes of a breaker's state.", ("tier", "backend", "state")
        )
        self.in_flight = Gauge("weir_requests_in_flight", "Requests being served.", registry=self.registry)
        self.revision = Gauge("weir_config_revision", "Revision of the config in use.", registry=self.registry)
        self.rejected = Gauge("weir_config_rejected", "1 while a newer config is refused.", registry=self.registry)
        self.otel_duration = histogram(
            "gen_ai_client_operation_duration_seconds",
            "OpenTelemetry: duration of a GenAI operation.",
            ("gen_ai_operation_name", "gen_ai_request_model"),
            DURATION_BUCKETS,
        )
        self.otel_tokens = histogram(
            "gen_ai_client_token_usage",
            "OpenTelemetry: tokens used.",
            ("gen_ai_operation_name", "gen_ai_request_model", "gen_ai_token_type"),
            TOKEN_BUCKETS,
        )
        self.otel_ttft = histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "OpenTelemetry: time to the first token.",
            ("gen_ai_request_model",),
            TTFT_BUCKETS,
        )
        self._spent: dict[str, list[float]] = {}

    def observe(self, record: RequestRecord) -> None:
        """Counts one ended request."""
        policy, tier, backend = record.policy or "", record.tier or "", record.backend or ""
        labels = (record.caller_namespace, policy, record.route or "", tier, backend, self._feature(record.feature))
        self.requests[*labels, record.outcome].inc()
        for attempt in record.attempts:
            self.attempts[attempt.tier, attempt.backend, attempt.outcome].inc()
        if record.complexity is not None:
            self.classifications[policy, record.complexity].inc()
        if record.error is not None:
            self.errors[policy, record.error_source or "", record.error].inc()
        if record.ttft is not None:
            self.ttft[labels[:-1]].observe(record.ttft)
        if record.outcome == "ok":
            self.duration[labels[:-1]].observe(record.seconds)
        if record.tokens_per_second is not None:
            self.rate[labels[:-1]].observe(record.tokens_per_second)
        self._observe_spend(record, labels)
        self._observe_usage(record, labels)
        if record.upstream_model is not None:
            self._observe_otel(record, record.upstream_model)

    def _observe_spend(self, record: RequestRecord, labels: tuple[str, ...]) -> None:
        spent = self._spent.setdefault(labels[1], [0.0, 0.0])
        spent[0] += record.dollars or 0.0
        spent[1] += record.outcome == "ok"
        if spent[1]:
            self.per_success[labels[1],].set(spent[0] / spent[1])
        if record.dollars is None:
            return
        self.cost[labels].inc(record.dollars)
        if record.baseline_dollars is not None:
            self.baseline[labels].inc(record.baseline_dollars)
            self.saved[labels].inc(record.baseline_dollars - record.dollars)

    def _observe_usage(self, record: RequestRecord, labels: tuple[str, ...]) -> None:
        usage = record.usage
        if usage is None:
            return
        for kind in ("input", "cached_input", "cache_write", "output", "reasoning"):
            count = getattr(usage, kind)
            if count:
                self.tokens[*labels, kind].inc(count)

    def _observe_otel(self, record: RequestRecord, model: str) -> None:
        self.otel_duration["chat", model].observe(record.seconds)
        if record.ttft is not None:
            self.otel_ttft[model,].observe(record.ttft)
        if record.usage is not None:
            self.otel_tokens["chat", model, "input"].observe(record.usage.input)
            self.otel_tokens["chat", model, "output"].observe(record.usage.output)

    def breaker_changed(self, key: str, state: str) -> None:
        """A breaker's state changed; `key` is "namespace/tier/backend"."""
        place = _place(key)
        for name in STATES:
            self.breaker[*place, name].set(name == state)
        self.transitions[*place, state].inc()

    def keep_backends(self, keys: set[str]) -> None:
        """Shows a closed breaker for every configured backend, and none for those that are gone."""
        places = set(map(_place, keys))
        self.breaker.forget(lambda values: values[:2] not in places)
        for place in places:
            for name in STATES:
                if (*place, name) not in self.breaker._children:
                    self.breaker[*place, name].set(name == "closed")

    def _feature(self, feature: str | None) -> str:
        if not feature:
            return ""
        if feature not in self._features:
            if len(self._features) >= MAX_FEATURES:
                return "other"
            self._features.add(feature)
        return feature


def _place(key: str) -> tuple[str, str]:
    """The labels `tier` and `backend`, as all other metrics have them, of a key of the board."""
    tier, _, backend = key.rpartition("/")
    return tier, backend
