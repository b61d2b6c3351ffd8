"""The cores that the benchmark runs on: whether they sleep, and what the host of a virtual machine takes of them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_WAKE_UP_LATENCY = "/dev/cpu_dma_latency"
_LOOP = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
_STOLEN = 8  # of the numbers of a line of /proc/stat
_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def awake() -> Iterator[bool]:
    """Cores without work wait for it awake inside of the block, as cyclictest has it; False: this user may not ask it.

    The core of a virtual machine that sleeps is woken by its host, finds its caches used by others, and the first to
    run there pays for both: half of the time goes by asleep at half of the load, and a request is two wake-ups.
    """
    try:
        descriptor = os.open(_WAKE_UP_LATENCY, os.O_WRONLY)
    except OSError:
        yield False
        return
    try:
        os.write(descriptor, bytes(4))  # microseconds that a wake-up may take, for as long as it is open
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def busy(cores: Sequence[str]) -> Iterator[None]:
    """Cores are never idle inside of the block: each has a loop of the lowest class, which makes way for all else.

    Awake is not enough where moments count: in a virtual machine the way into idleness and back is the host's too, with
    the tick stopped and started, and takes a third of what nginx spends on a request that comes alone.
    """
    loops = [subprocess.Popen(["taskset", "-c", core, sys.executable, "-c", _LOOP]) for core in cores]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def stolen() -> float:
    """Seconds that the host has taken from all cores together so far, while they had work."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[_STOLEN]) / _TICKS
