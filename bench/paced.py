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


@dataclass(frozen=True)
class Window:
    """What was seen while jobs counted. Shares are of one core."""

    outcomes: list[Outcome]  # one per job
    shares: list[float]  # one per process that was watched
    load: float  # share that the load took
    stolen: float  # share that the host took of all cores together


def paced(jobs: Sequence[Job], watched: Sequence[Process], cores: str = LOAD_CORE) -> Window:
    """Runs jobs that have a rate at the same time, on `cores`. Raises `RuntimeError` where one does not end well."""
    loads = [subprocess.Popen(load_of(job, cores), stdout=subprocess.PIPE) for job in jobs]
    try:
        _await_lines(loads)
        before, taken, started = [it.cpu() for it in watched], stolen(), time.perf_counter()
        _await_lines(loads)
        seconds = time.perf_counter() - started
        shares = [(it.cpu() - cpu) / seconds for it, cpu in zip(watched, before, strict=True)]
        taken = (stolen() - taken) / seconds
        outcomes = [msgspec.json.decode(load.communicate()[0], type=Outcome) for load in loads]
    finally:
        for load in loads:
            load.kill()
            load.wait()
    return Window(outcomes, shares, sum(it.cpu / it.seconds for it in outcomes), taken)


def _await_lines(loads: Sequence[subprocess.Popen[bytes]]) -> None:
    for load in loads:
        if load.stdout is None or not load.stdout.readline():
            raise RuntimeError("a load has ended before its time")


def p99(values: Sequence[float]) -> float:
    """What one value in a hundred is above; 0 of none."""
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else 0.0
