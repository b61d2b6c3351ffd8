"""The size of a report, shared out over namespaces. PURE; used by `report.report`.

The operator refuses a report that is too large, and with it the poll: the router would get no config any more, because
one tenant has very many backends. So a router leaves entries out of a report that would be too large. Namespaces take
turns, each with its most telling entries first, until the room is used up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from weir_router.contract import (
    FAILING,
    MAX_GATEWAY_REPORT_BYTES,
    MAX_REPORT_BYTES,
    BackendReport,
    PolicyReport,
    RouterReport,
    Waiting,
)
from weir_router.health.breaker import State

MAX_REJECTED = 1_024
"""Characters of the reason why a config was refused: as many as a status shows."""

MAX_REASON = 256
"""Characters of the reason why a backend is not closed."""

ENTRY = 1_536
"""Bytes that an entry takes at most: names of 380 characters, the address of an endpoint, the reason, the words of the
last failure and the figures; or a policy with a few routes. As many entries as that have room without a look at their
size."""

ROUTES_AN_ENTRY = 4
"""Routes of a policy that take as many bytes as an entry."""

TIERS_SHARE = 4
"""The part of a report, as one of so many, that tiers with waiting requests may take."""

POLICIES_SHARE = 4
"""The part of a report, as one of so many, that policies may take."""

T = TypeVar("T", BackendReport, PolicyReport, Waiting)


def bounded(report: RouterReport, *, whole: bool) -> RouterReport:
    """The report within the bytes that the operator reads; `whole`: it is one of the gateway's."""
    limit = MAX_GATEWAY_REPORT_BYTES if whole else MAX_REPORT_BYTES
    tiers = report.load.tiers if report.load is not None else {}
    backends = {key: replace(it, reason=it.reason[:MAX_REASON]) for key, it in report.backends.items() if it.reason}
    if backends:
        report = replace(report, backends=report.backends | backends)
    if report.rejected is not None:
        report = replace(report, rejected=report.rejected[:MAX_REJECTED])
    routes = sum(len(it.routes) // ROUTES_AN_ENTRY + 1 for it in report.policies.values())
    if (len(report.backends) + len(tiers) + routes) * ENTRY <= limit or _size(report) <= limit:
        return report
    if report.load is not None:
        tiers = _fair(tiers, limit // TIERS_SHARE, lambda it: -it.depth)
        report = replace(report, load=replace(report.load, tiers=tiers))
    policies = _fair(report.policies, limit // POLICIES_SHARE, lambda it: -it.cheaper - it.dearer - it.unserved)
    report = replace(report, policies=policies)
    room = limit - _size(replace(report, backends={}))
    return replace(report, backends=_fair(report.backends, room, _urgency))


def _urgency(it: BackendReport) -> tuple[bool, int, bool, int]:
    """The order in which backends are kept: the sick ones first, then those that were tried, then the busy ones."""
    return it.state == State.CLOSED, -min(it.failing, FAILING), not it.tried, -it.in_flight


def _fair(entries: Mapping[str, T], room: int, order: Callable[[T], Any]) -> dict[str, T]:
    """The entries that have room, by key `namespace/...`: namespaces take turns, each with its first in `order`."""
    lines: dict[str, list[str]] = defaultdict(list)
    for key in sorted(entries, key=lambda it: order(entries[it]), reverse=True):
        lines[key.partition("/")[0]].append(key)
    kept: dict[str, T] = {}
    while lines:
        for namespace, line in list(lines.items()):
            key = line.pop()
            size = _size({key: entries[key]})
            if size <= room:
                room -= size
                kept[key] = entries[key]
            if size > room or not line:
                del lines[namespace]
    return kept


def _size(it: Any) -> int:
    return len(msgspec.json.encode(it))
