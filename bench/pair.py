"""Throughput of two routers, compared with one. Used by `bench`.

Replicas share nothing but the machine: callers' connections are spread over them, and each has its own port, config
and upstream connections. On two cores, throughput of two cannot be seen, since load and models need some of both. So
what is compared is answers per second of the routers' CPU, each pinned to a core of its own, at the same constant rate
per router: one of them alone, then both at once. Load and models run on both cores in either case. Twice the ratio of
the two is what two cores would answer against one.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.cores import awake
from bench.job import Job
from bench.paced import Window, paced
from bench.processes import CALLER, KEY, LOAD_CORE, PROXY_CORE, Process, asked, models, pod
from weir_router.identify.keys import fingerprint

BOTH = f"{PROXY_CORE},{LOAD_CORE}"
RATE = 1000.0
"""Requests per second and router: a sixth of what saturates it, so that both and their load have room on two cores."""

TURNS = 15
"""One takes twice another's CPU where the host has other guests: from five the median still moved by a tenth."""

SECONDS, WARM = 2.0, 0.5
CONNECTIONS = 64

Figures = dict[str, float]


def measure(folder: Path, compiled: Path | None) -> Figures:
    """CPU per request of one and of each of two, in µs, and what two answer against one."""
    folders = [folder / "pair-0", folder / "pair-1"]
    for it in folders:
        it.mkdir()
    ones, twos = [], []
    with awake(), models(folder, cores=BOTH) as sim:
        first, second = (
            pod(it, sim.port, fingerprint(KEY), compiled, core)
            for it, core in zip(folders, (PROXY_CORE, LOAD_CORE), strict=True)
        )
        with first as one, second as two:
            _cpu([one, two])  # it has seen every line that it runs by then
            for _ in range(TURNS):
                ones.append(statistics.mean([_cpu([one]), _cpu([two])]))
                twos.append(_cpu([one, two]))
    ratios = [2 * alone / both for alone, both in zip(ones, twos, strict=True)]
    return {
        "one_cpu_us": statistics.median(ones),
        "two_cpu_us": statistics.median(twos),
        "two_against_one": statistics.median(ratios),
        "two_against_one_low": min(ratios),
        "two_against_one_high": max(ratios),
    }


def _cpu(routers: Sequence[Process]) -> float:
    """CPU of a request in µs, while each of `routers` gets `RATE`."""
    window: Window = paced([_job(it) for it in routers], routers, BOTH)
    return sum(window.shares) / (RATE * len(routers)) * 1e6


def _job(router: Process) -> Job:
    more = {"connections": CONNECTIONS, "rate": RATE, "warm": WARM, "seconds": SECONDS}
    return Job(port=router.port, body=asked("as-asked"), headers=CALLER, **more)


ROWS = {
    "one_cpu_us": "CPU per request of one router, µs, at 1,000 requests/s",
    "two_cpu_us": "of each of two at once, µs, each at as many",
    "two_against_one": "two routers on two cores against one, by CPU",
}
"""Rows of the table, with their names."""
