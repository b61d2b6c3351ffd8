"""Results of the benchmark of the control plane, and its goals. Pure."""

from __future__ import annotations

import statistics

import msgspec


class Figures(msgspec.Struct, kw_only=True):
    """Results of one run."""

    policies: int
    tiers: int
    namespaces: int
    connections: int
    seconds: list[float]  # from before the apply to the last connection, per change
    first_compile_ms: float  # CPU
    next_compile_ms: float  # CPU, after one change
    operator_compile_ms: float  # as the operator measured its own, on average
    operator_publish_ms: float
    bytes_per_change: float  # on the wire, to one connection
    first_bytes: float  # the same, to get its first config
    largest_object: int  # bytes
    largest_name: str
    operator_cpu_ms: float  # per change
    clients_cpu_ms: float  # per change, and connection
    operator_mib: float  # resident
    idle_cpu_percent: float  # of a core, of the operator with every connection waiting
    idle_requests: float  # per minute, but for watches, the Lease and what its routers cause
    idle_reviews: float  # TokenReviews per minute, which its routers cause
    idle_by_kind: dict[str, float]  # per minute
    load: float  # of the machine while it was measured: processes that want a core
    cores: int


def quantile(values: list[float], percent: int) -> float:
    """The percentile of `values`, by interpolation."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


class Row(msgspec.Struct):
    """A line of the table."""

    what: str
    value: str
    goal: str = ""
    kept: bool = True


def rows(it: Figures) -> list[Row]:
    """The table."""
    p99 = quantile(it.seconds, 99)
    return [
        Row("apply → last connection, median", f"{quantile(it.seconds, 50) * 1000:.0f} ms"),
        Row("apply → last connection, p99", f"{p99 * 1000:.0f} ms", "< 1 s", p99 < 1),
        Row("apply → last connection, longest", f"{max(it.seconds) * 1000:.0f} ms"),
        Row("compile of everything, CPU", f"{it.first_compile_ms:.0f} ms", "≤ 300 ms", it.first_compile_ms <= 300),
        Row("compile after one change, CPU", f"{it.next_compile_ms:.0f} ms"),
        Row("the operator's own compiles, publishes", f"{it.operator_compile_ms:.0f}, {it.operator_publish_ms:.0f} ms"),
        Row("wire, per change and connection", f"{it.bytes_per_change:,.0f} bytes"),
        Row("wire, first config of a connection", f"{it.first_bytes:,.0f} bytes"),
        Row(
            f"largest published object ({it.largest_name})",
            f"{it.largest_object:,} bytes",
            "< 1 MiB",
            it.largest_object < 2**20,
        ),
        Row("operator, CPU per change", f"{it.operator_cpu_ms:.0f} ms"),
        Row("client, CPU per change", f"{it.clients_cpu_ms:.1f} ms"),
        Row("operator, resident", f"{it.operator_mib:.0f} MiB"),
        Row("operator idle, CPU", f"{it.idle_cpu_percent:.1f} % of a core"),
        Row("operator idle, requests", f"{it.idle_requests:.1f} / min", "≤ 10 / min", it.idle_requests <= 10),
        Row("TokenReviews for its routers", f"{it.idle_reviews:.1f} / min"),
    ]
