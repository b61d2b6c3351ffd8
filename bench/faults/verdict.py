"""Whether a row keeps its goals. Pure; used by `bench.faults`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.faults.figures import Figures
from bench.faults.rows import Goals

NEVER = float("inf")

Spread = tuple[float, float, float]  # least, median, most


def spread(runs: Sequence[Figures], figure: Callable[[Figures], float | None]) -> Spread | None:
    """The spread of a figure over the seeds; None if no run has it. Among others, a run without it never got there."""
    values = sorted(NEVER if (value := figure(run)) is None else value for run in runs)
    if values[0] == NEVER:
        return None
    return values[0], values[len(values) // 2], values[-1]


def misses(goals: Goals, runs: Sequence[Figures], calm_ttft: float | None) -> list[str]:
    """Each goal that a run misses, in words. The worst seed counts, but for p99 the median."""
    missed = []

    def check(what: str, value: float | None, limit: float | None) -> None:
        if limit is not None and (value is None or value > limit):
            missed.append(f"{what} {'never' if value in (None, NEVER) else f'{value:.3g}'} > {limit:.3g}")

    def worst(figure: Callable[[Figures], float | None]) -> float:
        return max(NEVER if (value := figure(run)) is None else value for run in runs)

    check("errors %", worst(lambda it: it.errors), goals.errors)
    check("broken %", worst(lambda it: it.broken), goals.broken)
    check("truncated", worst(lambda it: it.truncated), goals.truncated)
    check("attempts per request", worst(lambda it: it.attempts), goals.attempts)
    check("s to eject", worst(lambda it: it.eject), goals.eject)
    check("s to the first probe", worst(lambda it: it.probe), goals.probe)
    if goals.ttft is not None and calm_ttft is not None:
        p99 = spread(runs, lambda it: it.ttft_p99)
        check("TTFT p99 s", p99[1] if p99 else None, goals.ttft * calm_ttft)
    return missed
