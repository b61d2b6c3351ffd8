"""The cluster → `Observed`, as far as the user may see it. Reads no Secret.

The API server is asked first: a user who may list an object everywhere sees everything, others see their own
namespaces, and a note says so. The statuses that the operator has written show which Secrets exist: a stand-in takes
the place of each value, so that the compiler judges as it does there. An unreadable tier has a stand-in as well,
because every route to it would be gone otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir_cli.cluster.api import Cluster
from weir_cli.cluster.services import services_there
from weir_operator.kinds import KINDS, MODEL_TIER, ROUTING_POLICY
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, Observed, SecretKey, by_kind
from weir_operator.observe.tenancy import Consent, Tenancy
from weir_operator.schemas.common import Kind

SERVING = Tenancy(Consent.WARN)
"""Rules by which a missing consent changes nothing: the installation's own are not known here."""

HIDDEN = "(hidden)"
"""Model of the one backend that stands for those of a tier that we may not read."""

_SECRET_REASONS = frozenset(
    {"SecretNotFound", "SecretNotLabelled", "SecretKeyNotFound", "SecretValueTooLarge", "SecretValueUnusable"}
)


@dataclass(frozen=True)
class Visible:
    """The objects that the user may see."""

    observed: Observed
    notes: tuple[str, ...]  # of what we do not see
    hidden: frozenset[str] = frozenset()  # tiers that we may not read


def visible(cluster: Cluster, namespaces: Iterable[str], class_name: str, tenancy: Tenancy = SERVING) -> Visible:
    """The visible objects: those of all namespaces if the user may list them, otherwise those of `namespaces`."""
    wanted = sorted({cluster.namespace, *namespaces})
    listed = {kind.kind: _listed(cluster, kind, wanted) for kind in KINDS}
    policies, all_policies = listed[ROUTING_POLICY.kind]
    tiers, all_tiers = listed[MODEL_TIER.kind]
    notes = []
    if not all_policies:
        seen = ", ".join(sorted({it.namespace for it in policies})) or "none"
        notes.append(f"you may not list RoutingPolicies of all namespaces: what follows knows those of {seen}")
    hidden = {} if all_tiers else _stood_in(policies, {str(it.key) for it in tiers}, class_name)
    if hidden:
        notes.append(f"you may not read ModelTier {', '.join(hidden)}: their backends are unknown")
    known = cluster.namespaces()
    if known is None:
        notes.append("you may not list namespaces: grants and callers by label match none, and no consent is known")
    services, slices = services_there(tiers)
    observed = Observed(
        manifests=by_kind((*(it for found, _ in listed.values() for it in found), *hidden.values())),
        namespaces=None if known is None else {name: it.labels for name, it in known.items()},
        accepts={name: it.accepts for name, it in (known or {}).items() if it.accepts},
        tenancy=tenancy,
        environment={key: str(key) for tier in tiers for key in credentials_there(tier)},
        services=services,
        slices=slices,
        class_name=class_name,
    )
    return Visible(observed, tuple(notes), frozenset(hidden))


def _listed(cluster: Cluster, kind: Kind, namespaces: Sequence[str]) -> tuple[list[Manifest], bool]:
    """The objects, and whether that is all there are."""
    if cluster.may("list", kind.plural):
        return list(cluster.all(kind, None)), True
    mine = [it for it in namespaces if cluster.may("list", kind.plural, namespace=it)]
    return list(cluster.all(kind, mine)), False


def credentials_there(tier: Manifest) -> Iterator[SecretKey]:
    """Those of its backends of which the operator has not said that it cannot use them."""
    status = tier.status if isinstance(tier.status, Mapping) else {}
    bad = {it["name"] for it in status.get("backends") or () if it.get("reason") in _SECRET_REASONS}
    for backend in tier.spec.get("backends") or ():
        reference = (backend.get("credentials") or {}).get("secretRef")
        if reference and backend["name"] not in bad:
            yield SecretKey(tier.namespace, reference["name"], reference["key"])


def _stood_in(policies: Iterable[Manifest], known: set[str], class_name: str) -> dict[str, Manifest]:
    """A stand-in for each tier that is named and not known."""
    wanted = {name for policy in policies for name in tiers_of(policy) if str(name) not in known}
    return {str(name): _stand_in(name, class_name) for name in sorted(wanted)}


def tiers_of(policy: Manifest) -> Iterator[ObjectName]:
    """The tiers that a policy names."""
    spec = policy.spec
    references = [it for route in spec.get("routes") or () for it in route["tiers"]]
    references += filter(None, (spec.get("baseline"), (spec.get("override") or {}).get("tier")))
    return (ObjectName(it.get("namespace") or policy.namespace, it["name"]) for it in references)


def _stand_in(name: ObjectName, class_name: str) -> Manifest:
    backend: dict[str, Any] = {"name": "hidden", "provider": "OpenAI", "model": HIDDEN}
    spec = {"className": class_name, "grants": [{"namespaces": {"from": "All"}}], "backends": [backend]}
    return Manifest(MODEL_TIER.kind, *name, spec=spec)
