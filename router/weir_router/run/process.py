"""What commands that serve have in common: addresses, signals, logs, the garbage collector, and a router's life.

It imports little, and no typer: `weir router` and `weir sidecar` run beside every application.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from weir_router.admit.queue import Room
from weir_router.app import Router
from weir_router.config.access import Access
from weir_router.record.lines import Lines
from weir_router.record.log import outputs
from weir_router.report.report import LOOK_SECONDS, Reports

if TYPE_CHECKING:
    from weir_router.config.longpoll import LongPoll

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
"""Bytes of the units in which memory is given."""

LEAST_MEMORY = 2**20
"""Bytes that `--memory` is at least: requests larger than it are refused, and most are smaller than this."""

MEMORY_HELP = (
    "Bytes of requests held at once, e.g. 256MiB; beyond them requests are refused for the moment (503). "
    "Default: half of the container's memory limit, else of the machine's memory."
)
"""Help of `--memory`."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

MAX_IN_FLIGHT_VARIABLE = "WEIR_MAX_IN_FLIGHT"
"""Of the environment: what `--max-in-flight` is where it is not given."""

UNUSABLE = 2
"""Exit code where it could not run: wrong arguments, an address that is in use."""

COLLECTOR_THRESHOLDS = (10_000, 100, 50)
"""Allocations before a young collection, and collections before an older one, for the operator."""

COLLECT_EVERY = 5.0
"""Seconds from one look to the next, whether there is garbage that only the collector finds."""

GARBAGE, PER_REQUEST = 100_000, 400
"""Objects that may have been made since the last collection and not freed, some 15 MB, and how many more for each
request that is served: an open stream has 200.
"""

AT_ONCE = (0.0, 0.0)
"""Seconds until a load is told: looks are spread already."""


def host_and_port(text: str) -> tuple[str, int]:
    """`HOST:PORT` as a pair. Raises `ValueError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, e.g. 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def size_of(text: str) -> int:
    """A number of bytes, such as `536870912`, `512MiB` or, as Kubernetes writes it, `512Mi`. Raises `ValueError`."""
    number = text.strip().removesuffix("B")
    unit = next((it for it in UNITS if number.endswith(it)), "")
    number = number.removesuffix(unit).strip()
    if not (number.isascii() and number.isdigit()):
        raise ValueError(f"{text!r} is not a number of bytes, e.g. 536870912 or 512MiB")
    size = int(number) * UNITS.get(unit, 1)
    if size < LEAST_MEMORY:
        raise ValueError(f"{text} is less than 1MiB")
    return size


def calm_collector() -> None:
    """Keeps the cyclic collector out of the way: what is loaded by now stays, and is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


@contextlib.asynccontextmanager
async def rarely_collected(room: Room) -> AsyncIterator[None]:
    """Has Python's cyclic collector run where there is garbage for it, and not because many requests are served.

    On its own it runs once some more objects have been made than freed since the last time, and looks at all that were
    made since then and live: with 1,500 streams those are 300,000, and nothing went on for up to 140 ms, for nothing.
    Requests leave no garbage, whatever becomes of them (`tests/faults/test_no_garbage.py`).
    """
    gc.disable()
    looking = asyncio.create_task(_collect(room))
    try:
        yield
    finally:
        looking.cancel()
        gc.enable()


async def _collect(room: Room) -> None:
    while True:
        await asyncio.sleep(COLLECT_EVERY)
        if gc.get_count()[0] > GARBAGE + PER_REQUEST * room.taken:
            gc.collect()


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """`time`, `level`, `logger`, `message`, and `exception` where there is one."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_as_json() -> None:
    """Everything that is logged on stderr, from `WEIR_LOG_LEVEL` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=os.environ.get("WEIR_LOG_LEVEL", "INFO"))


def log_to_stdout(enabled: bool) -> None:
    """Requests' lines on stdout if `enabled`; everything else that is logged on stderr."""
    if enabled:
        lines = Lines(sys.stdout.fileno())
        outputs.append(lines)
        atexit.register(lines.close)
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get("WEIR_LOG_LEVEL", "WARNING"),
        format="%(levelname)s %(name)s: %(message)s",
    )


def run(serving: Coroutine[Any, Any, None]) -> None:
    """Runs a router on the loop that costs it least; ends the command where an address is in use."""
    try:
        calm_collector()
        uvloop.run(serving)
    except OSError as error:
        print(f"error: {cannot_listen(error)}", file=sys.stderr)
        raise SystemExit(UNUSABLE) from error


def cannot_listen(error: OSError) -> str:
    """What to say, and what to do."""
    return f"cannot listen: {error.strerror or error}. Choose another address with --listen or --admin."


async def serve(router: Router, *sources: Coroutine[Any, Any, None]) -> None:
    """Serves until SIGTERM, with config from `sources`; answers that are under way are finished."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    async with router, rarely_collected(router.room), asyncio.TaskGroup() as tasks:
        serving = f"Serving callers on {router.url}, metrics and state on {router.admin_url}."
        print(serving, file=sys.stderr, flush=True)
        watching = [tasks.create_task(source) for source in sources]
        await stopped.wait()
        for task in watching:
            task.cancel()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, os._exit, 128 + number)  # as a shell counts a process that was killed


async def poll(router: Router, access: Access, *, gateway: bool = False) -> None:
    """Config from the operator's config server, for ever. From one of the gateway's the operator hears within seconds
    how busy it is, from a sidecar with the next poll: a thousand of them would have much to tell.
    """
    # Not above: aiohttp's client comes with it, which a router without a config server need not have. The router has
    # imported that for its reviews by now, before its ports were open.
    from weir_router.config.longpoll import LongPoll

    # A pod's host name is its name, cut after 63 characters.
    name = os.environ.get("POD_NAME") or socket.gethostname()
    parts = (router.store, router.board, router.metrics, router.room, router.clock)
    reports = Reports(name, *parts, whole=gateway)
    following = LongPoll(access, router.store, reports.report)
    router.on_health = following.tell_soon
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(following.run())
        if gateway:
            tasks.create_task(_tell_load(reports, following))


async def _tell_load(reports: Reports, following: LongPoll) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if reports.news():
            following.tell_soon(AT_ONCE)
