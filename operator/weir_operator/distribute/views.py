"""Who may see which part of the config. PURE; `weir_operator.distribute.server` hands out what this makes.

The gateway's own ServiceAccount gets the whole class. Any other gets what its namespace may use: the policies that name
the namespace, the tiers behind them, and the secrets of that namespace only. What a namespace may not see leaves no
trace: neither a name, nor the hash of a value, nor a count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from weir_operator.kube.accounts import ServiceAccount
from weir_router.contract import CallerKey, CallerRule, CompiledConfig, Policy, Route, Secrets, Tier, TierRef


class Views:
    """The views of one config. Sorted by namespace once, so that a view costs what it holds and not what all hold."""

    def __init__(self, config: CompiledConfig, secrets: Secrets, gateway: ServiceAccount) -> None:
        self._config = config
        self._secrets = secrets
        self._gateway = gateway
        self._policies: dict[str | None, list[int]] = defaultdict(list)  # None: everyone's; positions keep the order
        self._keys: dict[str, dict[str, CallerKey]] = defaultdict(dict)
        for position, policy in enumerate(config.policies):
            for namespace in _named(policy.callers):
                self._policies[namespace].append(position)
        for hashed, key in secrets.caller_keys.items():
            self._keys[key.namespace][hashed] = key

    def scope(self, account: ServiceAccount) -> str | None:
        """What tells views apart: None for the whole class, otherwise a namespace."""
        return None if account == self._gateway else account.namespace

    def of(self, account: ServiceAccount) -> tuple[CompiledConfig, Secrets]:
        """What `account` may see."""
        namespace = self.scope(account)
        return (self._config, self._secrets) if namespace is None else self._of_namespace(namespace)

    def _of_namespace(self, namespace: str) -> tuple[CompiledConfig, Secrets]:
        whole = self._config
        positions = sorted({*self._policies.get(None, ()), *self._policies.get(namespace, ())})
        policies = tuple(_narrowed(whole.policies[position], namespace) for position in positions)
        used = sorted({ref.tier for policy in policies for ref in references(policy) if ref.tier in whole.tiers})
        tiers = {key: _usable(whole.tiers[key], namespace) for key in used}
        objects = (*(f"ModelTier/{key}" for key in tiers), *(f"RoutingPolicy/{it.key}" for it in policies))
        config = msgspec.structs.replace(
            whole,
            tiers=tiers,
            policies=policies,
            generations={name: whole.generations[name] for name in objects if name in whole.generations},
            anonymous_namespace=namespace if whole.anonymous_namespace == namespace else None,
        )
        hashes = {it.credential for tier in tiers.values() for it in tier.backends if it.credential is not None}
        values = {it: self._secrets.credentials[it] for it in sorted(hashes) if it in self._secrets.credentials}
        return config, Secrets(credentials=values, caller_keys=self._keys.get(namespace, {}))


def _named(rules: tuple[CallerRule, ...]) -> set[str | None]:
    """The namespaces that `rules` name; None stands for every namespace."""
    return {name for rule in rules for name in (rule.namespaces if rule.namespaces is not None else (None,))}


def _narrowed(policy: Policy, namespace: str) -> Policy:
    """`policy` as callers of `namespace` meet it; who else may call is nobody's business."""
    # A route for other callers only goes: with its rules taken away it would be for everyone.
    routes = tuple(_route(it, namespace) for it in policy.routes if _reachable(it, namespace))
    return msgspec.structs.replace(policy, callers=_rules(policy.callers, namespace), routes=routes)


def _route(route: Route, namespace: str) -> Route:
    when = msgspec.structs.replace(route.when, callers=_rules(route.when.callers, namespace))
    return msgspec.structs.replace(route, when=when)


def _reachable(route: Route, namespace: str) -> bool:
    return not route.when.callers or bool(_rules(route.when.callers, namespace))


def _rules(rules: tuple[CallerRule, ...], namespace: str) -> tuple[CallerRule, ...]:
    only = frozenset({namespace})
    return tuple(
        rule if rule.namespaces is None else msgspec.structs.replace(rule, namespaces=only)
        for rule in rules
        if rule.namespaces is None or namespace in rule.namespaces
    )


def references(policy: Policy) -> Iterator[TierRef]:
    """Every tier that `policy` may send to, with the limits that hold there."""
    for route in policy.routes:
        yield from route.tiers
    if policy.baseline is not None:
        yield policy.baseline
    if policy.override is not None:
        yield policy.override.tier


def _usable(tier: Tier, namespace: str) -> Tier:
    """`tier` without backends that need another namespace's credential; one without any backend is still there."""
    if tier.namespace == namespace:
        return tier
    return msgspec.structs.replace(tier, backends=tuple(it for it in tier.backends if it.credential is None))
