"""The steps of the benchmark of the control plane; `figures` says what they find."""

from __future__ import annotations

import base64
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient, CustomObjectsApi
from rich.progress import Progress

from bench.cluster import NAMESPACE, ApiServer, Audit, api_server
from bench.control_plane import world
from bench.control_plane.figures import Figures
from bench.control_plane.fleet import Fleet, connected, tokens
from bench.processes import cpu_seconds, resident
from support.installation import Installation, Operator
from support.kube import client_of, run, watching
from weir_operator.compile import Memory, compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.observe.observed import Observed
from weir_operator.publish.publisher import RETIRE_AFTER

PAUSE = (0.0, 0.4)
"""Seconds between two changes, at random: they should meet every moment of the operator's periodic work."""

GROUP = ("weir.dev", "v1alpha1")
PLURALS = {it.kind: it.plural for it in KINDS}
OPERATOR = f"system:serviceaccount:{NAMESPACE}:weir-operator"
CLEAN = RETIRE_AFTER + 15
"""Seconds after the last change until nothing is left to do: what no index names any more has gone."""

PATIENCE = 180.0
"""Seconds until all statuses are written; 1,200 take half a minute."""


@dataclass(frozen=True)
class Size:
    """Size of a run."""

    policies: int
    tiers: int
    connections: int
    changes: int
    idle: int  # seconds


