"""Whether a backend keeps its objectives, without flapping. Pure; used by `health.board`.

A backend is ranked behind when a figure is more than 10 % worse than its objective, and comes back when the figure
meets the objective itself. A backend that is ranked behind gets no requests, so its figures would never change: after
ten seconds without a sample, one request at a time may try it as if it kept them.
"""

from __future__ import annotations

from weir_router.contract import Objectives

MARGIN = 1.1
"""Factor by which a figure must be worse than the objective to miss it; the band between is the hysteresis."""
SAMPLES = 5
"""Samples before a figure is believed; until then the objective counts as kept."""
TRIAL_AFTER = 10.0
"""Seconds without a sample after which one request at a time is sent as a trial."""


def misses(missing: bool, objectives: Objectives, ttft: float | None, tokens_per_second: float | None) -> bool:
    """The new verdict, given the old one (`missing`) and the averages; a figure of None is not known yet."""
    margin = 1.0 if missing else MARGIN
    late = objectives.ttft is not None and ttft is not None and ttft > objectives.ttft * margin
    floor = objectives.tokens_per_second
    return late or (floor is not None and tokens_per_second is not None and tokens_per_second < floor / margin)
