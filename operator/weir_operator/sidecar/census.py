"""Looks for pods that should have a sidecar and have none: those that were made while no webhook or operator was there,
and those that are older than their namespace's label. Run by the leader.

Every half minute it lists the pods of namespaces that ask for sidecars, a bounded number of namespaces at a time, and
the pods that ask for themselves. `sidecar.expected` decides. The result is in the log, `/readyz` and a gauge, with the
command that mends it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from weir_operator.kube.client import ApiClient
from weir_operator.kube.objects import JSON
from weir_operator.kube.pods import PodsNotListed, labelled_pods, pods
from weir_operator.kube.statuses import StatusWriter
from weir_operator.sidecar.expected import INJECT, YES, Lacking, Scope, asks, lacking, misspelt

CENSUS_SECONDS = 30.0
"""Seconds between two looks."""

NAMESPACES_A_LOOK = 50
"""Namespaces whose pods are listed in one look; further ones have their turn in the next."""

COMMANDS = 5
"""Commands, and namespaces, that one message names."""

SHOWN_NAMESPACES = 50
"""Namespaces with a value of their own in the gauge; the rest is summed up as namespace "*"."""

LINES = 20
"""Lines of one look's log, and its Events."""

MAX_NOTE = 1000
"""Characters of an Event's note; Kubernetes takes 1024 bytes."""

_log = logging.getLogger("weir_operator.sidecars")


@dataclass(frozen=True)
class Found:
    """The pods of one namespace that lack a sidecar."""

    count: int
    commands: tuple[str, ...]  # the first `COMMANDS`
    first: Lacking | None = None

    def __str__(self) -> str:
        return f"{self.count} ({'; '.join(self.commands)})"


