"""Whether a status should be written, and when. PURE; used by `weir_operator.status.reporter`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from weir_operator.kube.objects import JSON
from weir_operator.status.conditions import by_type

QUIET_SECONDS = 60.0
"""Seconds between two writes of one status without a new verdict, for example with another count of routers."""

_VERDICT = ("status", "reason", "observedGeneration")


def same(there: Any, wanted: JSON, passing: Iterable[str] = ()) -> bool:
    """Whether `there` says all of `wanted`. Fields of other writers do not count; those that are `passing` are ours,
    and may have to go.
    """
    if not isinstance(there, Mapping):
        return False
    conditions = by_type(there)
    return all(conditions.get(kind) == it for kind, it in by_type(wanted).items()) and all(
        there.get(key) == wanted.get(key) for key in {*wanted, *passing} if key != "conditions"
    )


def write_at(there: Any, wanted: JSON, written: float | None, passing: Iterable[str] = ()) -> float | None:
    """The moment from which `wanted` may be written, `written` being the last such; None: it is there already."""
    if same(there, wanted, passing):
        return None
    before, after = _verdicts(there), _verdicts(wanted)
    if written is None or any(before.get(kind) != it for kind, it in after.items()):
        return 0.0
    return written + QUIET_SECONDS


def _verdicts(status: Any) -> dict[str, list[Any]]:
    return {kind: [it.get(part) for part in _VERDICT] for kind, it in by_type(status).items()}
