"""Runs open loops, and looks at processes while they count. Used by the parts of `bench.life`."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bench.answer import Outcome
from bench.cores import stolen
from bench.job import Job
from bench.processes import LOAD_CORE, Process, load_of

CALM = 0.01
"""Seconds per second that the host may take of all cores together. Where it takes a core for 50 ms, everything that was
due meanwhile comes at once: with 1,000 streams one in a hundred chunks of five seconds, with any proxy.
"""


@dataclass(frozen=True)
class Window:
    """Figures of the time in which jobs counted. Shares are of one core."""

    outcomes: list[Outcome]  # one per job
    shares: list[float]  # one per process that was watched
    load: float  # share that the load took
    stolen: float  # what the host took of all cores together


def paced(jobs: Sequence[Job], watched: Sequence[Process], cores: str = LOAD_CORE) -> Window:
    """Runs jobs that have a rate at the same time, on `cores`. Raises `RuntimeError` where one does not end well.

    Where they have several windows: the first from which the host took no more than `CALM`, else the calmest.
    """
    loads = [subprocess.Popen(load_of(job, cores), stdout=subprocess.PIPE) for job in jobs]
    try:
        windows = []
        for _ in range(min(job.windows for job in jobs)):
            windows.append(_window(loads, watched))
            if windows[-1].stolen <= CALM:
                break
    finally:
        for load in loads:
            load.kill()
            load.communicate()
    return min(windows, key=lambda it: it.stolen)


def _window(loads: Sequence[subprocess.Popen[bytes]], watched: Sequence[Process]) -> Window:
    _lines(loads)
    before, taken, started = [it.cpu() for it in watched], stolen(), time.perf_counter()
    _lines(loads)
    seconds = time.perf_counter() - started
    shares = [(it.cpu() - cpu) / seconds for it, cpu in zip(watched, before, strict=True)]
    taken = (stolen() - taken) / seconds
    outcomes = [msgspec.json.decode(line, type=Outcome) for line in _lines(loads)]
    return Window(outcomes, shares, sum(it.cpu / it.seconds for it in outcomes), taken)


def _lines(loads: Sequence[subprocess.Popen[bytes]]) -> list[bytes]:
    """The next line of each."""
    lines = [load.stdout.readline() if load.stdout else b"" for load in loads]
    if not all(lines):
        raise RuntimeError("a load has ended before its time")
    return lines


def p99(values: Sequence[float]) -> float:
    """The 99th percentile; 0 of no values."""
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else 0.0
