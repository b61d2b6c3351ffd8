"""The policy that serves a caller who asks for a model. Pure; called once per request by `serve`.

A policy of the caller's own namespace wins over one from elsewhere that names the caller. Among those, the exact name
of a model wins over a prefix of it, and the longer prefix over the shorter; `*` is the empty prefix. Between equals
the older wins, then namespace/name decide. A policy that is not ready claims all the same: falling through to another
namespace's policy would silently change who pays and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator

from weir_router.contract import CompiledConfig, Policy
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import named


class PolicyIndex:
    """The policies of one config by model name, each list in order of precedence."""

    def __init__(self, config: CompiledConfig) -> None:
        self._by_model: dict[str, list[Policy]] = {}
        self._by_prefix: dict[str, list[Policy]] = {}
        self._behind: dict[str, list[Policy]] = {}  # names of backends' models that a prefix matches
        self.policies = sorted(config.policies, key=lambda policy: policy.precedence)
        for policy in self.policies:
            for model in policy.models:
                self._by_model.setdefault(model, []).append(policy)
            for prefix in policy.prefixes:
                self._by_prefix.setdefault(prefix, []).append(policy)
            for name in _real_names(policy, config):
                self._behind.setdefault(name, []).append(policy)
        self.lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)
        """Characters of prefixes, longest first; empty: no policy has one."""

    @property
    def models(self) -> list[str]:
        """Every model name that can be listed, sorted: those of policies, and of the backends behind prefixes."""
        return sorted({*self._by_model, *self._behind})

    def serving(self, model: str) -> list[Policy]:
        """The policies that serve `model`, older first."""
        return self._by_model.get(model, [])

    def by_prefix(self, model: str) -> Iterator[Policy]:
        """The policies with a prefix of `model`, longest prefix first, then older first."""
        for length in self.lengths:
            if length <= len(model):
                yield from self._by_prefix.get(model[:length], ())

    def lists(self, model: str, policy: Policy) -> bool:
        """Whether `policy` may show the name: its own, or a model of its own backends."""
        return model in policy.models or policy in self._behind.get(model, ())


def find_policy(index: PolicyIndex, caller: Caller, model: str) -> Policy | None:
    """The policy that serves `caller` for `model`; None: no policy names both."""
    foreign = None
    for policy in index.serving(model):
        if named(policy.callers, caller):
            if policy.namespace == caller.namespace:
                return policy
            foreign = foreign or policy
    return _by_prefix(index, caller, model, foreign) if index.lengths else foreign


def _by_prefix(index: PolicyIndex, caller: Caller, model: str, foreign: Policy | None) -> Policy | None:
    """The policy, where the caller's own namespace has none with the exact name; `foreign` has it elsewhere."""
    for policy in index.by_prefix(model):
        if named(policy.callers, caller):
            if policy.namespace == caller.namespace:
                return policy
            foreign = foreign or policy
    return foreign


def models_for(index: PolicyIndex, caller: Caller) -> list[str]:
    """The model names that `caller` may ask for and see, sorted."""
    found = ((model, find_policy(index, caller, model)) for model in index.models)
    return [model for model, policy in found if policy is not None and index.lists(model, policy)]


def prefixes_for(index: PolicyIndex, caller: Caller) -> list[str]:
    """The prefixes of further names that `caller` may ask for, as `claude-*`, sorted."""
    policies = [it for it in index.policies if it.prefixes and named(it.callers, caller)]
    return sorted({f"{prefix}*" for it in policies for prefix in it.prefixes})


def largest_request(index: PolicyIndex, caller: Caller) -> int:
    """Bytes of the largest request that a policy accepts from `caller`; 0: none names it."""
    return max((it.largest_request for it in index.policies if named(it.callers, caller)), default=0)


def _real_names(policy: Policy, config: CompiledConfig) -> set[str]:
    """The models of the policy's backends whose names begin with one of its prefixes."""
    if not policy.prefixes:
        return set()
    tiers = [config.tiers[ref.tier] for ref in policy.references() if ref.tier in config.tiers]
    return {it.model for tier in tiers for it in tier.backends if it.model.startswith(policy.prefixes)}
