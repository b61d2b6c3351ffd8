"""A router's report to the operator: the revision that it runs, its load, and the health of backends."""

from __future__ import annotations

from weir_router.contract.base import Wire, prepare
from weir_router.contract.version import API_VERSION

MAX_REPORT_BYTES = 16 * 1024
"""Bytes of a report that the operator reads: about 150 backends."""

MAX_GATEWAY_REPORT_BYTES = 1024 * 1024
"""Bytes of a report of the gateway's routers, which have all backends of the class."""


class BackendReport(Wire, frozen=True):
    """One backend, as one router sees it."""

    state: str  # of its breaker
    reason: str | None = None  # why it is not closed
    requests: int = 0  # attempts that have ended since the router started
    failures: int = 0  # of these, those that speak against the backend
    in_flight: int = 0  # attempts under way
    tokens_per_second: float = 0.0  # of output, of all its answers together, lately


class Waiting(Wire, frozen=True):
    """Requests that wait for one thing."""

    depth: int = 0
    oldest: float = 0.0  # seconds that the first of them has waited


class RouterLoad(Wire, frozen=True):
    """How busy a router is."""

    in_flight: int = 0  # requests being served
    limit: int = 0  # as many as may be
    room: Waiting = Waiting()  # for room in this router
    tiers: dict[str, Waiting] = {}  # for a backend of the tier "namespace/name"; only tiers with waiting requests
    tokens_per_second: float = 0.0  # of output, of all answers together, lately


class RouterReport(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """The report that a router sends with each poll."""

    api_version: str = API_VERSION
    router: str
    revision: int | None = None  # the applied one
    rejected: str | None = None  # why a newer one was refused
    backends: dict[str, BackendReport] = {}
    load: RouterLoad | None = None  # None: a router of an older version


prepare(RouterReport)
