"""Prometheus metrics with bounded label cardinality, under Weir's names and OpenTelemetry's `gen_ai` names.

Labels come from config (bounded by it), but for the feature, which is the client's own claim, and for the error codes
of upstreams. Each namespace has some of its own, the rest of its claims counts as "other". The series of a request are
looked up once per place that requests go to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from weir_router.contract import Operation
from weir_router.dialects.registry import CONVERSATIONS
from weir_router.record.falls import Falls
from weir_router.record.finished import Finished
from weir_router.record.names import Names
from weir_router.record.series import (
    MAX_CHILDREN,
    OTHER,
    Counters,
    Distribution,
    Gauges,
    Histograms,
    Number,
)

MAX_GOALS = 2_000
"""Places that requests of one namespace go to, by `REQUEST_LABELS`, that have series of their own: each has one per
outcome."""

OTEL_NAMES = {Operation.CHAT: "chat", Operation.RESPONSES: "chat", Operation.COMPLETIONS: "text_completion"}
"""OpenTelemetry's names of operations. The others have Weir's in lower case, e.g. `embeddings`."""

KNOWN_FIELDS = frozenset().union(*(record.fields for record in CONVERSATIONS))
"""Fields of requests that get a label of their own; callers may invent others."""

TTFT_BUCKETS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0, 60.0)
DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
RATE_BUCKETS = (1.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

REQUEST_LABELS = ("namespace", "policy", "route", "tier", "backend", "feature")
SPEED_LABELS = REQUEST_LABELS[:-1]  # without the feature, on which speed does not depend: a histogram is many series
STATES = ("closed", "open", "half-open", "ejected")


class _Goal:
    """The counts of one place that requests go to, by all of `REQUEST_LABELS`. A series begins with its first value."""

    def __init__(self, metrics: Metrics, labels: tuple[str, ...]) -> None:
        self._metrics = metrics
        self._labels = labels
        self._requests: dict[str, Number] = {}
        self._tokens: dict[str, Number] = {}
        self._ttft: Distribution | None = None
        self._duration: Distribution | None = None
        self._rate: Distribution | None = None
        self._spent: Number | None = None
        self._baseline: tuple[Number, Number] | None = None  # its cost, and what was saved

    def count(self, finished: Finished) -> None:
        """Counts one request with its outcome, its times, and its tokens by type."""
        self._request(finished.outcome).value += 1
        labels, usage = self._labels[:-1], finished.bill.usage
        if finished.ttft is not None:
            self._ttft = self._ttft or self._metrics.ttft[labels]
            self._ttft.observe(finished.ttft)
        if finished.outcome == "ok":
            self._duration = self._duration or self._metrics.duration[labels]
            self._duration.observe(finished.seconds)
        rate = finished.bill.tokens_per_second
        if rate is not None:
            self._rate = self._rate or self._metrics.rate[labels]
            self._rate.observe(rate)
        if usage is None:
            return
        if usage.input:
            self._token("input").value += usage.input
        if usage.cached_input:
            self._token("cached_input").value += usage.cached_input
        if usage.cache_write:
            self._token("cache_write").value += usage.cache_write
            if usage.cache_write_long:
                self._token("cache_write_long").value += usage.cache_write_long
        if usage.output:
            self._token("output").value += usage.output
        if usage.reasoning:
            self._token("reasoning").value += usage.reasoning

    def spend(self, dollars: float, baseline: float | None) -> None:
        """Adds its cost in US dollars, and the cost at the baseline."""
        self._spent = self._spent or self._metrics.cost[self._labels]
        self._spent.value += dollars
        if baseline is not None:
            self._baseline = self._baseline or (self._metrics.baseline[self._labels], self._metrics.saved[self._labels])
            cost, saved = self._baseline
            cost.value += baseline
            saved.value += baseline - dollars

    def _request(self, outcome: str) -> Number:
        number = self._requests.get(outcome)
        if number is None:
            number = self._requests[outcome] = self._metrics.requests[*self._labels, outcome]
        return number

    def _token(self, kind: str) -> Number:
        number = self._tokens.get(kind)
        if number is None:
            number = self._tokens[kind] = self._metrics.tokens[*self._labels, kind]
        return number


class _Model:
    """The counts of one upstream model at one operation, under OpenTelemetry's names."""

    def __init__(self, metrics: Metrics, name: str, operation: str) -> None:
        self._metrics = metrics
        self._name = name
        self._operation = operation
        self._duration = metrics.otel_duration[operation, name]
        self._ttft: Distribution | None = None
        self._tokens: tuple[Distribution, Distribution] | None = None  # of the prompt, of the answer

    def observe(self, finished: Finished) -> None:
        """Counts one request to the model."""
        self._duration.observe(finished.seconds)
        if finished.ttft is not None:
            self._ttft = self._ttft or self._metrics.otel_ttft[self._name,]
            self._ttft.observe(finished.ttft)
        usage = finished.bill.usage
        if usage is not None:
            self._tokens = self._tokens or (self._of_kind("input"), self._of_kind("output"))
            prompt, answer = self._tokens
            prompt.observe(float(usage.input))
            answer.observe(float(usage.output))

    def _of_kind(self, kind: str) -> Distribution:
        return self._metrics.otel_tokens[self._operation, self._name, kind]


