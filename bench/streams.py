"""How many streams one core carries, and what the router adds to them. Used by `bench`.

Streams of five seconds with 20 chunks a second begin at a constant rate (`bench.load`'s open loop), so that as many as
wanted are open at once on average; what is measured begins when the first ones have ended, beginnings and ends
included. Once with a given number, and a few times with as many as should take `GOAL` of a core by the time before,
which say what one takes; then with as many as take that share, or as many as load and models can make on the other one,
if those are fewer: their own lateness must not be taken for the router's; and with half of what would take all of it.
Gaps and first chunks are compared with what the same streams have directly from the models, and with what nginx adds,
which tells what the machine adds to any proxy: in turns, each with the direct one before it; reported is the median of
turns. Each turn has as many streams as took `GOAL` by the turn before, since a machine is not the same for long.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench import proxies
from bench.cores import awake
from bench.job import Job
from bench.paced import p99, paced
from bench.processes import CALLER, Process, asked

GOAL = 0.8
"""Share of its core that the router may take."""

LOAD_LIMIT = 0.9
"""Share of their core that load and models may take together: beyond it their own lateness grows without bound."""

UNEVEN = 1.5
"""Beats: if one gap in a hundred is longer directly from the models, they or the load skip beats, and the proxy's part
is unknown. Such a turn is taken again, with a tenth fewer streams.
"""

AGAIN = 4
"""Turns that may be taken again; a machine that is as uneven after that is measured as it is."""

APPROACHES = 2
"""Times that their number is corrected before it counts: one of many costs less than one of few."""

CHUNKS = 20  # per second of a stream
LENGTH = 5.0  # seconds of a stream
WARM, SECONDS, WINDOWS = 1.2 * LENGTH, 4.0, 5
TURNS = 3
SPARE = 1.3  # connections per stream that is open on average

Figures = dict[str, float]


@dataclass(frozen=True)
class Carried:
    """Figures of many streams at once, through a proxy or directly. Shares are of one core, times in milliseconds."""

    streams: float
    share: float
    load: float  # of load and models together
    late: float
    stolen: float
    failed: float
    times: dict[str, float]

    @property
    def carriable(self) -> int:
        """How many streams take `GOAL` of the router's core, or `LOAD_LIMIT` of the other if that is fewer."""
        return int(self.streams * min(GOAL / self.share, LOAD_LIMIT / self.load))


def measure(folder: Path, sim: Process, router: Process, many: int) -> Figures:
    """CPU of `many` streams, and the delay added to those that a core carries, and to half of them."""
    with awake(), proxies.nginx(folder, sim.port) as nginx:
        more = some = _carried(sim, router, "calm", many)
        for _ in range(APPROACHES):
            more = _carried(sim, router, "calm", more.carriable)
        by_share = more.streams * GOAL / more.share
        figures = {
            "many": some.streams,
            "many_share": some.share,
            "many_load_share": some.load,
            "by_share": by_share,
        }
        asked_of = {"nginx": nginx, "weir": router}
        settings = (("carried", more.carriable, True), ("halfway", int(by_share / GOAL / 2), False))
        for prefix, count, follow in settings:
            added = _added(sim, asked_of, count, follow=follow)
            figures |= {f"{prefix}_{key}": value for key, value in added.items()}
    return figures


def _added(sim: Process, asked_of: dict[str, Process], count: int, *, follow: bool) -> Figures:
    turns: dict[str, list[float]] = defaultdict(list)
    again = AGAIN
    while len(turns["weir_share"]) < TURNS:
        direct = _carried(sim, sim, "bench-calm", count)
        if direct.times["gap_p99_ms"] > UNEVEN * 1e3 / CHUNKS and again:
            again -= 1
            count = int(count * 0.9)
            continue
        _note(turns, "direct", direct, {})
        for name, process in asked_of.items():
            carried = _carried(sim, process, "calm" if name == "weir" else "bench-calm", count)
            _note(turns, name, carried, direct.times)
        if follow:
            count = carried.carriable  # the router is the last to be asked
    return {key: statistics.median(values) for key, values in turns.items()}


def _note(turns: dict[str, list[float]], name: str, carried: Carried, base: dict[str, float]) -> None:
    for key, value in carried.times.items():
        turns[f"{name}_{key}"].append(value - base.get(key, 0.0))
    turns[f"{name}_late_p99_ms"].append(carried.late)
    turns[f"{name}_stolen"].append(carried.stolen)
    turns[f"{name}_failed"].append(carried.failed)
    turns[f"{name}_streams"].append(carried.streams)
    turns[f"{name}_share"].append(carried.share)
    turns[f"{name}_load_share"].append(carried.load)


def _carried(sim: Process, process: Process, model: str, many: int) -> Carried:
    job = Job(
        port=process.port,
        body=asked(model, stream=True),
        headers=CALLER,
        connections=round(many * SPARE),
        streamed=True,
        rate=many / LENGTH,
        warm=WARM,
        seconds=SECONDS,
        windows=WINDOWS,
    )
    window = paced([job], [process, sim])
    (outcome,) = window.outcomes
    return Carried(
        streams=outcome.chunks / outcome.seconds / CHUNKS,
        share=window.shares[0],
        load=window.load + window.shares[1],
        late=p99(outcome.late) * 1e3,
        stolen=window.stolen,
        failed=outcome.failed,
        times={
            "gap_p99_ms": p99(outcome.gaps) * 1e3,
            "first_p50_ms": statistics.median(outcome.latencies) * 1e3,
            "first_p99_ms": p99(outcome.latencies) * 1e3,
        },
    )


def _rows() -> dict[str, str]:
    columns = {
        "weir_streams": "streams at once",
        "weir_share": "share of its core that they take",
        "weir_load_share": "share of their core that load and models take",
        "direct_gap_p99_ms": "gap directly from the models, p99, ms",
        "weir_gap_p99_ms": "gap added, p99, ms",
        "nginx_gap_p99_ms": "gap added by nginx, p99, ms",
        "weir_first_p50_ms": "first chunk added, p50, ms",
        "weir_first_p99_ms": "first chunk added, p99, ms",
        "nginx_first_p50_ms": "first chunk added by nginx, p50, ms",
        "nginx_first_p99_ms": "first chunk added by nginx, p99, ms",
        "weir_stolen": "taken by the host, share of a core",
        "weir_failed": "streams broken",
    }
    loads = {"carried": "as many as can be made", "halfway": "half of a core"}
    return {f"{name}_{key}": f"{load}: {text}" for name, load in loads.items() for key, text in columns.items()}


ROWS = {
    "many": "streams at once, 20 chunks/s each",
    "many_share": "share of its core that they take",
    "many_load_share": "share of their core that load and models take",
    "by_share": "streams that take 80 % of a core, by that share",
    **_rows(),
}
"""Rows of the table, with their names."""
