"""Many connections of the router's config client in one process. Started by `bench.control_plane.fleet`.

Each has the real `LongPoll`, a `ConfigStore` and a token of its own. Asked on stdin for a generation of an object, it
says on stdout when the last of them had it in effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop

from weir_router.config.access import Access
from weir_router.config.longpoll import LongPoll
from weir_router.config.store import ConfigStore
from weir_router.contract import BackendReport, CompiledConfig, RouterReport, Secrets
from weir_router.run.process import calm_collector

RECEIVED_AT = 128
"""Offset of `tcpi_bytes_received` in Linux's `struct tcp_info`, in bytes."""


class Job(msgspec.Struct):
    """Task of one client process."""

    url: str
    ca_file: str
    tokens: list[str]  # files; one connection for each


class Wanted(msgspec.Struct):
    """A question: since when do all have this generation? Without an object: since when have all a config?"""

    object: str = ""  # Kind/namespace/name
    generation: int = 0


class Had(msgspec.Struct):
    """The answer."""

    at: float  # monotonic seconds, which all processes of a machine share
    received: int  # bytes on the wire since the start, TLS included
    revision: int
    cpu: float  # seconds of this process since its start


class Client:
    """One connection."""

    def __init__(self, job: Job, token: str, changed: asyncio.Event) -> None:
        self._changed = changed
        self._applied = 0.0
        self._backends: dict[str, BackendReport] = {}
        self._name = Path(token).name
        self.store = ConfigStore()
        self.store.subscribe(self._swapped)
        self._poll = LongPoll(Access(job.url, Path(token), Path(job.ca_file)), self.store, self._report)

    async def run(self) -> None:
        """Polls until cancelled."""
        await self._poll.run()

    def _report(self) -> RouterReport:
        """The report of a router that has had requests for every backend."""
        config = self.store.config
        return RouterReport(router=self._name, revision=config.revision if config else None, backends=self._backends)

    def _swapped(self, config: CompiledConfig, secrets: Secrets) -> None:
        self._backends = {
            f"{key}/{it.name}": BackendReport(state="closed", requests=1000, failures=3)
            for key, tier in config.tiers.items()
            for it in tier.backends
        }
        self._applied = time.monotonic()
        self._changed.set()

    def had(self, wanted: Wanted) -> float | None:
        """The moment at which the change was in effect here; None: it is not."""
        config = self.store.config
        there = config is not None and config.generations.get(wanted.object, 0) >= wanted.generation
        return self._applied if there else None


async def _answer(clients: list[Client], wanted: Wanted, changed: asyncio.Event) -> Had:
    while True:
        changed.clear()
        moments = [it.had(wanted) for it in clients]
        if None not in moments:
            revision = min(it.store.config.revision for it in clients if it.store.config)
            return Had(max(it for it in moments if it is not None), _received(), revision, time.process_time())
        await changed.wait()


def _received() -> int:
    """Bytes that all TCP connections of this process have received."""
    total = 0
    for number, file in _open_files():
        if not file.startswith("socket:"):
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as it:  # of another family
            info = it.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RECEIVED_AT + 8)
            total += struct.unpack_from("<Q", info, RECEIVED_AT)[0]
    return total


def _open_files() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed in between
            yield int(name), os.readlink(f"/proc/self/fd/{name}")


async def main() -> None:
    """Runs until stdin ends."""
    lines = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    job = msgspec.json.decode(await lines.readline(), type=Job)
    changed = asyncio.Event()
    clients = [Client(job, token, changed) for token in job.tokens]
    tasks = [asyncio.create_task(it.run()) for it in clients]
    while line := await lines.readline():
        answer = await _answer(clients, msgspec.json.decode(line, type=Wanted), changed)
        print(msgspec.json.encode(answer).decode(), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    calm_collector()  # as every router does
    uvloop.run(main())
