"""The part of the config that each ServiceAccount may see. PURE; `weir_operator.distribute.server` hands it out.

The gateway's own ServiceAccount gets the whole class. Any other account gets the view of its namespace: the policies
that name the namespace, and the tiers and secrets of that namespace. A sidecar serves a policy by itself only if every
tier is of its namespace. Of all other policies it gets models and callers, so that it knows what the gateway serves. A
view shows nothing else of other namespaces: no tier, no header that a route looks for, no hash of a value, no count.

Policies of other namespaces may name any namespace, and a replica of the operator holds the view of each. So what is
in a view of other namespaces has a bound. Beyond it the namespace that has most in there gives something up.

A view is built field by field, so a field that is added to the contract is in no view until it is added here. Small
values below (prices, limits, clocks) are shared as they are, and so are a route's conditions except its callers.
`tests/unit/distribute/test_every_field.py` demands a decision for each field of all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Set

from msgspec.structs import replace

from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.crowding import Part, crowded_out
from weir_operator.kube.encoding import encoded
from weir_operator.kube.objects import ObjectName
from weir_router.contract import (
    Backend,
    CallerKey,
    CallerRule,
    CompiledConfig,
    Policy,
    Route,
    Secrets,
    Tier,
    When,
)

FOREIGN_POLICIES = 256 * 1024
"""Bytes of a view that policies of other namespaces may have: a few hundred ordinary ones."""


class Views:
    """The views of one config, indexed by namespace once: a view costs as much as it holds, not as the config holds."""

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
        """The namespace whose view `account` gets; None: the whole class."""
        return None if account == self._gateway else account.namespace

    def of(self, account: ServiceAccount, *, bounded: bool = False) -> tuple[CompiledConfig, Secrets]:
        """The view of `account`. `bounded`: what other namespaces have in it is cut to the room for that."""
        namespace = self.scope(account)
        return (self._config, self._secrets) if namespace is None else self._of_namespace(namespace, bounded)

    def _of_namespace(self, namespace: str, bounded: bool) -> tuple[CompiledConfig, Secrets]:
        whole = self._config
        positions = sorted({*self._policies.get(None, ()), *self._policies.get(namespace, ())})
        policies = tuple(_policy(whole.policies[position], namespace) for position in positions)
        if bounded:
            crowded = _crowded(policies, namespace)
            policies = tuple(it for it in policies if (it.namespace, it.name) not in crowded)
        used = sorted({ref.tier for policy in policies for ref in policy.references() if ref.tier in whole.tiers})
        tiers = {key: _tier(whole.tiers[key]) for key in used}
        objects = (*(f"ModelTier/{key}" for key in tiers), *(f"RoutingPolicy/{it.key}" for it in policies))
        config = CompiledConfig(
            api_version=whole.api_version,
            revision=whole.revision,
            class_name=whole.class_name,
            tiers=tiers,
            policies=policies,
            generations={name: whole.generations[name] for name in objects if name in whole.generations},
            anonymous_namespace=namespace if whole.anonymous_namespace == namespace else None,
            tokens=whole.tokens,
            routers=whole.routers,
            catalogue_date=whole.catalogue_date,
            hosts=whole.hosts,
            gateway_authorities=whole.gateway_authorities,
        )
        hashes = {it.credential for tier in tiers.values() for it in tier.backends if it.credential is not None}
        values = {it: self._secrets.credentials[it] for it in sorted(hashes) if it in self._secrets.credentials}
        return config, Secrets(credentials=values, caller_keys=self._keys.get(namespace, {}))


def _crowded(policies: Iterable[Policy], own: str) -> Set[tuple[str, str]]:
    """The policies of other namespaces that have no room in the view of `own`."""
    foreign = (it for it in policies if it.namespace != own)
    parts = (Part(ObjectName(it.namespace, it.name), it.created, len(encoded(it))) for it in foreign)
    return crowded_out(parts, FOREIGN_POLICIES)


def _named(rules: tuple[CallerRule, ...]) -> set[str | None]:
    """The namespaces that `rules` name; None stands for every namespace."""
    return {name for rule in rules for name in (rule.namespaces if rule.namespaces is not None else (None,))}


def _policy(policy: Policy, namespace: str) -> Policy:
    """The policy for callers of `namespace`, without the rules for other callers. Where no router of `namespace` can
    serve it, only its models, callers and precedence are left.
    """
    narrowed = _narrowed(policy, namespace)
    if narrowed.is_complete(namespace):
        return narrowed
    return Policy(
        namespace=policy.namespace,
        name=policy.name,
        models=policy.models,
        prefixes=policy.prefixes,
        callers=narrowed.callers,
        created=policy.created,
        rank=policy.rank,  # otherwise a sidecar would prefer another policy than the gateway does
    )


def _narrowed(policy: Policy, namespace: str) -> Policy:
    # A route for other callers is left out: without its rules it would be for everyone.
    routes = tuple(_route(it, namespace) for it in policy.routes if _reachable(it, namespace))
    return Policy(
        namespace=policy.namespace,
        name=policy.name,
        models=policy.models,
        prefixes=policy.prefixes,
        callers=_rules(policy.callers, namespace),
        routes=routes,
        not_ready=policy.not_ready,
        created=policy.created,
        rank=policy.rank,
        mode=policy.mode,
        baseline=policy.baseline,
        min_confidence=policy.min_confidence,
        failover=policy.failover,
        queue=policy.queue,
        override=policy.override,
        limits=policy.limits,
        max_request_bytes=policy.max_request_bytes,
        prompt_logging=policy.prompt_logging,
    )


def _route(route: Route, namespace: str) -> Route:
    return Route(name=route.name, tiers=route.tiers, when=_when(route.when, namespace), require=route.require)


def _when(when: When, namespace: str) -> When:
    """Every condition: without one, a sidecar would send more requests along the route than the gateway does."""
    return replace(when, callers=_rules(when.callers, namespace))


def _reachable(route: Route, namespace: str) -> bool:
    return not route.when.callers or bool(_rules(route.when.callers, namespace))


def _rules(rules: tuple[CallerRule, ...], namespace: str) -> tuple[CallerRule, ...]:
    """The rules that match callers of `namespace`, as if they named no other namespace."""
    only = frozenset({namespace})
    return tuple(
        CallerRule(
            namespaces=None if rule.namespaces is None else only,
            service_accounts=rule.service_accounts,
            api_keys=rule.api_keys,
        )
        for rule in rules
        if rule.namespaces is None or namespace in rule.namespaces
    )


def _tier(tier: Tier) -> Tier:
    return Tier(
        namespace=tier.namespace,
        name=tier.name,
        selection=tier.selection,
        backends=tuple(map(_backend, tier.backends)),
    )


def _backend(backend: Backend) -> Backend:
    return Backend(
        name=backend.name,
        provider=backend.provider,
        base_url=backend.base_url,
        model=backend.model,
        credential=backend.credential,
        price=backend.price,
        limits=backend.limits,
        capabilities=backend.capabilities,
        objectives=backend.objectives,
        timeouts=backend.timeouts,
        breaker=backend.breaker,
        parameters=backend.parameters,
        labels=backend.labels,
        state=backend.state,
        weight=backend.weight,
        transport=backend.transport,
        traits=backend.traits,
        extra=backend.extra,
        endpoint=backend.endpoint,
        formats=backend.formats,
        endpoints=backend.endpoints,
        base_model=backend.base_model,
        account=backend.account,
    )
