"""Common parts of the commands that serve: addresses, signals, logs, the garbage collector, and a router's life.

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

from weir_router.admit.machine import MAX_CONNECTIONS
from weir_router.admit.queue import Room
from weir_router.app import Router
from weir_router.config.access import Access
from weir_router.record.lines import Lines
from weir_router.record.log import outputs
from weir_router.report.report import LOAD_CHECK_SECONDS, Reports

if TYPE_CHECKING:
    from weir_router.config.longpoll import LongPoll

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
"""Bytes of each unit of memory in an option, such as 256MiB."""

LEAST_MEMORY = 2**20
"""Bytes of the smallest `--memory`: larger requests are refused, and most are smaller than this."""

MEMORY_HELP = (
    "Bytes of requests held at once, e.g. 256MiB; beyond them requests are refused for the moment (503). "
    "Default: half of the container's memory limit, else of the machine's memory."
)
"""Help of `--memory`."""

CONNECTIONS_HELP = (
    f"Connections of callers at once, at most. Default: {MAX_CONNECTIONS}, or fewer where the limit of open files "
    "(ulimit -n) allows fewer: two files for each, and 128 for the router."
)
"""Help of `--max-connections`."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

MAX_IN_FLIGHT_VARIABLE = "WEIR_MAX_IN_FLIGHT"
"""Environment variable with the default of `--max-in-flight`."""

UNUSABLE = 2
"""Exit code of a command that cannot run: wrong arguments, an address in use."""

COLLECTOR_THRESHOLDS = (10_000, 100, 50)
"""Allocations before a young collection, and collections before each older one, for the operator."""

COLLECT_EVERY = 5.0
"""Seconds between two checks for garbage that only the collector can free."""

GARBAGE, PER_REQUEST = 100_000, 400
"""Objects, in total and per request in flight, that may have been made since the last collection and not freed: some 15
MB, and twice the 200 objects of an open stream.
"""

AT_ONCE = (0.0, 0.0)
"""Seconds until a new load is reported: at once, since the checks of many routers are spread already."""


def host_and_port(text: str) -> tuple[str, int]:
    """`HOST:PORT` as a pair. Raises `ValueError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, e.g. 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def size_of(text: str) -> int:
    """A number of bytes, from `536870912`, `512MiB` or the Kubernetes form `512Mi`. Raises `ValueError`."""
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
    """Makes the cyclic collector run rarely, and exempts all objects that exist by now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


@contextlib.asynccontextmanager
async def rarely_collected(room: Room) -> AsyncIterator[None]:
    """Runs Python's cyclic collector when there may be garbage, and not because many requests are in flight.

    By default it runs once some more objects have been made than freed since the last time, and visits all live ones of
    these. With 1,500 streams those are 300,000: it stopped the router for up to 140 ms, and found nothing. Requests
    leave no garbage, however they end (`tests/faults/test_no_garbage.py`).
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
        """An object with `time`, `level`, `logger`, `message`, and `exception` if there is one."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_as_json() -> None:
    """Sends all log records from `WEIR_LOG_LEVEL` on to stderr, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=os.environ.get("WEIR_LOG_LEVEL", "INFO"))


def log_to_stdout(enabled: bool) -> None:
    """Sends the request log to stdout if `enabled`; all other log records to stderr."""
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
    """Runs a router on the fastest event loop; ends the command if an address is in use."""
    try:
        calm_collector()
        uvloop.run(serving)
    except OSError as error:
        print(f"error: {cannot_listen(error)}", file=sys.stderr)
        raise SystemExit(UNUSABLE) from error


def cannot_listen(error: OSError) -> str:
    """The error message, with its remedy."""
    return f"cannot listen: {error.strerror or error}. Choose another address with --listen or --admin."


async def serve(router: Router, *sources: Coroutine[Any, Any, None]) -> None:
    """Serves until SIGTERM, with config from `sources`; finishes the answers under way."""
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
    """Follows the operator's config server for ever. A gateway router reports its load within seconds, a sidecar with
    the next poll: a thousand sidecars would report too often.
    """
    # Imported here: it imports aiohttp's client, which a router without a config server does not need. The router has
    # imported it for its token reviews by now, before its ports were open.
    from weir_router.config.longpoll import LongPoll

    # A pod's host name is the pod's name, cut after 63 characters.
    name = os.environ.get("POD_NAME") or socket.gethostname()
    parts = (router.store, router.board, router.metrics, router.room, router.clock)
    reports = Reports(name, *parts, whole=gateway)
    following = LongPoll(access, router.store, reports.report)
    router.on_health = following.tell_health
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(following.run())
        if gateway:
            tasks.create_task(_tell_load(reports, following))


async def _tell_load(reports: Reports, following: LongPoll) -> None:
    while True:
        await asyncio.sleep(LOAD_CHECK_SECONDS)
        if reports.news():
            following.tell_soon(AT_ONCE)
