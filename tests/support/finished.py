"""Requests that have ended, as sinks get them: `finished(outcome="ok", dollars=0.25)`."""

from __future__ import annotations

from typing import Any

import msgspec

from support.decisions import CALLER, decision_of
from weir_router.contract import Policy, Route
from weir_router.decide.types import Choice
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptRecord
from weir_router.record.finished import Bill, Finished

_BILL = {
    "usage": Usage(input=100, cached_input=40, output=10),
    "upstream_model": "m",
    "dollars": 0.25,
    "price_source": None,
    "baseline_dollars": 1.0,
    "tokens_per_second": 12.0,
}


def finished(
    *,
    policy: str = "a/p",
    route: str | None = "r",
    feature: str | None = None,
    routes: tuple[Route, ...] = (),
    **changes: Any,
) -> Finished:
    """One that was answered by the backend `b` of `llm/t`; `changes` are other fields of it, of its bill, or of its
    decision.
    """
    namespace, _, name = policy.partition("/")
    chosen = Policy(namespace=namespace, name=name, models=("auto",), callers=(), routes=routes)
    choice = Choice(route=route, candidates=(), skipped=(), reason="")
    of_decision = {it: changes.pop(it) for it in ("complexity",) if it in changes}
    decision = decision_of(choice, chosen, **of_decision)
    decision = msgspec.structs.replace(decision, asked=msgspec.structs.replace(decision.asked, feature=feature))
    of_bill = {it: changes.pop(it) for it in _BILL if it in changes}
    fields: dict[str, Any] = {
        "id": "weir-1",
        "path": "/v1/chat/completions",
        "outcome": "ok",
        "seconds": 1.0,
        "status": 200,
        "caller": msgspec.structs.replace(CALLER, namespace=namespace),
        "policy": chosen,
        "policy_key": chosen.key,
        "decision": decision,
        "tier": "llm/t",
        "backend": "b",
        "attempts": [AttemptRecord("llm/t", "b", "ok", 1.0)],
        "bill": Bill(**(_BILL | of_bill)),
        "ttft": 0.3,
    }
    return Finished(**(fields | changes))
