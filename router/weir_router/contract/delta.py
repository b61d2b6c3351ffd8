"""The difference between two deliveries: of a thousand objects only the one that changed. Pure.

The operator computes it (`difference`), and the router applies it (`updated`). A router asks for one as RFC 3229 says:
its poll has the header `A-IM: weir-delta` beside `If-None-Match`, and the answer 226 holds a `Delta` where an answer
200 holds a `Delivery`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from weir_router.contract.base import Wire, prepare
from weir_router.contract.caller import CallerKey
from weir_router.contract.config import CompiledConfig, Delivery
from weir_router.contract.policy import Policy
from weir_router.contract.secrets import Secrets
from weir_router.contract.tier import Tier

T = TypeVar("T")

DELTA_HEADER = "A-IM"
DELTA_NAME = "weir-delta"
DELTA_STATUS = 226


class DeltaMismatch(Exception):
    """The delta belongs to another delivery than the router has; the router must fetch the whole one."""


class Gone(Wire, frozen=True):
    """Keys of removed entries."""

    tiers: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    generations: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    caller_keys: tuple[str, ...] = ()


class Delta(Wire, frozen=True):
    """A `Delivery` by its difference from an earlier one."""

    base: str  # ETag of the earlier one
    entries: int  # number of entries in all tables of the result; shows a delta that belongs to another delivery
    config: CompiledConfig  # tiers, policies and generations: only new and different ones
    secrets: Secrets = Secrets()  # the same
    gone: Gone = Gone()
    authorities: str | None = None


def difference(base: str, old: Delivery, new: Delivery) -> Delta:
    """The difference that turns `old`, whose ETag is `base`, into `new`."""
    before, after = _tables(old), _tables(new)
    config = msgspec.structs.replace(
        new.config,
        tiers=_changed(before.tiers, after.tiers),
        policies=tuple(_changed(before.policies, after.policies).values()),
        generations=_changed(before.generations, after.generations),
    )
    secrets = Secrets(
        credentials=_changed(before.credentials, after.credentials),
        caller_keys=_changed(before.caller_keys, after.caller_keys),
        state_keys=new.secrets.state_keys,  # there are two, so they always come whole
    )
    gone = Gone(
        tiers=_missing(before.tiers, after.tiers),
        policies=_missing(before.policies, after.policies),
        generations=_missing(before.generations, after.generations),
        credentials=_missing(before.credentials, after.credentials),
        caller_keys=_missing(before.caller_keys, after.caller_keys),
    )
    return Delta(
        base=base, entries=_entries(new), config=config, secrets=secrets, gone=gone, authorities=new.authorities
    )


def updated(old: Delivery, delta: Delta) -> Delivery:
    """Applies `delta` to `old`. Raises `DeltaMismatch`."""
    gone, was, now = delta.gone, old.config, delta.config
    config = msgspec.structs.replace(
        now,
        tiers=_merged(was.tiers, gone.tiers, now.tiers),
        policies=_policies(was.policies, gone.policies, now.policies),
        generations=_merged(was.generations, gone.generations, now.generations),
    )
    secrets = Secrets(
        credentials=_merged(old.secrets.credentials, gone.credentials, delta.secrets.credentials),
        caller_keys=_merged(old.secrets.caller_keys, gone.caller_keys, delta.secrets.caller_keys),
        state_keys=delta.secrets.state_keys,
    )
    new = Delivery(config=config, secrets=secrets, authorities=delta.authorities)
    if (entries := _entries(new)) != delta.entries:
        raise DeltaMismatch(f"the change is for a config of {delta.entries} entries, not of {entries}")
    return new


def _entries(it: Delivery) -> int:
    tables = (
        it.config.tiers,
        it.config.policies,
        it.config.generations,
        it.secrets.credentials,
        it.secrets.caller_keys,
    )
    return sum(map(len, tables))


def _policies(old: tuple[Policy, ...], gone: Iterable[str], new: tuple[Policy, ...]) -> tuple[Policy, ...]:
    """Merges the policies in their order. It inserts and does not sort, since a router does this while callers wait."""
    touched = {*gone, *(it.key for it in new)}
    names = {key.rpartition("/")[2] for key in touched}
    kept = [it for it in old if it.name not in names or it.key not in touched]
    for it in new:
        insort(kept, it, key=lambda it: it.precedence)
    return tuple(kept)


@dataclass(frozen=True, kw_only=True, repr=False)
class _Tables:
    """All entries of a delivery by their keys. It has no repr, since credentials are among them."""

    tiers: dict[str, Tier]
    policies: dict[str, Policy]
    generations: dict[str, int]
    credentials: dict[str, str]
    caller_keys: dict[str, CallerKey]


def _tables(it: Delivery) -> _Tables:
    return _Tables(
        tiers=it.config.tiers,
        policies={policy.key: policy for policy in it.config.policies},
        generations=it.config.generations,
        credentials=it.secrets.credentials,
        caller_keys=it.secrets.caller_keys,
    )


def _changed(before: Mapping[str, T], after: Mapping[str, T]) -> dict[str, T]:
    # Most are the very same object, and not compared.
    return {key: it for key, it in after.items() if (old := before.get(key)) is not it and old != it}


def _missing(before: Mapping[str, T], after: Mapping[str, T]) -> tuple[str, ...]:
    return tuple(key for key in before if key not in after)


def _merged(old: dict[str, T], gone: Iterable[str], new: dict[str, T]) -> dict[str, T]:
    merged = {**old, **new}
    for key in gone:
        merged.pop(key, None)
    return merged


prepare(Delta)