class Bench:
    """One run."""

    def __init__(self, size: Size, folder: Path, progress: Progress) -> None:
        self._size = size
        self._folder = folder
        self._progress = progress
        self._places = world.places(size.policies, size.tiers)
        self._changed = world.changes(self._places)
        self._random = random.Random(1)

    def run(self) -> Figures:
        """The whole run, from the start of an API server to its end."""
        with ExitStack() as stack:
            server, audit = stack.enter_context(api_server())
            client = stack.enter_context(client_of(server))
            self._fill(server)
            first, next_ = self._compiles(server, client)
            installation = Installation(server, NAMESPACE, self._folder)
            operator = stack.enter_context(installation.operator())
            fleet = stack.enter_context(self._fleet(client, installation))
            received = fleet.until().received
            self._await_statuses(client)
            figures = self._changes(client, operator, fleet)
            idle = self._idle(operator, audit)
            name, largest = self._largest(installation)
            return Figures(
                policies=self._size.policies,
                tiers=self._size.tiers,
                namespaces=len(self._places),
                connections=self._size.connections,
                first_compile_ms=first,
                next_compile_ms=next_,
                first_bytes=received / self._size.connections,
                largest_object=largest,
                largest_name=name,
                operator_mib=resident(operator.command.process.pid) / 2**20,
                **figures,
                **idle,
            )

    @contextmanager
    def _step(self, what: str, total: int) -> Iterator[Any]:
        """A bar; what is yielded moves it on by one."""
        task = self._progress.add_task(what, total=total)
        yield lambda: self._progress.advance(task)
        self._progress.remove_task(task)

    def _fill(self, server: ApiServer) -> None:
        with self._step("objects", len(self._places)) as done:
            for place in self._places:
                text = yaml.dump_all(world.objects(place), Dumper=yaml.CSafeDumper)
                run(server, "apply", "--server-side", "-f", "-", input=text)
                done()

    def _fleet(self, client: ApiClient, installation: Installation) -> Any:
        authority = self._folder / "ca.crt"
        authority.write_text(installation.authority())
        files = self._folder / "tokens"
        files.mkdir()
        made = tokens(client, NAMESPACE, installation.release, files, self._size.connections)
        return connected(f"https://localhost:{installation.port}", authority, made)

    def _compiles(self, server: ApiServer, client: ApiClient) -> tuple[float, float]:
        """CPU milliseconds of the first compile, and of the next one after a change."""
        with watching(client_of(server)) as cluster:
            memory, before = Memory(), cluster.observed()
            first = _compile_ms(before, memory)
            self._apply(client, next(self._changed))
            cluster.until(lambda it: it.observed() != before)
            after = cluster.observed()
        return first, _compile_ms(after, memory)

    def _await_statuses(self, client: ApiClient) -> None:
        """Waits until every object has a status and the operator is idle."""
        api, deadline = CustomObjectsApi(client), time.monotonic() + PATIENCE
        with self._step("statuses", self._size.policies + self._size.tiers):
            while time.monotonic() < deadline:
                items = [it for kind in KINDS.values() for it in api.list_cluster_custom_object(*GROUP, kind)["items"]]
                if all(_is_ready(it) for it in items):
                    return
                time.sleep(1)
        raise TimeoutError("not every object is ready")

    def _apply(self, client: ApiClient, body: world.JSON) -> tuple[str, int]:
        """Server-side apply, as kubectl sends it: the object and its new generation."""
        metadata, kind = body["metadata"], body["kind"]
        made = CustomObjectsApi(client).patch_namespaced_custom_object(
            *GROUP, metadata["namespace"], PLURALS[kind], metadata["name"], body,
            field_manager="kubectl", force=True, _content_type="application/apply-patch+yaml",
        )  # fmt: skip
        return f"{kind}/{metadata['namespace']}/{metadata['name']}", made["metadata"]["generation"]

    def _changes(self, client: ApiClient, operator: Operator, fleet: Fleet) -> dict[str, Any]:
        pid, count, seconds = operator.command.process.pid, self._size.changes, []
        cpu, had, spent = cpu_seconds(pid), fleet.until(), _spent(operator)
        with self._step("changes", count) as done:
            for _ in range(count):
                time.sleep(self._random.uniform(*PAUSE))
                body = next(self._changed)
                started = time.monotonic()
                seconds.append(fleet.until(*self._apply(client, body)).at - started)
                done()
        load = os.getloadavg()[0]
        last, used, rounds = fleet.until(), cpu_seconds(pid) - cpu, _spent(operator)
        each = count * self._size.connections
        return {
            "seconds": seconds,
            "load": load,
            "cores": os.cpu_count() or 0,
            "bytes_per_change": (last.received - had.received) / each,
            "operator_cpu_ms": used / count * 1000,
            "clients_cpu_ms": (last.cpu - had.cpu) / each * 1000,
            "operator_compile_ms": (rounds[0] - spent[0]) / count * 1000,
            "operator_publish_ms": (rounds[1] - spent[1]) / count * 1000,
        }

    def _idle(self, operator: Operator, audit: Audit) -> dict[str, Any]:
        pid, minutes = operator.command.process.pid, self._size.idle / 60
        with self._step("idle", self._size.idle) as done:
            time.sleep(CLEAN)
            cpu, since = cpu_seconds(pid), _now()
            for _ in range(self._size.idle):
                time.sleep(1)
                done()
        used, until = cpu_seconds(pid) - cpu, _now()
        asked = Counter(map(_sort, audit.requests(OPERATOR, since, until)))
        beside = sum(
            count for name, count in asked.items() if not name.startswith(("watch ", "lease ", "create token"))
        )
        return {
            "idle_cpu_percent": used / self._size.idle * 100,
            "idle_requests": beside / minutes,
            "idle_reviews": asked["create tokenreviews"] / minutes,
            "idle_by_kind": {name: count / minutes for name, count in sorted(asked.items())},
        }

    def _largest(self, installation: Installation) -> tuple[str, int]:
        def weight(it: dict[str, Any]) -> int:
            coded = it.get("binaryData", {}) if it["kind"] == "ConfigMap" else it.get("data", {})
            plain = it.get("data", {}) if it["kind"] == "ConfigMap" else {}
            return sum(map(len, plain.values())) + sum(len(base64.b64decode(value)) for value in coded.values())

        return max(((name, weight(it)) for name, it in installation.published().items()), key=lambda pair: pair[1])


def _compile_ms(observed: Observed, memory: Memory) -> float:
    catalogue = Catalogue.load()
    started = time.thread_time()
    compile_config(observed, KINDS, catalogue=catalogue, now=time.time(), memory=memory)
    return (time.thread_time() - started) * 1000


def _spent(operator: Operator) -> tuple[float, float]:
    compiles, publishes = (f"weir_operator_{it}_seconds_sum" for it in ("compile", "publish"))
    return operator.metric(compiles), operator.metric(publishes)


def _is_ready(body: dict[str, Any]) -> bool:
    found = body.get("status", {}).get("conditions", [])
    return any(it["type"] == "Ready" and it["status"] == "True" for it in found)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _sort(request: str) -> str:
    """`verb resource` of an audited request."""
    verb, _, path = request.partition(" ")
    if "/leases" in path:
        return f"lease {verb}"
    return f"{verb} {path.partition('?')[0].rstrip('/').rpartition('/')[2]}"
