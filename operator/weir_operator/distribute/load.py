"""How busy routers are, and the tiers behind them: sums of what routers reported. PURE; `distribute.autoscaling`
answers with them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from weir_router.contract import Backend, BackendReport, RouterLoad, RouterReport, Tier, Waiting

_NONE = BackendReport(state="closed")


class Said(NamedTuple):
    """A router's report, and the seconds since."""

    report: RouterReport
    age: float


class Figures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Figures to scale on: sums over all routers that count, and the greatest age."""

    replicas: int  # routers that have reported
    oldest_report_seconds: float
    in_flight: int
    queue_depth: int
    queue_age_seconds: float
    demand: int  # in flight and waiting: what has to be served at this moment
    saturation: float | None  # in flight, of as many as may be: 0 to 1; None: there is no limit
    tokens_per_second: float  # of output


class BackendFigures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One backend's part of a tier's figures. Waiting requests wait for any of the tier's backends."""

    in_flight: int
    saturation: float | None
    tokens_per_second: float


class TierFigures(Figures, frozen=True, kw_only=True, rename="camel"):
    """A tier's figures."""

    backends: dict[str, BackendFigures]


def of_gateway(said: Sequence[Said]) -> Figures:
    """The routers' own load: requests that they serve, and requests that wait for room in one of them."""
    loads = [it.report.load or RouterLoad() for it in said]
    in_flight, limit = sum(it.in_flight for it in loads), sum(it.limit for it in loads)
    figures = _figures(said, in_flight, [it.room for it in loads], (it.tokens_per_second for it in loads))
    return Figures(**figures, saturation=_share(in_flight, limit))


def of_tier(tier: Tier, said: Sequence[Said]) -> TierFigures:
    """The load of the tier's backends, and the requests that wait for one of them."""
    key = f"{tier.namespace}/{tier.name}"
    named: dict[str, list[Backend]] = defaultdict(list)
    for backend in tier.backends:  # several of one name are endpoints of a Service
        named[backend.name].append(backend)
    limited, limit, backends = 0, 0, {}
    for name, them in named.items():
        reports = [it.report.backends.get(f"{key}/{backend.id}", _NONE) for it in said for backend in them]
        in_flight, own = sum(it.in_flight for it in reports), sum(it.limits.concurrency or 0 for it in them)
        limited, limit = limited + (in_flight if own else 0), limit + own
        backends[name] = BackendFigures(
            in_flight=in_flight,
            saturation=_share(in_flight, own),
            tokens_per_second=_rate(it.tokens_per_second for it in reports),
        )
    in_flight = sum(it.in_flight for it in backends.values())
    queues = [it.report.load.tiers[key] for it in said if it.report.load and key in it.report.load.tiers]
    figures = _figures(said, in_flight, queues, (it.tokens_per_second for it in backends.values()))
    return TierFigures(**figures, saturation=_share(limited, limit), backends=backends)


def _figures(said: Sequence[Said], in_flight: int, queues: Sequence[Waiting], rates: Iterable[float]) -> dict[str, Any]:
    """The figures that the gateway and a tier have in common."""
    depth = sum(it.depth for it in queues)
    return {
        "replicas": len(said),
        "oldest_report_seconds": round(max((it.age for it in said), default=0.0), 1),
        "in_flight": in_flight,
        "queue_depth": depth,
        "queue_age_seconds": round(max((it.oldest for it in queues), default=0.0), 2),
        "demand": in_flight + depth,
        "tokens_per_second": _rate(rates),
    }


def _rate(rates: Iterable[float]) -> float:
    return round(sum(rates), 1)


def _share(taken: int, limit: int) -> float | None:
    return round(min(1.0, taken / limit), 3) if limit else None
