"""The last reports of routers, to this replica of the operator or to another. PURE but for its memory.

Filled by `distribute.server` (a report comes with each poll) and by messages of followers (`distribute.relay`); read
for the status of objects. A router is known by its ServiceAccount and its name, so no account can speak for a router
of another.

A follower's last message stays valid while the follower is alive, so it sends only changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from weir_operator.kube.accounts import ServiceAccount
from weir_router.contract import FAILING, MAX_FAILING, BackendReport, PolicyReport, RouteReport, RouterReport, line

RELAY_PATH = "/v1/reports"
"""Path on the leader's config server to which followers POST a `Relay`."""

REPORT_SECONDS = 90.0
"""Seconds that a report counts: a router polls every 50 s, so after that it is gone, or cannot reach us. Messages of
a follower count as long."""

LEFT_SECONDS = 15.0
"""Seconds that a report counts after a poll was broken off: one that lives polls again within 10 s, and takes 5 to
connect. A pod that has ended would otherwise hold back every change for a minute and a half."""

MAX_REPORTS = 2_000
"""Routers per namespace whose reports are kept: so many a tenant may cost us. Config they get all the same."""

MAX_REQUESTS = 1_000_000_000
"""Requests of one route that one router may report: more than any answers in ten minutes. JSON knows numbers that no
share can be computed of, and one such number would stop the statuses of all tenants."""

MAX_REPORT_BYTES_TOGETHER = 2 * 1024 * 1024
"""Bytes that the reports of one namespace's routers may have together: 1 KiB for each of as many as there may be.

A report has up to 16 KiB, and all of them must have room in the operator and in what a follower tells the leader.
"""


class RouterId(NamedTuple):
    """A router."""

    account: ServiceAccount
    name: str  # its own word for itself: a pod's name


class Entry(NamedTuple):
    """A router's last report, with its time."""

    seen: str | None  # ETag of the view that it saw last
    report: RouterReport
    at: float  # monotonic
    size: int = 0  # bytes that count


@dataclass(frozen=True)
class Reported:
    """The report of a router's last poll."""

    account: ServiceAccount
    gateway: bool  # one of the gateway's; any other speaks for its own namespace only
    report: RouterReport
    # The revision of the config on offer, if the router runs its part of it. The report's own revision cannot tell,
    # because not every revision concerns every router.
    runs: int | None

    @property
    def current(self) -> bool:
        """Whether it runs what it should."""
        return self.runs is not None


