"""A router's report to the operator: the revision that it runs, its load, and the health of backends."""

from __future__ import annotations

from weir_router.contract.base import Wire, prepare
from weir_router.contract.version import API_VERSION

MAX_REPORT_BYTES = 16 * 1024
"""Bytes of a report that the operator reads: about 150 backends."""

MAX_GATEWAY_REPORT_BYTES = 1024 * 1024
"""Bytes of a report of the gateway's routers, which have all backends of the class."""

TRIED_SECONDS = 600.0
"""Seconds for which an attempt says something about a backend, and for which the requests of a route are counted: a
status that speaks of the last ten minutes is neither stale nor nervous."""

MAX_WORDS = 100
"""Characters of a backend's last failure: a line of a status."""

FAILING = 3
"""Failures in a row from which a backend that has answered nothing since counts as failing. Statuses say so within
half a minute of the third: one or two are an accident that the next backend hides."""

MAX_FAILING = 1_000
"""Failures in a row up to which they are counted: more say nothing else."""


class BackendReport(Wire, frozen=True):
    """One backend, as one router sees it."""

    state: str  # of its breaker
    reason: str | None = None  # why it is not closed
    requests: int = 0  # attempts that have ended since the router started
    failures: int = 0  # of these, those that speak against the backend
    in_flight: int = 0  # attempts under way
    tokens_per_second: float = 0.0  # of output, of all its answers together, lately
    # Whether an attempt since the backend's config, in the last `TRIED_SECONDS`, says something about it. A router that
    # has not tried a backend is no witness of its health. Routers of an older version do not know: True.
    tried: bool = True
    failing: int = 0  # attempts that failed in a row since the last answer, at most `MAX_FAILING`
    words: str = ""  # the last failure while it fails, e.g. "credential: Incorrect API key provided: [redacted]"


class RouteReport(Wire, frozen=True):
    """The requests of one route in the last `TRIED_SECONDS`, by where they were answered."""

    requests: int = 0  # those that a tier has answered, and those that none could answer
    # Answered by another tier because one that the route names before it could not serve:
    cheaper: int = 0  # by a cheaper one
    dearer: int = 0  # by a dearer one
    unserved: int = 0  # no tier could answer


class PolicyReport(Wire, frozen=True):
    """The requests of one policy in the last `TRIED_SECONDS`, by route; only routes with requests."""

    routes: dict[str, RouteReport] = {}

    @property
    def requests(self) -> int:
        """The requests of all routes."""
        return sum(it.requests for it in self.routes.values())

    @property
    def cheaper(self) -> int:
        """Those that fell to a cheaper tier."""
        return sum(it.cheaper for it in self.routes.values())

    @property
    def dearer(self) -> int:
        """Those that rose to a dearer tier."""
        return sum(it.dearer for it in self.routes.values())

    @property
    def unserved(self) -> int:
        """Those that no tier could answer."""
        return sum(it.unserved for it in self.routes.values())


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
    policies: dict[str, PolicyReport] = {}  # by "namespace/name"; only policies with requests


def line(text: str, most: int = MAX_WORDS) -> str:
    """A text of someone else as one line of `most` characters at most, without control characters. Pure."""
    shown = "".join([char if char.isprintable() else " " for char in text[: 4 * most]])
    words = " ".join(shown.split())
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


prepare(RouterReport)
