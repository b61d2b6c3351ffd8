"""Figures of a whole installation, from the admin ports of its routers. Pure; used by `weir_cli.status.command`.

Counters and histograms of several routers add up; states do not, and are counted. Quantiles are those of the
histograms' buckets, as Prometheus estimates them: a figure between two bounds is as good as the bounds are close.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from weir_router.contract import FAILING

Buckets = dict[float, float]
"""Upper bound → how many are at or below it."""


@dataclass(frozen=True)
class Page:
    """One router, as it answers."""

    router: str
    metrics: str  # Prometheus text
    state: Mapping[str, Any]  # /state


@dataclass
class Backend:
    """One model at one place, over all routers. Money in US dollars, times in seconds."""

    states: Counter[str] = field(default_factory=Counter)
    reason: str | None = None  # why a breaker is not closed
    failing: int = 0  # routers that have had nothing but failures of it lately
    words: str = ""  # the last failure, as one of them has met it
    in_flight: int = 0
    requests: float = 0
    failed: float = 0  # attempts
    dollars: float = 0
    baseline: float = 0
    ttft: Buckets = field(default_factory=dict)
    rate: Buckets = field(default_factory=dict)

    @property
    def saved(self) -> float | None:
        """Against the baseline; None: no policy names one."""
        return self.baseline - self.dollars if self.baseline else None


@dataclass
class Route:
    """The requests of one route of a policy, over all routers, by the tier that answered."""

    requests: float = 0  # those that a tier has answered, and those that none could answer
    cheaper: float = 0  # answered by a cheaper tier, because one that the route names earlier could not serve
    dearer: float = 0
    unserved: float = 0  # no tier could answer

    @property
    def fell(self) -> float:
        """Those that the tier of the route did not answer."""
        return self.cheaper + self.dearer + self.unserved

    def __add__(self, other: Route) -> Route:
        """The requests of both."""
        return Route(
            self.requests + other.requests,
            self.cheaper + other.cheaper,
            self.dearer + other.dearer,
            self.unserved + other.unserved,
        )


@dataclass(frozen=True)
class Figures:
    """All routers together."""

    routers: int
    revisions: tuple[int, ...]  # those in use
    rejected: Mapping[str, str]  # router -> why it refuses a newer config
    backends: Mapping[str, Backend]  # "namespace/tier/backend"
    errors: Mapping[str, float]  # code -> answers
    policies: Mapping[str, Mapping[str, Route]]  # "namespace/name" -> route

    @property
    def requests(self) -> float:
        """Those that a model has answered."""
        return sum(it.requests for it in self.backends.values())


def figures(pages: Iterable[Page], before: Iterable[Page] = ()) -> Figures:
    """The figures of `pages`. With `before`, the same routers some time earlier, those of the time in between."""
    pages = list(pages)
    backends: dict[str, Backend] = defaultdict(Backend)
    for page in pages:
        for key, state in page.state["backends"].items():
            it = backends[key.partition("@")[0]]  # endpoints of a Service together, as the metrics count them
            it.states[state["state"]] += 1
            it.reason = it.reason or state["reason"]
            it.in_flight += state["inFlight"]
            if state.get("failing", 0) >= FAILING:  # routers of an older version do not say
                it.failing += 1
                it.words = it.words or state["words"]
    samples = sums(pages)
    samples.subtract(sums(before))
    errors: Counter[str] = Counter()
    policies: dict[str, dict[str, Route]] = defaultdict(lambda: defaultdict(Route))
    for (name, labels), counted in samples.items():
        series, value = dict(labels), max(float(counted), 0.0)  # a router that restarted begins at 0
        _count(backends, errors, name, series, value)
        if value and series.get("policy"):
            _count_route(policies, name, series, value)
    return Figures(
        routers=len(pages),
        revisions=tuple(sorted({it.state["revision"] for it in pages if it.state["revision"] is not None})),
        rejected={it.router: it.state["rejected"] for it in pages if it.state["rejected"]},
        backends=dict(sorted(backends.items())),
        errors={code: count for code, count in errors.most_common() if count},
        policies={key: dict(sorted(routes.items())) for key, routes in sorted(policies.items())},
    )


def quantile(buckets: Buckets, share: float) -> float | None:
    """The value that `share` of all are at or below; None: there are none. Infinite above the last bound."""
    total = buckets.get(math.inf, 0.0)
    if total <= 0:
        return None
    rank, below, floor = share * total, 0.0, 0.0
    for bound in sorted(buckets):
        count = buckets[bound]
        if count >= rank:
            if math.isinf(bound):
                return bound
            return floor + (bound - floor) * (rank - below) / (count - below) if count > below else bound
        below, floor = count, bound
    return math.inf


_Sample = tuple[str, tuple[tuple[str, str], ...]]


def sums(pages: Iterable[Page]) -> Counter[_Sample]:
    """Every sample of ours by name and sorted labels, over all routers."""
    sums: Counter[_Sample] = Counter()
    for page in pages:
        for family in text_string_to_metric_families(page.metrics):
            for sample in family.samples:
                if sample.name.startswith("weir_"):
                    sums[sample.name, tuple(sorted(sample.labels.items()))] += sample.value  # type: ignore[assignment]
    return sums


def _count(
    backends: Mapping[str, Backend], errors: Counter[str], name: str, labels: dict[str, str], value: float
) -> None:
    if name == "weir_errors_total":
        errors[labels["code"]] += value  # type: ignore[assignment]
        return
    it = backends.get(f"{labels.get('tier')}/{labels.get('backend')}")
    if it is None:
        return  # it was refused before it went anywhere, or its backend is no more
    if name == "weir_requests_total":
        it.requests += value
    elif name == "weir_attempts_total" and labels["outcome"] not in ("ok", "cancelled"):
        it.failed += value
    elif name == "weir_cost_dollars_total":
        it.dollars += value
    elif name == "weir_baseline_cost_dollars_total":
        it.baseline += value
    elif name == "weir_time_to_first_token_seconds_bucket":
        _add(it.ttft, labels["le"], value)
    elif name == "weir_output_tokens_per_second_bucket":
        _add(it.rate, labels["le"], value)


def _count_route(policies: Mapping[str, Mapping[str, Route]], name: str, series: dict[str, str], value: float) -> None:
    if name == "weir_requests_total" and series["tier"]:
        policies[series["policy"]][series["route"]].requests += value
    elif name == "weir_requests_unserved_total":
        policies[series["policy"]][series["route"]].requests += value
        policies[series["policy"]][series["route"]].unserved += value
    elif name == "weir_requests_elsewhere_total":
        it = policies[series["policy"]][series["route"]]
        if series["direction"] == "cheaper":
            it.cheaper += value
        else:
            it.dearer += value


def _add(buckets: Buckets, bound: str, value: float) -> None:
    at = float(bound)
    buckets[at] = buckets.get(at, 0.0) + value
