"""Latency that a queue alone adds to a request, for comparison with the measured one. Used by `bench.latency`.

One server, work in the order of arrival, arrivals as random as those of the benchmark's open loop. Each request is
worked on twice, when it comes and when the upstream has answered it, and takes as much CPU as any other. A larger
measured latency has another cause: stalls, or requests that cost more than others.
"""

from __future__ import annotations

import random
import statistics
from collections import deque

from bench.paced import p99

FIRST_PART = 0.6
"""Share of a request's CPU that is spent before its upstream is asked, by instructions."""

REQUESTS = 50_000


def queue(rate: float, share: float, upstream: float) -> tuple[float, float]:
    """Seconds that are added, the median and the 99th percentile, where `rate` requests per second take `share` of the
    server, which is less than 1, and `upstream` seconds of each are waited elsewhere.
    """
    arrivals = random.Random(rate)
    work = share / rate
    moment, free = 0.0, 0.0
    added = []
    under_way: deque[tuple[float, float]] = deque()  # when the upstream answers, and when the request came
    for _ in range(REQUESTS):
        moment += arrivals.expovariate(rate)
        while under_way and under_way[0][0] <= moment:
            back, came = under_way.popleft()
            free = max(free, back) + work * (1 - FIRST_PART)
            added.append(free - came - upstream)
        free = max(free, moment) + work * FIRST_PART
        under_way.append((free + upstream, moment))
    return statistics.median(added), p99(added)
