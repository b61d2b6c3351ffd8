"""All compiled tiers together: those that have room go into the config, with their endpoints and credentials. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from weir_operator.compile.room import CREDENTIALS, TIERS, crowded, left_out, size, weight
from weir_operator.compile.step import Around, Compiled
from weir_operator.kinds.modeltier.compile import ENDPOINTS, CompiledTier
from weir_operator.kube.crowding import Part
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest
from weir_router.contract import Tier

CREDENTIAL_NAME = 150
"""Bytes of a credential's name in the Secret of all of them, where names count twice."""

Manifests = Mapping[ObjectName, Manifest]


def add_tiers(
    compiled: Compiled, tiers: dict[ObjectName, CompiledTier], manifests: Manifests, around: Around
) -> Compiled:
    """`compiled` with the tiers. A tier that has no room, or a credential of it, is removed from `tiers`."""

    def endpoints(*question: object) -> tuple[str, ...]:
        return tuple(around.look(ENDPOINTS, *question))

    expanded = {name: tier.expanded(endpoints) for name, tier in tiers.items()}
    parts = [_part(manifests[name], _size(tier, expanded[name])) for name, tier in tiers.items()]
    out = dict(left_out(parts, TIERS))
    out |= _without_credentials({name: tier for name, tier in tiers.items() if name not in out}, manifests)
    for name in out:
        del tiers[name]
    config = msgspec.structs.replace(compiled.config, tiers={str(name): expanded[name] for name in sorted(tiers)})
    credentials = {hashed: value for tier in tiers.values() for hashed, value in tier.credentials.items()}
    return replace(
        compiled,
        config=config,
        secrets=msgspec.structs.replace(compiled.secrets, credentials=credentials),
        problems=(*compiled.problems, *(crowded(manifests[name], why, "tiers") for name, why in out.items())),
    )


def _part(manifest: Manifest, bytes_: int) -> Part:
    return Part(manifest.key, manifest.created, weight(manifest, bytes_))


def _size(tier: CompiledTier, expanded: Tier) -> int:
    return tier.size if tier.tier is expanded else size(expanded)


def _without_credentials(tiers: Mapping[ObjectName, CompiledTier], manifests: Manifests) -> dict[ObjectName, str]:
    """The tiers of which a credential has no room, each with the reason."""
    parts: dict[ObjectName, Part] = {}  # a credential counts once in a namespace, as old as the oldest tier that has it
    for it in sorted((manifests[name] for name in tiers), key=lambda it: (it.created, it.key)):
        for hashed, value in tiers[it.key].credentials.items():
            name = ObjectName(it.namespace, hashed)
            parts.setdefault(name, Part(name, it.created, len(value) + CREDENTIAL_NAME))
    out = left_out(parts.values(), CREDENTIALS)
    named = ((it, ObjectName(it.namespace, hashed)) for it, tier in tiers.items() for hashed in tier.credentials)
    return {it: out[name] for it, name in named if name in out} if out else {}
