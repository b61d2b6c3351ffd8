"""Leadership on a Lease in memory, with versions as in the API server, and a clock to move."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from weir_operator.kube.lease import Held, LeaseFailed, LeaseTaken
from weir_operator.lead import leadership
from weir_operator.lead.leadership import LATE_SECONDS, LEAD_SECONDS, LEASE_SECONDS, Leadership


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens real waits; all decisions depend on the clock of `Cluster`."""
    monkeypatch.setattr(leadership, "LEASE_CHECK_SECONDS", 0.002)
    monkeypatch.setattr(leadership, "RENEW_SECONDS", 0.002)


@dataclass
class Cluster:
    """An API server and a clock."""

    now: float = 0.0
    held: Held | None = None
    version: int = 0
    away: bool = False
    writes: list[str] = field(default_factory=list)

    def write(self, holder: str, old: Held | None) -> Held:
        if (old.version if old else None) != (self.held.version if self.held else None):
            raise LeaseTaken("changed")
        self.version += 1
        metadata = SimpleNamespace(resource_version=str(self.version))
        self.held = Held(holder, f"{holder}:8443", LEASE_SECONDS, SimpleNamespace(metadata=metadata))
        self.writes.append(holder)
        return self.held


class Lease:
    """One replica's access to the Lease."""

    def __init__(self, cluster: Cluster, identity: str) -> None:
        self.cluster = cluster
        self.identity = identity
        self.cut = False

    def read(self) -> Held | None:
        self._reach()
        return self.cluster.held

    def claim(self, old: Held | None) -> Held:
        self._reach()
        return self.cluster.write(self.identity, old)

    def release(self, old: Held) -> None:
        self._reach()
        self.cluster.write("", old)

    def _reach(self) -> None:
        if self.cut:
            raise LeaseFailed("cannot get Lease weir-system/weir-operator: ConnectTimeoutError")


class Replica:
    """A running replica; `term` counts its terms."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.lease = Lease(cluster, name)
        self.leadership = Leadership(self.lease, monotonic=lambda: cluster.now)
        self.terms = 0
        self.leading = False
        self.task = asyncio.create_task(self.leadership.run(self._term))

    async def _term(self) -> None:
        self.terms += 1
        self.leading = True
        try:
            await asyncio.Event().wait()
        finally:
            assert not self.leadership.leads  # nothing may be written while it ends
            self.leading = False

    async def until(self, leading: bool) -> None:
        async with asyncio.timeout(10):
            while self.leading is not leading:  # noqa: ASYNC110 - the term sets no event
                await asyncio.sleep(0.001)

    async def looks(self, times: int = 5) -> None:
        """Waits until it has checked the Lease at least `times` times."""
        await asyncio.sleep(0.01 * times)

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@contextlib.asynccontextmanager
async def replicas(*names: str) -> AsyncIterator[tuple[Cluster, list[Replica]]]:
    """Running replicas, of which the first leads."""
    cluster = Cluster()
    found = [Replica(cluster, names[0])]
    await found[0].until(True)
    found += [Replica(cluster, name) for name in names[1:]]
    try:
        yield cluster, found
    finally:
        for replica in found:
            await replica.end()


async def test_the_first_leads_and_the_others_know_where_it_is():
    async with replicas("a", "b") as (_, (a, b)):
        await b.looks()
        assert (a.leading, b.leading) == (True, False)
        assert (a.leadership.leader_address, b.leadership.leader_address) == (None, "a:8443")


async def test_a_leader_that_is_killed_is_followed_after_the_lease_and_not_before():
    async with replicas("a", "b") as (cluster, (a, b)):
        await b.looks()
        a.lease.cut = True
        await a.looks()
        await b.looks()
        cluster.now += LEASE_SECONDS - 0.1
        await b.looks()
        assert not b.leading
        cluster.now += 0.2
        await b.until(True)


async def test_a_leader_that_ends_is_followed_at_once():
    async with replicas("a", "b") as (cluster, (a, b)):
        await a.end()
        assert cluster.writes[-1] in ("", "b")
        await b.until(True)
        assert cluster.now == 0.0


async def test_a_leader_that_cannot_renew_stops_before_another_may_begin():
    async with replicas("a", "b") as (cluster, (a, b)):
        await b.looks()
        a.lease.cut = True
        await a.looks()
        cluster.now += LEAD_SECONDS
        assert not a.leadership.leads
        await a.until(False)
        await b.looks()
        assert not b.leading
        assert a.leadership.trouble is not None


async def test_an_api_server_that_was_away_for_a_moment_changes_nothing():
    async with replicas("a") as (cluster, (a,)):
        a.lease.cut = True
        await a.looks()
        cluster.now += LEAD_SECONDS - 0.1
        a.lease.cut = False
        await a.looks()
        assert (a.terms, a.leadership.trouble) == (1, None)
        cluster.now += LEAD_SECONDS - 0.1
        assert a.leadership.leads


async def test_a_label_that_somebody_sets_on_the_lease_does_not_end_a_term():
    async with replicas("a") as (cluster, (a,)):
        cluster.write("a", cluster.held)
        cluster.now += LEAD_SECONDS - 0.1
        await a.looks()
        cluster.now += 0.2
        assert (a.leading, a.terms) == (True, 1)


async def test_a_lease_that_another_has_taken_ends_the_term():
    async with replicas("a") as (cluster, (a,)):
        cluster.write("b", cluster.held)
        await a.until(False)


async def test_what_breaks_a_term_ends_the_run_and_releases():
    cluster = Cluster()

    async def broken() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await Leadership(Lease(cluster, "a"), monotonic=lambda: cluster.now).run(broken)
    assert cluster.writes == ["a", ""]


async def test_a_duration_that_a_hand_has_written_keeps_no_replica_from_leading():
    async with replicas("a") as (cluster, (a,)):
        assert cluster.held is not None
        metadata = SimpleNamespace(resource_version="hand")
        cluster.held = Held("gone", None, 100_000.0, SimpleNamespace(metadata=metadata))
        await a.until(False)
        await a.looks()
        cluster.now += LATE_SECONDS
        await a.looks()
        assert a.leadership.trouble == "the Lease is held by gone, which does not renew it"
        cluster.now += LEASE_SECONDS
        await a.until(True)
        assert a.leadership.trouble is None