class Relayed(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A report on its way from a follower to the leader."""

    namespace: str
    account: str
    router: str
    seen: str | None
    report: RouterReport
    age: float  # seconds since the poll

    @property
    def id(self) -> RouterId:
        """The router that sent it."""
        return RouterId(ServiceAccount(self.namespace, self.account), self.router)


class Relay(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A message of a follower. `whole`: all that it knows; otherwise new reports, and routers that are gone."""

    replica: str
    whole: bool
    reports: tuple[Relayed, ...] = ()
    gone: tuple[RouterId, ...] = ()


def believable(report: RouterReport, namespace: str | None) -> RouterReport:
    """The part of a report that its router may claim, in bounded words. `namespace`: None for the gateway's routers;
    any other router speaks only of policies of its own namespace.

    States count backends only for the gateway and the tier's own namespace (`kinds.modeltier.states`).
    """
    prefix = "" if namespace is None else f"{namespace}/"
    policies = {key: _counted(it) for key, it in report.policies.items() if key.startswith(prefix)}
    backends = {key: _plain(it) for key, it in report.backends.items() if it.failing or it.words or it.reason}
    if not backends and policies == report.policies:
        return report
    return replace(report, backends=report.backends | backends, policies=policies)


def _plain(it: BackendReport) -> BackendReport:
    """A report whose words a terminal can show, and whose failures can be: both get into statuses."""
    reason = None if it.reason is None else line(it.reason)
    return replace(it, reason=reason, failing=min(max(it.failing, 0), MAX_FAILING), words=line(it.words))


def _counted(policy: PolicyReport) -> PolicyReport:
    """Counts that can be: of a negative number, or of more falls than requests, no share could be made."""
    routes = {}
    for name, it in policy.routes.items():
        left = requests = min(max(it.requests, 0), MAX_REQUESTS)
        left -= (cheaper := min(max(it.cheaper, 0), left))
        left -= (dearer := min(max(it.dearer, 0), left))
        unserved = min(max(it.unserved, 0), left)
        routes[name] = RouteReport(requests=requests, cheaper=cheaper, dearer=dearer, unserved=unserved)
    return PolicyReport(routes=routes)


def tells_more(old: Entry, new: Entry) -> bool:
    """Whether a report is worth telling at once; figures are not."""
    was, now = old.report, new.report
    return (
        (old.seen, was.revision, was.rejected) != (new.seen, now.revision, now.rejected)
        or was.backends.keys() != now.backends.keys()
        or any(_verdict(it) != _verdict(was.backends[key]) for key, it in now.backends.items())
        or any(_elsewhere(was, key) != _elsewhere(now, key) for key in was.policies.keys() | now.policies.keys())
    )


def _verdict(it: BackendReport) -> tuple[str, str | None, bool, bool]:
    return it.state, it.reason, it.tried, it.failing >= FAILING


def _elsewhere(report: RouterReport, key: str) -> tuple[bool, ...]:
    """Whether any request of a policy was not answered where its route wants it. The counts themselves are figures."""
    it = report.policies.get(key)
    return (False,) * 3 if it is None else (it.cheaper > 0, it.dearer > 0, it.unserved > 0)


def load(entry: Entry) -> object:
    """The load of the router: news for autoscalers, and none for a status."""
    report = entry.report
    return report.load, {key: it.in_flight for key, it in report.backends.items() if it.in_flight}


class Reports:
    """The last report of each router that has polled within `REPORT_SECONDS`."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._own: dict[RouterId, Entry] = {}  # oldest first
        self._left: dict[RouterId, float] = {}  # since when, oldest first
        self._per_namespace: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()  # by namespace
        self._followers: dict[str, tuple[float, dict[RouterId, Entry]]] = {}  # when last heard of

    def note(self, account: ServiceAccount, seen: str | None, report: RouterReport, size: int = 0) -> bool:
        """Keeps the report of a poll, if there is room for it; returns whether there is news.

        `size` is what counts against the room of the account's namespace, in bytes; 0 for the gateway's routers.
        """
        self._forget()
        key = RouterId(account, report.router)
        self._left.pop(key, None)
        old = self._own.get(key)
        self._drop(key)
        full = self._per_namespace[account.namespace] >= MAX_REPORTS
        if full or (size and self._bytes[account.namespace] + size > MAX_REPORT_BYTES_TOGETHER):
            return old is not None
        self._per_namespace[account.namespace] += 1
        self._bytes[account.namespace] += size
        entry = self._own[key] = Entry(seen, report, self._monotonic(), size)
        return old is None or tells_more(old, entry)

    def left(self, account: ServiceAccount, router: str) -> None:
        """The poll of a router was broken off: it has ended, or polls anew."""
        self._left.pop(key := RouterId(account, router), None)
        if key in self._own:
            self._left[key] = self._monotonic()

    def take(self, relay: Relay) -> bool:
        """Keeps what a follower tells; False if it should tell all it knows, because we know nothing of it."""
        now = self._monotonic()
        self._forget()
        if not relay.whole and relay.replica not in self._followers:
            return False
        entries = {} if relay.whole else self._followers[relay.replica][1]
        for key in relay.gone:
            entries.pop(key, None)
        for it in relay.reports:
            entries[it.id] = Entry(it.seen, it.report, now - it.age)
        self._followers[relay.replica] = now, entries
        return True

    @property
    def now(self) -> float:
        """The time on the clock of `Entry.at`, in seconds."""
        return self._monotonic()

    @property
    def own(self) -> dict[RouterId, Entry]:
        """The entries of the routers that have polled here."""
        self._forget()
        return dict(self._own)

    def __iter__(self) -> Iterator[tuple[RouterId, Entry]]:
        """The entries of all routers, each once: the latest poll counts, since a router may change replicas."""
        latest = self.own
        for _, entries in self._followers.values():
            for key, entry in entries.items():
                if key not in latest or latest[key].at < entry.at:
                    latest[key] = entry
        return iter(latest.items())

    def _forget(self) -> None:
        """Drops what counts no more."""
        oldest = self._monotonic() - REPORT_SECONDS
        while self._own:
            key = next(iter(self._own))
            if self._own[key].at > oldest:
                break
            self._drop(key)
        while self._left and (first := next(iter(self._left.items())))[1] <= self._monotonic() - LEFT_SECONDS:
            del self._left[first[0]]
            self._drop(first[0])
        self._followers = {name: it for name, it in self._followers.items() if it[0] > oldest}

    def _drop(self, key: RouterId) -> None:
        entry = self._own.pop(key, None)
        if entry is None:
            return
        namespace = key.account.namespace
        self._per_namespace[namespace] -= 1
        self._bytes[namespace] -= entry.size
        if not self._per_namespace[namespace]:
            del self._per_namespace[namespace], self._bytes[namespace]
