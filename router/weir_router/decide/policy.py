"""The policy that serves a caller who asks for a model. Pure; called once per request by `serve`.

A policy of the caller's own namespace wins over one from elsewhere that names the caller; between equals the older,
then by namespace/name. A policy that is not ready claims all the same: falling through to another namespace's policy
would silently change who pays and what is allowed.
"""

from __future__ import annotations

from weir_router.contract import CompiledConfig, Policy
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import named


class PolicyIndex:
    """The policies of one config by model name, each list in order of precedence."""

    def __init__(self, config: CompiledConfig) -> None:
        self._by_model: dict[str, list[Policy]] = {}
        self.policies = sorted(config.policies, key=lambda policy: policy.precedence)
        for policy in self.policies:
            for model in policy.models:
                self._by_model.setdefault(model, []).append(policy)

    @property
    def models(self) -> list[str]:
        """Every model name that any policy serves, sorted."""
        return sorted(self._by_model)

    def serving(self, model: str) -> list[Policy]:
        """The policies that serve `model`, older first."""
        return self._by_model.get(model, [])


def find_policy(index: PolicyIndex, caller: Caller, model: str) -> Policy | None:
    """The policy that serves `caller` for `model`; None: no policy names both."""
    foreign = None
    for policy in index.serving(model):
        if named(policy.callers, caller):
            if policy.namespace == caller.namespace:
                return policy
            foreign = foreign or policy
    return foreign


def models_for(index: PolicyIndex, caller: Caller) -> list[str]:
    """The model names that `caller` may ask for, sorted."""
    return [model for model in index.models if find_policy(index, caller, model) is not None]


def largest_request(index: PolicyIndex, caller: Caller) -> int | None:
    """The largest `requestBytes` of the policies that name `caller`, 0 if none does; None: one of them sets none."""
    largest = 0
    for policy in index.policies:
        if named(policy.callers, caller):
            if policy.max_request_bytes is None:
                return None
            largest = max(largest, policy.max_request_bytes)
    return largest
