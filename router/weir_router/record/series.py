"""Counters and histograms that cost one addition: numbers that a scrape turns into Prometheus' families.

prometheus-client's own take a lock and three calls for each step, which threads need. A router is one thread: counts
of every request are kept here, and the client library only writes them. Used by `record.metrics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

MAX_CHILDREN = 10_000
"""Label sets that are kept per metric, to bound memory; further ones count as "other", of each namespace by itself."""

MAX_OF_NAMESPACE = MAX_CHILDREN // 2
"""Label sets of one namespace that are kept per metric. A tenant that makes ever new policies, routes and tiers uses up
its own; a platform's namespace may have a thousand backends in four states."""

OTHER = "other"

OWNED = frozenset({"namespace", "policy", "tier"})
"""Labels whose values are a namespace, or begin with one: `namespace/name`."""

Labels = tuple[str, ...]


def owner_of(label: str) -> str:
    """The namespace in a label's value, which is a namespace or `namespace/name`."""
    return label.partition("/")[0]


class Number:
    """One counter's or gauge's value."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Distribution:
    """One histogram's counts."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.counts = [0] * (len(bounds) + 1)  # per bucket, the last one without bound
        self.sum = 0.0
        self._bounds = bounds

    def observe(self, value: float) -> None:
        """Counts one value."""
        bucket = 0  # compiled, calling `bisect` costs more than comparing a dozen bounds
        for bound in self._bounds:
            if value <= bound:
                break
            bucket += 1
        counts = self.counts
        counts[bucket] = counts[bucket] + 1  # compiled, `+=` on an item would call the interpreter
        self.sum += value


C = TypeVar("C", Number, Distribution)


class Family(Collector, Generic[C]):
    """A metric: its children by their label values."""

    def __init__(self, name: str, text: str, labels: Labels, registry: CollectorRegistry) -> None:
        self.name, self.labels, self._text = name, labels, text
        self._children: dict[Labels, C] = {}
        self._of_namespaces = bool(labels) and labels[0] in OWNED
        self._owned: Counter[str] = Counter()  # the number of children, by namespace
        registry.register(self)

    def __getitem__(self, values: Labels) -> C:
        child = self._children.get(values)
        if child is None:
            child = self._added(values)
        return child

    def _added(self, values: Labels) -> C:
        """A new child for these label values, or the "other" of its namespace."""
        owner = owner_of(values[0]) if self._of_namespaces else ""
        most = MAX_OF_NAMESPACE if self._of_namespaces else MAX_CHILDREN
        if self._owned[owner] >= most or len(self._children) >= MAX_CHILDREN:
            first = owner if self._of_namespaces and self.labels[0] == "namespace" else f"{owner}/{OTHER}".lstrip("/")
            values = (first, *(OTHER,) * (len(values) - 1))
        child = self._children.get(values)
        if child is None:
            self._owned[owner] += 1
            child = self._children[values] = self._new()
        return child

    def __contains__(self, values: Labels) -> bool:
        return values in self._children

    def __iter__(self) -> Iterator[tuple[Labels, C]]:
        """The children with their label values."""
        return iter(self._children.items())

    def forget(self, unwanted: Callable[[Labels], bool]) -> None:
        """Removes the children whose label values are `unwanted`, for example those of deleted policies."""
        self._children = {values: child for values, child in self._children.items() if not unwanted(values)}
        if self._of_namespaces:
            self._owned = Counter(owner_of(values[0]) for values in self._children)
        else:
            self._owned = Counter({"": len(self._children)})

    def collect(self) -> Iterator[Metric]:
        """The metric with its values, for a scrape."""
        yield self._metric(list(self._children.items()))  # a copy: a thread scrapes, and new children come meanwhile

    def describe(self) -> Iterable[Metric]:
        """The metric without values, by which the registry finds duplicate names."""
        yield self._metric(())

    def _new(self) -> C:
        raise NotImplementedError

    def _metric(self, children: Iterable[tuple[Labels, C]]) -> Metric:
        raise NotImplementedError


class Counters(Family[Number]):
    """A metric whose values only rise."""

    def _new(self) -> Number:
        return Number()

    def _metric(self, children: Iterable[tuple[Labels, Number]]) -> Metric:
        metric = CounterMetricFamily(self.name, self._text, labels=self.labels)
        for values, child in children:
            metric.add_metric(values, child.value)
        return metric


class Gauges(Family[Number]):
    """A metric whose values rise and fall."""

    def _new(self) -> Number:
        return Number()

    def _metric(self, children: Iterable[tuple[Labels, Number]]) -> Metric:
        metric = GaugeMetricFamily(self.name, self._text, labels=self.labels)
        for values, child in children:
            metric.add_metric(values, child.value)
        return metric


class Histograms(Family[Distribution]):
    """A metric that counts values by size."""

    def __init__(
        self, name: str, text: str, labels: Labels, bounds: tuple[float, ...], registry: CollectorRegistry
    ) -> None:
        self._bounds = tuple(map(float, bounds))  # floats: compiled, comparing with an int would cost ten times as much
        super().__init__(name, text, labels, registry)

    def _new(self) -> Distribution:
        return Distribution(self._bounds)

    def _metric(self, children: Iterable[tuple[Labels, Distribution]]) -> Metric:
        metric = HistogramMetricFamily(self.name, self._text, labels=self.labels)
        names = [*map(str, map(float, self._bounds)), "+Inf"]
        for values, child in children:
            below, buckets = 0, []
            for name, count in zip(names, child.counts, strict=True):
                below += count
                buckets.append((name, float(below)))
            metric.add_metric(values, buckets, child.sum)
        return metric
