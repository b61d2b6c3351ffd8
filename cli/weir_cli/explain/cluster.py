"""The subject of `weir explain`: a directory, or a RoutingPolicy of a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from weir_cli.cluster.flags import Connection
from weir_cli.cluster.names import place
from weir_cli.cluster.opening import cluster
from weir_cli.shared.output import Exit, fail
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS, MODEL_TIER, ROUTING_POLICY
from weir_operator.observe.observed import Observed
from weir_operator.observe.tenancy import Tenancy
from weir_operator.schemas.common import DEFAULT_CLASS
from weir_router.contract import CompiledConfig, Policy
from weir_router.contract.caller import Caller
from weir_router.decide.policy import PolicyIndex, find_policy


class Asked(NamedTuple):
    """Everything but the prompt."""

    config: CompiledConfig
    who: Caller
    model: str  # where the request names none
    policy: Policy | None  # None: the one that serves the caller
    notes: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()  # tiers that stand-ins take the place of


def of_policy(
    subject: str, who: Caller, namespace: str | None, model: str | None, connection: Connection, rules: Tenancy
) -> Asked:
    """About the policy NAMESPACE/NAME, or NAME in the namespace of the connection.

    `namespace` is the caller's; without it the caller is one of the policy's.
    """
    with cluster(connection) as there:
        from weir_cli.cluster.objects import tiers_of, visible
        from weir_operator.observe import convert

        name = place(subject, "RoutingPolicy", there.namespace)
        text = str(name)
        manifest = convert.manifest(ROUTING_POLICY.kind, there.get(ROUTING_POLICY, name))
        near = {name.namespace, *(tier.namespace for tier in tiers_of(manifest))}
        seen = visible(there, near, manifest.spec.get("className", DEFAULT_CLASS), rules)
    compiled = compile_config(seen.observed, KINDS, catalogue=Catalogue.load(), now=time.time())
    policy = next((it for it in compiled.config.policies if it.key == text), None)
    if policy is None:
        raise fail(f"RoutingPolicy {text} cannot be read; kubectl describe rp {name.name} tells.", Exit.PROBLEMS)
    if namespace is None:
        who = msgspec.structs.replace(who, namespace=_home(policy))
    served = find_policy(PolicyIndex(compiled.config), who, model or policy.example)
    notes = [*seen.notes, *_ill(seen.observed)]
    if served is None or served.key != text:
        other = "no policy" if served is None else f"RoutingPolicy {served.key}"
        notes.append(f"{who.namespace}/{who.name} itself would get {other}; see --caller")
    return Asked(compiled.config, who, policy.example, policy, tuple(notes), seen.hidden)


def _home(policy: Policy) -> str:
    """A namespace whose callers may use the policy: its own, if it is one of them."""
    named = [rule.namespaces for rule in policy.callers]
    if None in named or any(policy.namespace in it for it in named if it is not None):
        return policy.namespace
    return min((name for it in named for name in it or ()), default=policy.namespace)


def _ill(observed: Observed) -> Iterator[str]:
    """Backends that routers leave alone now, as the operator has written it down."""
    for tier in observed.of(MODEL_TIER.kind):
        for it in (tier.status or {}).get("backends") or ():
            if it.get("state") in ("Degraded", "Unhealthy"):
                yield f"{tier.key}/{it['name']} is {it['state']} at the moment: {it.get('reason', 'no reason given')}"
