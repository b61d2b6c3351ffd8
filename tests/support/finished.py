"""Requests that have ended, as sinks get them: `finished(outcome="ok", dollars=0.25)`, `refused(error)`."""

from __future__ import annotations

from typing import Any

import msgspec

from support.decisions import CALLER, decision_of
from weir_router.contract import Policy, Route
from weir_router.decide.types import Choice
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptRecord, WeirError
from weir_router.record.finished import NOTHING, Bill, Finished

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
    policy: str | Policy = "a/p",
    route: str | None = "r",
    feature: str | None = None,
    routes: tuple[Route, ...] = (),
    **changes: Any,
) -> Finished:
    """One that was answered by the backend `b` of `llm/t`; `changes` are other fields of it, of its bill, or of its
    decision.
    """
    if isinstance(policy, str):
        namespace, _, name = policy.partition("/")
        policy = Policy(namespace=namespace, name=name, models=("auto",), callers=(), routes=routes)
    choice = Choice(route=route, candidates=(), skipped=(), reason="")
    of_decision = {it: changes.pop(it) for it in ("complexity",) if it in changes}
    decision = decision_of(choice, policy, **of_decision)
    decision = msgspec.structs.replace(decision, asked=msgspec.structs.replace(decision.asked, feature=feature))
    of_bill = {it: changes.pop(it) for it in _BILL if it in changes}
    fields: dict[str, Any] = {
        "id": "weir-1",
        "path": "/v1/chat/completions",
        "outcome": "ok",
        "seconds": 1.0,
        "status": 200,
        "error": None,
        "caller": msgspec.structs.replace(CALLER, namespace=policy.namespace),
        "model": None,
        "stream": False,
        "ask": None,
        "policy": policy,
        "policy_key": policy.key,
        "decision": decision,
        "tier": "llm/t",
        "backend": "b",
        "attempts": [AttemptRecord("llm/t", "b", "ok", 1.0)],
        "over_quota": (),
        "bill": Bill(**(_BILL | of_bill)),
        "ttft": 0.3,
    }
    return Finished(**(fields | changes))


def refused(error: WeirError) -> Finished:
    """One that was refused before its caller was known."""
    nothing = dict.fromkeys(("caller", "model", "ask", "policy", "policy_key", "decision", "tier", "backend", "ttft"))
    ended: dict[str, Any] = {"outcome": "refused", "seconds": 0.5, "status": error.status, "error": error}
    ended |= {"stream": False, "attempts": (), "over_quota": (), "bill": NOTHING}
    return Finished("weir-1", "/v1/messages", **ended, **nothing)
