"""Figures of a row, from callers' results and the requests that reached the fleet. Pure; used by `run`, `verdict`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from bench.faults.callers import Call, Got
from bench.faults.fleet import SAMPLE, Sample
from bench.faults.rows import FIRST, FLEET, Row

QUIET = 3.0
"""Seconds with at most one request, a probe, after which a backend counts as left alone."""
RETURN_WINDOW, RETURN_SHARE = 5.0, 0.7
"""Seconds over which, and share of its calm traffic at which, a backend counts as back."""
BACK = 2.0
"""Seconds after the first request to a backend that is well again in which others may still fail: all were out."""


class Moments(msgspec.Struct, frozen=True):
    """Moments at which the phases of a run began, by the loop's clock."""

    start: float
    ill: float
    well: float
    end: float


class Figures(msgspec.Struct, kw_only=True):
    """One run of one row; shares in per cent, times in seconds."""

    row: str
    seed: int
    requests: int
    errors: float
    broken: float
    truncated: int
    ttft_p50: float | None
    ttft_p99: float | None
    gap_p99: float | None
    lag: float | None  # p99 of how late this run's own timers were: above a little the machine was too busy
    attempts: float  # per request
    sick_attempts: int  # at sick backends during the fault
    eject: float | None = None
    probe: float | None = None
    full_return: float | None = None
    worst_wait: float | None = None  # the longest time to first content
    moved: float | None = None  # after a DNS change, until the last request at the old address


def figures(row: Row, seed: int, calls: Sequence[Call], samples: Sequence[Sample], at: Moments) -> Figures:
    """All that a run shows."""
    traffic = Traffic(samples)
    counted = calls
    first_back = traffic.first_after(row.sick, at.well) if row.sick else None
    if row.quiet_after:  # without any backend, errors are the right answer
        counted = [call for call in calls if call.started < at.ill or call.started > (first_back or at.end) + BACK]
    ttft = [call.content - call.started for call in calls if call.content is not None]
    sick = row.sick if row.fault or row.front else ()
    return Figures(
        row=row.name,
        seed=seed,
        requests=len(calls),
        errors=_share(counted, Got.ERROR),
        broken=_share(counted, Got.BROKEN),
        truncated=sum(call.got is Got.TRUNCATED for call in calls),
        ttft_p50=quantile(ttft, 0.5),
        ttft_p99=quantile(ttft, 0.99),
        gap_p99=quantile([call.gap for call in calls if call.got is Got.ANSWER and call.streamed], 0.99),
        lag=quantile([later.at - it.at - SAMPLE for it, later in pairwise(samples)], 0.99),
        attempts=traffic.between(FLEET, at.start, at.end + 60) / max(1, len(calls)),
        sick_attempts=traffic.between(sick, at.ill, at.well),
        eject=traffic.quiet_after(sick, at.ill, at.well) if sick else None,
        probe=_probe(row, traffic, at, first_back),
        full_return=_full_return(row, traffic, at) if sick else None,
        worst_wait=max(ttft, default=None),
    )


class Traffic:
    """Cumulative counts, asked for moments."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._times = [sample.at for sample in samples]

    def count(self, names: Sequence[str], at: float) -> int:
        """Requests to these models up to a moment."""
        sample = self._samples[min(bisect_left(self._times, at), len(self._samples) - 1)]
        return sum(sample.requests[name] for name in names)

    def between(self, names: Sequence[str], start: float, end: float) -> int:
        """Requests to these models."""
        return self.count(names, end) - self.count(names, start)

    def first_after(self, names: Sequence[str], start: float) -> float | None:
        """The moment of the next request to any of these models."""
        before = self.count(names, start)
        later = self._samples[bisect_left(self._times, start) :]
        return next((it.at for it in later if sum(it.requests[name] for name in names) > before), None)

    def last_before(self, names: Sequence[str], end: float) -> float:
        """The moment of the last request to any of these models."""
        total = self.count(names, end)
        return next(it.at for it in self._samples if sum(it.requests[name] for name in names) >= total)

    def quiet_after(self, names: Sequence[str], start: float, end: float) -> float | None:
        """Seconds from `start` until each gets at most a probe for a while; None: not before `end`."""
        moments = [at for at in self._times if start <= at <= end - QUIET]
        return next(
            (at - start for at in moments if all(self.between((name,), at, at + QUIET) <= 1 for name in names)), None
        )


def _probe(row: Row, traffic: Traffic, at: Moments, first_back: float | None) -> float | None:
    """Seconds from recovery, or the end of an ejection, to the first request."""
    if first_back is None:
        return None
    held_until = traffic.last_before(row.sick, at.well) + row.held if row.held else at.well
    return max(0.0, first_back - max(at.well, held_until))


def _full_return(row: Row, traffic: Traffic, at: Moments) -> float | None:
    def share(start: float, end: float) -> float:
        whole = traffic.between(FIRST, start, end)
        return traffic.between(row.sick, start, end) / whole if whole else 0.0

    calm, moment = share(at.start, at.ill), at.well
    while moment + RETURN_WINDOW <= at.end:
        if share(moment, moment + RETURN_WINDOW) >= RETURN_SHARE * calm:
            return moment - at.well
        moment += 0.5
    return None


def _share(calls: Sequence[Call], got: Got) -> float:
    return 100 * sum(call.got is got for call in calls) / max(1, len(calls))


def quantile(values: Sequence[float], q: float) -> float | None:
    """The quantile by nearest rank; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else None