class _OfPolicy:
    """The counts of one policy as a whole."""

    def __init__(self, metrics: Metrics, policy: str) -> None:
        self._metrics, self._policy = metrics, policy
        self._classes: dict[str, Number] = {}
        self._dollars = 0.0
        self._successes = 0
        self._shown: Number | None = None

    def ended(self, dollars: float, success: bool, complexity: str | None) -> None:
        """Counts one prompt of that class, and the dollars per success, in which the cost of failures counts, too."""
        if complexity is not None:
            number = self._classes.get(complexity)
            if number is None:
                number = self._classes[complexity] = self._metrics.classifications[self._policy, complexity]
            number.value += 1
        self._dollars += dollars
        self._successes += success
        if self._successes:
            self._shown = self._shown or self._metrics.per_success[self._policy,]
            self._shown.value = self._dollars / self._successes


class Metrics:
    """All metrics of one router, in a registry of its own (several routers live in one test process)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._names = Names()

        self._goals: dict[tuple[str, ...], _Goal] = {}
        self._goals_of: Counter[str] = Counter()  # the number of goals, by namespace

        def counter(name: str, text: str, labels: tuple[str, ...]) -> Counters:
            return Counters(name, text, labels, self.registry)

        def histogram(name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histograms:
            return Histograms(name, text, labels, buckets, self.registry)

        def gauge(name: str, text: str, labels: tuple[str, ...]) -> Gauges:
            return Gauges(name, text, labels, self.registry)

        self.requests = counter(
            "weir_requests", "Requests by where they went and how they ended.", (*REQUEST_LABELS, "outcome")
        )
        self.tokens = counter(
            "weir_tokens",
            "Tokens by type: input, cached_input, cache_write, cache_write_long, output, reasoning.",
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
        self.falls = Falls(self.registry)
        self.dropped = counter(
            "weir_fields_dropped",
            "Fields of requests that upstreams did not get, by their names.",
            ("field",),
        )
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
        self.in_flight = gauge("weir_requests_in_flight", "Requests being served.", ())[()]
        self.queue_depth = gauge("weir_queue_depth", "Requests that wait for room.", ())[()]
        self.queue_oldest = gauge("weir_queue_oldest_seconds", "How long the one that came first has waited.", ())[()]
        self.saturation = gauge("weir_saturation", "Requests being served, of as many as may be: 0 to 1.", ())[()]
        self.tier_queue_depth = gauge("weir_tier_queue_depth", "Requests that wait for one of its backends.", ("tier",))
        self.backend_in_flight = gauge("weir_backend_requests_in_flight", "Attempts under way.", ("tier", "backend"))
        self.backend_saturation = gauge(
            "weir_backend_saturation",
            "Attempts in flight, of this router's share of limits.concurrency: 0 to 1.",
            ("tier", "backend"),
        )
        self.connections = gauge("weir_connections", "Open connections of callers.", ())[()]
        self.held = gauge("weir_held_bytes", "Bytes that are held for callers, counted as --memory is.", ())[()]
        self.refused = counter("weir_refused", "Connections and requests refused at the door.", ("port", "reason"))
        self.loop_turn = gauge(
            "weir_loop_turn_seconds_max", "Longest turn of the event loop in the last one to two minutes.", ("clock",)
        )
        self.revision = gauge("weir_config_revision", "Revision of the config in use.", ())[()]
        self.rejected = gauge("weir_config_rejected", "1 while a newer config is refused.", ())[()]
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
        self._policies: dict[str, _OfPolicy] = {}
        self._models: dict[Operation, dict[str, _Model]] = {operation: {} for operation in Operation}

    def observe(self, finished: Finished) -> None:
        """A sink: counts one ended request."""
        namespace = "" if finished.caller is None else finished.caller.namespace
        policy = finished.policy_key or ""
        route = feature = ""
        decision, bill = finished.decision, finished.bill
        if decision is not None:
            route = decision.choice.route or ""
            feature = self._names.feature(namespace, decision) if decision.asked.feature else ""
        goal = self._goal((namespace, policy, route, finished.tier or "", finished.backend or "", feature))
        goal.count(finished)
        for attempt in finished.attempts:
            self.attempts[attempt.tier, attempt.backend, attempt.outcome].value += 1
            for field in attempt.dropped:
                self.dropped[(field if field in KNOWN_FIELDS else OTHER,)].value += 1
        self.falls.observe(finished)
        of_policy = self._policies.get(policy) or self._policy(policy)
        complexity = None if decision is None else decision.complexity
        of_policy.ended(bill.dollars or 0.0, finished.outcome == "ok", complexity)
        if finished.error is not None:
            error = finished.error
            self.errors[policy, error.source.value, self._names.code(policy, error)].value += 1
        if bill.dollars is not None:
            goal.spend(bill.dollars, bill.baseline_dollars)
        if bill.upstream_model is not None:
            operation = Operation.CHAT if decision is None else decision.asked.operation
            models = self._models[operation]
            model = models.get(bill.upstream_model) or self._model(operation, bill.upstream_model, finished.tier)
            model.observe(finished)

    def _goal(self, labels: tuple[str, ...]) -> _Goal:
        goal = self._goals.get(labels)
        if goal is None:
            namespace = labels[0]
            if self._goals_of[namespace] >= MAX_GOALS or len(self._goals) >= MAX_CHILDREN:
                labels = (namespace, *(OTHER,) * (len(labels) - 1))
            goal = self._goals.get(labels)
            if goal is None:
                self._goals_of[namespace] += 1
                goal = self._goals[labels] = _Goal(self, labels)
        return goal

    def _policy(self, policy: str) -> _OfPolicy:
        policy = self._names.policy(policy)
        return self._policies.setdefault(policy, _OfPolicy(self, policy))

    def _model(self, operation: Operation, name: str, tier: str | None) -> _Model:
        name, named = self._names.model(tier or "", name), OTEL_NAMES.get(operation, operation.lower())
        return self._models[operation].setdefault(name, _Model(self, name, named))

    def breaker_changed(self, key: str, state: str) -> None:
        """A breaker's state changed; `key` is "namespace/tier/backend"."""
        place = _place(key)
        for name in STATES:
            self.breaker[*place, name].value = float(name == state)
        tier, backend = place
        self.transitions[tier, backend.partition("@")[0], state].value += 1  # a counter outlives endpoints

    def refuse(self, port: str, reason: str) -> None:
        """Counts a connection or request that a port (callers, admin) refuses before a handler has seen it."""
        self.refused[port, reason].value += 1

    def turned(self, wall: float, cpu: float) -> None:
        """Sets the longest turn of the event loop, by the clock and by the CPU."""
        self.loop_turn[("wall",)].value = wall
        self.loop_turn[("cpu",)].value = cpu

    def load(self, depth: int, oldest: float, saturation: float) -> None:
        """Sets the gauges of the router's load, at the moment of a scrape."""
        self.queue_depth.value = float(depth)
        self.queue_oldest.value = oldest
        self.saturation.value = saturation

    def load_of_backends(self, backends: Mapping[str, tuple[int, float | None]], waiting: Mapping[str, int]) -> None:
        """Sets the gauges of backends, by key: attempts in flight, and their share of the limit (None: no limit).
        `waiting`: the number of waiting requests, by tier.
        """
        places = {_place(key): it for key, it in backends.items()}
        limited = {place: share for place, (_, share) in places.items() if share is not None}
        self.backend_saturation.forget(lambda values: values not in limited)
        for place, share in limited.items():
            self.backend_saturation[place].value = share
        self.backend_in_flight.forget(lambda values: values not in places)
        for place, (in_flight, _) in places.items():
            self.backend_in_flight[place].value = float(in_flight)
        tiers = {tier for tier, _ in places}
        self.tier_queue_depth.forget(lambda values: values[0] not in tiers)
        for tier in tiers:  # even without waiting requests: a sum over a missing series has no value
            self.tier_queue_depth[tier,].value = float(waiting.get(tier, 0))

    def keep_backends(self, keys: set[str]) -> None:
        """Shows a closed breaker for every configured backend, and none for those that are gone."""
        places = set(map(_place, keys))
        self.breaker.forget(lambda values: values[:2] not in places)
        for place in places:
            for name in STATES:
                if (*place, name) not in self.breaker:
                    self.breaker[*place, name].value = float(name == "closed")


def _place(key: str) -> tuple[str, str]:
    """The labels `tier` and `backend` for a key of the board, as in all other metrics.

    For an endpoint of a Service, the latter is `name@address:port`, so that gauges distinguish endpoints.
    """
    tier, _, backend = key.rpartition("/")
    return tier, backend