class Census:
    """The pods of one installation that lack a sidecar."""

    def __init__(
        self,
        api_client: ApiClient,
        scope: Scope,
        namespaces: Callable[[], Mapping[str, Mapping[str, str]] | None],
        *,
        instance: str = "weir-operator",
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`namespaces` gives the labels of each namespace; None: not known, and only pods that ask themselves count.
        `instance` is this operator's name, for Events.
        """
        self._events = StatusWriter(api_client, ())
        self._instance = instance
        self._wall = wall
        self._api_client = api_client
        self._scope = scope
        self._namespaces = namespaces
        self._found: dict[str, Found] = {}
        self._misspelt: dict[str, str] = {}
        self._turn = ""  # the last namespace that was looked at
        self._failure: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many pods lack one, by namespace; the smallest ones are summed up as "*"."""
        largest = sorted(self._found, key=lambda it: (-self._found[it].count, it))
        shown = {name: self._found[name].count for name in largest[:SHOWN_NAMESPACES]}
        rest = sum(self._found[name].count for name in largest[SHOWN_NAMESPACES:])
        return {**shown, "*": rest} if rest else shown

    def troubles(self) -> Iterator[str]:
        """Sentences about pods and namespaces, one for each kind of fault."""
        if self._found:
            number = sum(it.count for it in self._found.values())
            named = [f"{name} {self._found[name]}" for name in sorted(self._found)]
            yield f"pods without the sidecar that they should have: {number}. They need a restart: {_some(named)}"
        if self._misspelt:
            named = [f"{name} ({value})" for name, value in sorted(self._misspelt.items())]
            yield f"the label {INJECT} of these namespaces is neither true nor false, and ignored: {_some(named)}"
        if self._failure is not None:
            yield f"pods without a sidecar are not known: {self._failure}"

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(CENSUS_SECONDS)
        finally:  # another replica leads, and tells it
            self._found, self._misspelt, self._failure = {}, {}, None

    async def look(self) -> None:
        """Looks at the next namespaces."""
        known = self._namespaces() or {}
        bodies: dict[str, JSON] = {
            name: {"metadata": {"name": name, "labels": labels}}
            for name, labels in known.items()
            if self._scope.namespaces is None or name in self._scope.namespaces
        }
        asking = sorted(name for name, body in bodies.items() if asks(body) and name != self._scope.namespace)
        turn = self._next(asking)
        try:
            found = await asyncio.to_thread(lambda: summed(self._lacking(turn, bodies)))
        except PodsNotListed as error:
            self._fail(str(error))
            return
        self._fail(None)
        looked = {*turn, *(name for name in (*found, *self._found) if name not in asking)}
        kept = {name: it for name, it in self._found.items() if name not in looked}
        new = self._tell({**kept, **found}, {name: it for name, body in bodies.items() if (it := misspelt(body))})
        moment = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for of_namespace in new:  # for the tenants, who do not see our log
            await asyncio.to_thread(self._events.tell, event(of_namespace, self._instance, moment))

    def _next(self, asking: list[str]) -> list[str]:
        """The namespaces whose turn it is."""
        later = [name for name in asking if name > self._turn]
        turn = [*later, *(name for name in asking if name <= self._turn)][:NAMESPACES_A_LOOK]
        self._turn = turn[-1] if turn else ""
        return turn

    def _lacking(self, turn: Iterable[str], bodies: Mapping[str, JSON]) -> Iterator[Lacking]:
        turn = [*turn]
        for name in turn:
            yield from _of(pods(self._api_client, name), bodies[name], self._scope)
        selector = f"{INJECT} in ({','.join(YES)})"
        if self._scope.namespaces is None:
            alone: Iterator[JSON] = labelled_pods(self._api_client, selector)
        else:
            alone = (it for name in self._scope.namespaces for it in pods(self._api_client, name, selector))
        for pod in alone:
            name = (pod.get("metadata") or {}).get("namespace", "")
            body = bodies.get(name, {"metadata": {"name": name}})
            if not asks(body):  # the others have their turn
                yield from _of([pod], body, self._scope)

    def _fail(self, text: str | None) -> None:
        if text is not None and text != self._failure:
            _log.warning("pods without a sidecar are not known: %s", text)
        self._failure = text

    def _tell(self, found: dict[str, Found], misspelt: dict[str, str]) -> list[Found]:
        """Logs what is new, and returns it."""
        new = sorted(
            name for name, it in found.items() if name not in self._found or it.count > self._found[name].count
        )
        for name in new[:LINES]:
            _log.warning("pods of namespace %s have no sidecar, though labels ask for one: %s", name, found[name])
        if len(new) > LINES:
            _log.warning("pods of %d more namespaces have no sidecar", len(new) - LINES)
        for name in sorted(misspelt.keys() - self._misspelt.keys())[:LINES]:
            _log.warning("namespace %s: %s=%s is neither true nor false: ignored", name, INJECT, misspelt[name])
        self._found, self._misspelt = found, misspelt
        return [found[name] for name in new[:LINES]]


def summed(found: Iterable[Lacking]) -> dict[str, Found]:
    """The pods by namespace. PURE."""
    counts: dict[str, int] = {}
    commands: dict[str, dict[str, None]] = {}
    first: dict[str, Lacking] = {}
    for it in found:
        first.setdefault(it.namespace, it)
        counts[it.namespace] = counts.get(it.namespace, 0) + 1
        of = commands.setdefault(it.namespace, {})
        if len(of) < COMMANDS:
            of[it.command] = None
    return {name: Found(count, tuple(commands[name]), first[name]) for name, count in counts.items()}


def event(found: Found, instance: str, moment: str) -> JSON:
    """The Event about the first of the pods, for those who may see no more than their namespace. PURE."""
    pod = found.first
    assert pod is not None
    note = f"{found.count} pods of this namespace should have Weir's sidecar and have none: {'; '.join(found.commands)}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{pod.pod[:200]}-", "namespace": pod.namespace},
        "type": "Warning",
        "reason": "NoSidecar",
        "note": note[:MAX_NOTE],
        "action": "Report",
        "eventTime": moment,
        "reportingController": "weir.dev/operator",
        "reportingInstance": instance[:128],
        "regarding": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.pod,
            "uid": pod.uid,
        },
    }


def _of(listed: Iterable[JSON], namespace: JSON, scope: Scope) -> Iterator[Lacking]:
    return (found for it in listed if (found := lacking(it, namespace, scope)) is not None)


def _some(named: list[str]) -> str:
    rest = f", and {len(named) - COMMANDS} more namespaces" if len(named) > COMMANDS else ""
    return ", ".join(named[:COMMANDS]) + rest
