"""A leader's reporter on a real API server: a test starts each compilation, and provides the routers' reports."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from apiserver import ApiServer
from kubernetes.client import ApiClient

from support.kube import PATIENCE, Watching, run
from support.statuses import gateway
from weir_operator.compile import Compiled, compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.distribute.reports import Reported
from weir_operator.kinds import KINDS
from weir_operator.kube.statuses import Outcome, StatusWriter
from weir_operator.observe.observed import Observed
from weir_operator.status.reporter import Reporter


class CountingWriter(StatusWriter):
    """A writer that remembers its writes, and how many ran at once."""

    def __init__(self, api_client: ApiClient) -> None:
        super().__init__(api_client, KINDS)
        self.written: list[str] = []
        self.told: list[str] = []
        self.outcomes: list[Outcome] = []
        self.under_way = self.most = 0
        self.before: Callable[[], object] = lambda: None  # called in the thread of each write

    def write(self, subject: Any, status: Any) -> tuple[Outcome, str]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.written.append(subject.name)
        self.before()
        try:
            result = super().write(subject, status)
        finally:
            self.under_way -= 1
        self.outcomes.append(result[0])
        return result

    def tell(self, event: Any) -> tuple[Outcome, str]:
        self.told.append(event["reason"])
        return super().tell(event)


class Leader:
    """A reporter for one namespace; `skip` moves its clock."""

    def __init__(self, server: ApiServer, client: ApiClient, watching: Watching, namespace: str) -> None:
        self.namespace = namespace
        self.watching = watching
        self.writer = CountingWriter(client)
        self.routers: list[Reported] = [gateway()]
        self.skipped = 0.0
        self.term: asyncio.Task[None]
        self._server = server
        self._revisions = itertools.count(1)
        self.reporter = Reporter(
            self.writer,
            KINDS,
            watching.gatherer.manifests,
            lambda: self.routers,
            instance="weir-operator-0",
            monotonic=lambda: time.monotonic() + self.skipped,
        )

    def begin(self) -> None:
        """Begins a term."""
        self.term = asyncio.create_task(self.reporter.run())

    async def end(self) -> None:
        """Ends the term."""
        self.term.cancel()
        await asyncio.gather(self.term, return_exceptions=True)

    def compile(self) -> None:
        """Compiles and publishes the present objects."""
        observed = self.watching.observed()
        revision = next(self._revisions)
        self.reporter.published(observed, self.compiled(observed), revision)

    def compiled(self, observed: Observed) -> Compiled:
        """The compiled config of `observed`."""
        return compile_config(observed, KINDS, catalogue=Catalogue.load(), now=time.time())

    async def compile_when(self, what: Callable[[Any], bool]) -> None:
        """Compiles as soon as `what` holds for the observed objects."""
        await asyncio.to_thread(self.watching.until, lambda it: (seen := it.observed()) is not None and what(seen))
        self.compile()

    async def until(self, resource: str, path: str, value: str) -> dict[str, Any]:
        """Waits until a field of an object has a value; returns the object's status."""
        waiting = f"--for=jsonpath={{{path}}}={value}"
        wait = ("wait", waiting, resource, "-n", self.namespace, f"--timeout={PATIENCE:.0f}s")
        await asyncio.to_thread(run, self._server, *wait)
        return await self.status(resource)

    async def until_condition(self, resource: str, kind: str, part: str, value: str) -> dict[str, Any]:
        """Waits until a part of a condition has a value; returns the object's status."""
        return await self.until(resource, f'.status.conditions[?(@.type=="{kind}")].{part}', value)

    async def status(self, resource: str) -> dict[str, Any]:
        """An object's status; empty if it has none."""
        text = await asyncio.to_thread(run, self._server, "get", resource, "-n", self.namespace, "-o", "json")
        return dict(json.loads(text).get("status", {}))

    async def until_outcomes(self, count: int) -> None:
        """Waits until `count` writes have ended."""
        async with asyncio.timeout(PATIENCE):
            while len(self.writer.outcomes) < count:  # noqa: ASYNC110 - nobody else needs an event for it
                await asyncio.sleep(0.02)

    async def until_calm(self) -> None:
        """Waits until the reporter has nothing more to write."""
        async with asyncio.timeout(PATIENCE):
            while self.reporter.busy:  # noqa: ASYNC110 - nobody else needs an event for it
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def leading(server: ApiServer, client: ApiClient, namespace: str) -> AsyncIterator[Leader]:
    """A leader for the length of a block; `client` is closed with it."""
    watching = await asyncio.to_thread(Watching, client, [namespace])
    leader = Leader(server, client, watching, namespace)
    leader.begin()
    try:
        yield leader
        assert not leader.term.done(), leader.term.exception()
    finally:
        await leader.end()
        await asyncio.to_thread(watching.gatherer.stop)
        client.close()
