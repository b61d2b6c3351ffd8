"""What commands that serve have in common: addresses, signals, logs, and the garbage collector.

It imports little: `weir router` and `weir sidecar` run beside every application.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import sys
from typing import Annotated

import typer

from weir_router.record.lines import Lines
from weir_router.record.log import outputs

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

MaxInFlight = Annotated[
    int, typer.Option(min=1, help="Requests served at once; more wait for a few seconds, and are then refused.")
]

COLLECTOR_THRESHOLDS = (50_000, 20, 50)
"""Allocations before a young collection, and collections before an older one: requests free nearly all they make."""


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT` as a pair. Raises `typer.BadParameter`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT, e.g. 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def calm_collector() -> None:
    """Keeps the cyclic collector out of requests' way: what is loaded by now stays, and is not looked at again.

    Measured with 32 connections on one core: the slowest hundredth of requests takes half as long.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


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
