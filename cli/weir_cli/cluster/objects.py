"""The cluster → `Observed`, as far as the user may see it. Reads no Secret.

The API server is asked first: a user who may list an object everywhere sees everything, others see their own
namespaces, and a note says so. The statuses that the operator has written show which Secrets exist: a stand-in takes
the place of each value, so that the compiler judges as it does there. An unreadable tier has a stand-in as well,
because every route to it would be gone otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from weir_cli.cluster.api import Cluster
from weir_cli.cluster.refusals import right
from weir_cli.cluster.services import services_there
from weir_operator.kinds import KINDS, MODEL_TIER, ROUTING_POLICY
from weir_operator.kube.objects import ObjectName
from weir_operator.observe import convert
from weir_operator.observe.observed import Manifest, Observed, SecretKey, by_kind
from weir_operator.observe.tenancy import Consent, Tenancy
from weir_operator.schemas import GROUP
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


def visible(
    cluster: Cluster,
    namespaces: Iterable[str],
    class_name: str,
    tenancy: Tenancy = SERVING,
    *,
    new: Sequence[Manifest] = (),
) -> Visible:
    """The visible objects: those of all namespaces if the user may list them, otherwise those of `namespaces`.

    `new` are objects that are to be applied: tiers that they name and that the user may not read have a stand-in too.
    """
    wanted = sorted({cluster.namespace, *namespaces})
    listed = {kind.kind: _listed(cluster, kind, wanted) for kind in KINDS}
    policies, tiers = listed[ROUTING_POLICY.kind], listed[MODEL_TIER.kind]
    notes = []
    if policies.namespaces is not None:
        seen = ", ".join(policies.namespaces) or "none"
        lacking = right("list", ROUTING_POLICY.plural, GROUP)
        notes.append(f"you may not {lacking}: what follows knows the RoutingPolicies of namespace {seen}")
    named = (*policies.objects, *(it for it in new if it.kind == ROUTING_POLICY.kind))
    read, hidden = _unlisted(cluster, named, tiers, {it.key for it in new if it.kind == MODEL_TIER.kind})
    for name in hidden:
        lacking = right("get", MODEL_TIER.plural, GROUP, name.namespace)
        notes.append(f"cannot be checked: you may not read ModelTier {name} ({lacking})")
    known, all_namespaces = cluster.namespaces(wanted)
    if not all_namespaces:
        lacking, seen = right("list", "namespaces"), ", ".join(known) or "none"
        notes.append(f"you may not {lacking}: grants, callers and consents are checked for namespace {seen} only")
    tiers_read = [*tiers.objects, *read]
    services, slices = services_there(tiers_read)
    stand_ins = (stand_in(name, named, class_name) for name in hidden)
    observed = Observed(
        manifests=by_kind((*(it for found in listed.values() for it in found.objects), *read, *stand_ins)),
        namespaces={name: it.labels for name, it in known.items()} if known or all_namespaces else None,
        accepts={name: it.accepts for name, it in known.items() if it.accepts},
        tenancy=tenancy,
        environment={key: str(key) for tier in tiers_read for key in credentials_there(tier)},
        services=services,
        slices=slices,
        class_name=class_name,
    )
    return Visible(observed, tuple(notes), frozenset(map(str, hidden)))


class _Listed(NamedTuple):
    """The objects of one kind."""

    objects: list[Manifest]
    namespaces: list[str] | None  # the ones that they are of; None: all


def _listed(cluster: Cluster, kind: Kind, namespaces: Sequence[str]) -> _Listed:
    if cluster.may("list", kind.plural):
        return _Listed(list(cluster.all(kind, None)), None)
    mine = [it for it in namespaces if cluster.may("list", kind.plural, namespace=it)]
    return _Listed(list(cluster.all(kind, mine)), mine)


def _unlisted(
    cluster: Cluster, policies: Iterable[Manifest], tiers: _Listed, new: Collection[ObjectName]
) -> tuple[list[Manifest], list[ObjectName]]:
    """Tiers that policies name in namespaces that we may not list: those that we may read, and those that we may not.

    A tier that is not there at all is in neither.
    """
    if tiers.namespaces is None:
        return [], []
    wanted = {name for policy in policies for name in tiers_of(policy) if name.namespace not in tiers.namespaces}
    read, hidden = [], []
    for name in sorted(wanted - set(new)):
        if not cluster.may("get", MODEL_TIER.plural, namespace=name.namespace, name=name.name):
            hidden.append(name)
        elif (body := cluster.get_or_none(MODEL_TIER, name)) is not None:
            read.append(convert.manifest(MODEL_TIER.kind, body))
    return read, hidden


def credentials_there(tier: Manifest) -> Iterator[SecretKey]:
    """Those of its backends of which the operator has not said that it cannot use them."""
    status = tier.status if isinstance(tier.status, Mapping) else {}
    bad = {it["name"] for it in status.get("backends") or () if it.get("reason") in _SECRET_REASONS}
    for backend in tier.spec.get("backends") or ():
        reference = (backend.get("credentials") or {}).get("secretRef")
        if reference and backend["name"] not in bad:
            yield SecretKey(tier.namespace, reference["name"], reference["key"])


def tiers_of(policy: Manifest) -> Iterator[ObjectName]:
    """The tiers that a policy names."""
    spec = policy.spec
    references = [it for route in spec.get("routes") or () for it in route["tiers"]]
    references += filter(None, (spec.get("baseline"), (spec.get("override") or {}).get("tier")))
    return _named(policy, references)


def _named(policy: Manifest, references: Iterable[Mapping[str, Any]]) -> Iterator[ObjectName]:
    return (ObjectName(it.get("namespace") or policy.namespace, it["name"]) for it in references)


def stand_in(name: ObjectName, policies: Iterable[Manifest], class_name: str) -> Manifest:
    """A tier of which only the name is known: it grants all, and has backends that all `policies` can use."""
    labels: list[dict[str, str]] = [{}]
    for policy in policies:
        for route in policy.spec.get("routes") or ():
            if name in _named(policy, route["tiers"]):
                _satisfy(((route.get("when") or {}).get("require") or {}).get("labels") or {}, labels)
    backends = [
        {"name": f"hidden-{number}" if number else "hidden", "provider": "OpenAI", "model": HIDDEN, "labels": it}
        for number, it in enumerate(labels)
    ]
    spec: dict[str, Any] = {"className": class_name, "grants": [{"namespaces": {"from": "All"}}], "backends": backends}
    return Manifest(MODEL_TIER.kind, *name, spec=spec)


def _satisfy(required: Mapping[str, str], labels: list[dict[str, str]]) -> None:
    """Adds `required` to the first labels that it does not contradict."""
    for it in labels:
        if all(it.get(key, value) == value for key, value in required.items()):
            it.update(required)
            return
    labels.append(dict(required))
