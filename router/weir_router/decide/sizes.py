"""The sizes that a request of one model's name can get, for `GET /v1/models`. Pure; used by `serve.models`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from weir_router.contract import (
    CONVERSATIONS,
    Backend,
    BackendState,
    CompiledConfig,
    Complexity,
    Mode,
    Policy,
    Route,
    TierRef,
)
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import conditions_of
from weir_router.contract.facts import Facts
from weir_router.decide.fit import lacks_label
from weir_router.dialects.listed import Listed

OF_CALLER = frozenset({"callers", "user_tiers"})
"""Conditions that hold for each or for none of a caller's requests."""


def listed(name: str, policy: Policy, caller: Caller, config: CompiledConfig, wall: float) -> Listed:
    """The name with the largest context and the longest answer that a backend is known to have which may serve it. A
    caller who sends as much is routed there. `wall`: seconds since the epoch.
    """
    contexts, outputs = [], []
    for backend in _backends(policy, caller, config, wall):
        if backend.limits.context_tokens is not None:
            contexts.append(backend.limits.context_tokens)
        if backend.limits.output_tokens is not None:
            outputs.append(backend.limits.output_tokens)
    return Listed(name, max(contexts, default=None), max(outputs, default=None))


def _backends(policy: Policy, caller: Caller, config: CompiledConfig, wall: float) -> Iterator[Backend]:
    """The backends to which the policy may send a request of the caller."""
    for ref, require in _tiers(policy, caller, wall):
        tier = config.tiers.get(ref.tier)
        for backend in () if tier is None else tier.backends:
            if backend.state is not BackendState.DISABLED and lacks_label(backend, require) is None:
                yield backend


def _tiers(policy: Policy, caller: Caller, wall: float) -> Iterator[tuple[TierRef, Mapping[str, str]]]:
    """The tiers, each with the labels that its route requires."""
    if policy.override is not None and wall < policy.override.until:
        yield policy.override.tier, {}
    elif policy.mode is Mode.OBSERVE and policy.baseline is not None:
        yield policy.baseline, {}
    else:
        facts = Facts(caller, policy.example, Complexity.SIMPLE, 0, wall=wall)
        routes = [route for route in policy.routes if _may_match(route, facts)]
        talking = [route for route in routes if (route.when.operations or CONVERSATIONS) & CONVERSATIONS]
        for route in talking or routes:  # a name may be for embeddings alone
            yield from ((ref, route.require) for ref in route.tiers)


def _may_match(route: Route, facts: Facts) -> bool:
    """Whether the route is for some request of the caller."""
    conditions = [it for it in conditions_of(route.when) if it.field in OF_CALLER]
    return all(it.matches(route.when, facts) for it in conditions)
