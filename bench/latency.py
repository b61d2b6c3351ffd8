"""Latency that the router adds to plain answers, compared with load and models alone. Used by `bench`.

Requests at a constant rate (`bench.load`'s open loop), in turns of a second: to the models directly, through nginx,
and through the router, all of them with the same arrivals. A second in which the host took a core away is taken again.
The rate is a share of what saturates the router, asked anew at the beginning of each turn: the machine is not the same
for long. A turn's figure is the difference to the direct one of the same turn, and the median of turns is reported.
nginx's figure says what the machine adds to any proxy, and that of a queue (`bench.waiting`) what random arrivals do to
any server so busy. Cores are kept from being idle (`bench.cores`); with cores that sleep as they like it is measured
once more.
"""

from __future__ import annotations

import contextlib
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench import proxies
from bench.cores import busy
from bench.job import Job
from bench.paced import p99, paced
from bench.processes import CALLER, LOAD_CORE, PROXY_CORE, Process, asked, outcome_of
from bench.waiting import queue

TURNS = 7
SECONDS, WARM, WINDOWS = 1.0, 0.3, 5
SATURATING, FREE = 32, 128  # connections: of the closed loop, and of open ones, where none is waited for
SATURATED = 6000  # answers
SETTINGS = (("half", 0.5, True), ("quarter", 0.25, True), ("half_asleep", 0.5, False))
"""Name, share of the load that saturates the router, and whether cores are kept busy."""

MOST = 0.99  # of a core: a queue at more would never end

Figures = dict[str, float]


def measure(folder: Path, sim: Process, router: Process) -> Figures:
    """Rates per second, milliseconds, shares of a core."""
    figures = {}
    _saturating(router)  # so that it is warm
    with proxies.nginx(folder, sim.port) as nginx:
        asked_of = {"direct": sim, "nginx": nginx, "weir": router}
        for prefix, share, kept in SETTINGS:
            with busy((PROXY_CORE, LOAD_CORE)) if kept else contextlib.nullcontext():
                added = _added(asked_of, share)
                figures |= {f"{prefix}_{key}": value for key, value in added.items()}
    return figures


def _saturating(router: Process) -> float:
    """Answers per second of a closed loop."""
    outcome = outcome_of(_job("weir", router, connections=SATURATING, total=SATURATED))
    return outcome.answers / outcome.seconds


def _job(name: str, process: Process, **more: Any) -> Job:
    body = asked("as-asked" if name == "weir" else "bench-plain")
    return Job(port=process.port, body=body, headers=CALLER, **more)


def _added(asked_of: dict[str, Process], share: float) -> Figures:
    turns: dict[str, list[float]] = defaultdict(list)
    for _ in range(TURNS):
        rate = _saturating(asked_of["weir"]) * share
        turns["rate"].append(rate)
        direct = (0.0, 0.0)
        for name, process in asked_of.items():
            job = _job(name, process, connections=FREE, rate=rate, warm=WARM, seconds=SECONDS, windows=WINDOWS)
            window = paced([job], [process])
            (outcome,) = window.outcomes
            times = statistics.median(outcome.latencies), p99(outcome.latencies)
            direct = times if name == "direct" else direct
            for key, value, base in zip(("p50_ms", "p99_ms"), times, direct, strict=True):
                turns[f"{name}_{key}"].append((value - base if name != "direct" else value) * 1e3)
            turns[f"{name}_late_p99_ms"].append(p99(outcome.late) * 1e3)
            turns[f"{name}_share"].append(window.shares[0])
            turns[f"{name}_stolen"].append(window.stolen)
            turns[f"{name}_failed"].append(outcome.failed)
    figures = {key: statistics.median(values) for key, values in turns.items()}
    waited = queue(figures["rate"], min(figures["weir_share"], MOST), figures["direct_p50_ms"] / 1e3)
    return figures | {f"queue_{key}": value * 1e3 for key, value in zip(("p50_ms", "p99_ms"), waited, strict=True)}


def _rows() -> dict[str, str]:
    loads = {"half": "half", "quarter": "quarter", "half_asleep": "half, cores asleep"}
    columns = {
        "rate": "requests/s",
        "weir_share": "share of its core",
        "weir_p50_ms": "added, p50, ms",
        "weir_p99_ms": "added, p99, ms",
        "queue_p50_ms": "of which a queue at that share, p50, ms",
        "queue_p99_ms": "of which a queue at that share, p99, ms",
        "nginx_p50_ms": "added by nginx, p50, ms",
        "nginx_p99_ms": "added by nginx, p99, ms",
        "weir_stolen": "taken by the host, share of a core",
    }
    return {f"{name}_{key}": f"{load}: {text}" for name, load in loads.items() for key, text in columns.items()}


ROWS = _rows()
"""Rows of the table, with their names."""
