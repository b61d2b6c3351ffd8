"""How many streams one core carries, and what the router adds to them. Used by `bench`.

Streams of five seconds with 20 chunks a second begin at a constant rate (`bench.load`'s open loop), so that as many as
wanted are open at once on average; what is measured begins when the first ones have ended, beginnings and ends
included. Once with a given number, which says what one takes; then with as many as take `GOAL` of a core, or as many
as load and models can make on the other one, if those are fewer: their own lateness must not be taken for the router's.
Gaps and first chunks are compared with what the same streams have directly from the models.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.cores import awake
from bench.load import Job
from bench.paced import p99, paced
from bench.processes import CALLER, Process, asked

GOAL = 0.8
"""Share of its core that the router may take."""

LOAD_LIMIT = 0.9
"""Share of their core that load and models may take together: beyond it their own lateness grows without bound."""

CHUNKS = 20  # per second of a stream
LENGTH = 5.0  # seconds of a stream
WARM, SECONDS = 1.2 * LENGTH, 5.0
TURNS = 3
SPARE = 1.3  # connections per stream that is open on average

Figures = dict[str, float]


@dataclass(frozen=True)
class _Carried:
    """So many streams at once, through the router or directly. Shares are of one core, times in milliseconds."""

    streams: float
    share: float
    load: float  # of load and models together
    gap: float
    first: float
    late: float
    failed: float


def measure(sim: Process, router: Process, many: int) -> Figures:
    """What `many` streams take, and those that a core carries."""
    with awake():
        some = _carried(sim, router, "calm", many)
        count = carriable(some.streams, some.share, some.load)
        turns = [(_carried(sim, router, "calm", count), _carried(sim, sim, "bench-calm", count)) for _ in range(TURNS)]

    def median(name: Callable[[_Carried, _Carried], float]) -> float:
        return statistics.median(name(through, direct) for through, direct in turns)

    return {
        "many": some.streams,
        "many_share": some.share,
        "many_load_share": some.load,
        "by_share": some.streams * GOAL / some.share,
        "carried": median(lambda through, _: through.streams),
        "carried_share": median(lambda through, _: through.share),
        "carried_load_share": median(lambda through, _: through.load),
        "gap_p99_added_ms": median(lambda through, direct: through.gap - direct.gap),
        "gap_p99_direct_ms": median(lambda _, direct: direct.gap),
        "first_p99_added_ms": median(lambda through, direct: through.first - direct.first),
        "late_p99_ms": median(lambda through, _: through.late),
        "carried_failed": sum(through.failed + direct.failed for through, direct in turns),
    }


def carriable(streams: float, share: float, load: float) -> int:
    """How many streams take `GOAL` of the router's core, or `LOAD_LIMIT` of the other if that is fewer, where `streams`
    take `share` and `load`.
    """
    return int(streams * min(GOAL / share, LOAD_LIMIT / load))


def _carried(sim: Process, process: Process, model: str, many: int) -> _Carried:
    job = Job(
        port=process.port,
        body=asked(model, stream=True),
        headers=CALLER,
        connections=round(many * SPARE),
        streamed=True,
        rate=many / LENGTH,
        warm=WARM,
        seconds=SECONDS,
    )
    window = paced([job], [process, sim])
    (outcome,) = window.outcomes
    return _Carried(
        streams=outcome.chunks / outcome.seconds / CHUNKS,
        share=window.shares[0],
        load=window.load + window.shares[1],
        gap=p99(outcome.gaps) * 1e3,
        first=p99(outcome.latencies) * 1e3,
        late=p99(outcome.late) * 1e3,
        failed=outcome.failed,
    )


ROWS = {
    "many": "streams at once, 20 chunks/s each",
    "many_share": "share of its core that they take",
    "many_load_share": "share of their core that load and models take",
    "by_share": "streams that take 80 % of a core, by that share",
    "carried": "of those, as many as load and models can make",
    "carried_share": "share of its core that they take",
    "carried_load_share": "share of their core that load and models take",
    "gap_p99_added_ms": "gap between chunks added, p99, ms",
    "gap_p99_direct_ms": "the same directly from the models, ms",
    "first_p99_added_ms": "first chunk added, p99, ms",
    "carried_failed": "of them broken",
}
"""What the table shows of it, and how it calls it."""
