"""Cores that the benchmark keeps busy."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.cores import busy


def children() -> list[int]:
    return [int(it) for it in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_the_loop_makes_way_for_all_others_and_ends_with_its_block():
    before = set(children())
    with busy(["0"]):
        (loop,) = set(children()) - before
        until = time.monotonic() + 30
        while os.sched_getscheduler(loop) != os.SCHED_IDLE and time.monotonic() < until:
            time.sleep(0.01)
        assert os.sched_getscheduler(loop) == os.SCHED_IDLE
        assert os.sched_getaffinity(loop) == {0}
    assert set(children()) == before
