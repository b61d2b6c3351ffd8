"""What a router that has one delivery needs to have another: of a thousand objects the one that changed. Pure.

Made by `weir_operator.offers`, put together by `weir_router.config.longpoll`, and asked for as RFC 3229 has it: a poll
says `A-IM: weir-delta` beside its `If-None-Match`, and the answer 226 holds a `Delta` where 200 holds a `Delivery`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

import msgspec

from weir_router.contract import CallerKey, CompiledConfig, Delivery, Policy, Secrets, Tier, prepare

T = TypeVar("T")

DELTA_HEADER = "A-IM"
DELTA_NAME = "weir-delta"
DELTA_STATUS = 226


class DeltaMismatch(Exception):
    """It is for another delivery than the one that is there; the whole one must be fetched."""


class Gone(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Keys of what is there no more."""

    tiers: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    generations: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    caller_keys: tuple[str, ...] = ()


class Delta(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A `Delivery` by its difference from an earlier one."""

    base: str  # ETag of the earlier one
    entries: int  # of the result, in all its tables: a delta that was not meant for what is there is noticed
    config: CompiledConfig  # of tiers, policies and generations only what is new or different
    secrets: Secrets = Secrets()  # the same
    gone: Gone = Gone()
    authorities: str | None = None


def difference(base: str, old: Delivery, new: Delivery) -> Delta:
    """`new` for who has `old`, whose ETag is `base`."""
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
    )
    gone = Gone(
        tiers=_missing(before.tiers, after.tiers),
        policies=_missing(before.policies, after.policies),
        generations=_missing(before.generations, after.generations),
        credentials=_missing(before.credentials, after.credentials),
        caller_keys=_missing(before.caller_keys, after.caller_keys),
    )
    return Delta(base=base, entries=after.size, config=config, secrets=secrets, gone=gone, authorities=new.authorities)


def updated(old: Delivery, delta: Delta) -> Delivery:
    """What `delta` makes of the delivery that it is for. Raises `DeltaMismatch`."""
    tables = _tables(old)
    change = _tables(Delivery(config=delta.config, secrets=delta.secrets))
    new = _Tables(
        tiers=_merged(tables.tiers, delta.gone.tiers, change.tiers),
        policies=_merged(tables.policies, delta.gone.policies, change.policies),
        generations=_merged(tables.generations, delta.gone.generations, change.generations),
        credentials=_merged(tables.credentials, delta.gone.credentials, change.credentials),
        caller_keys=_merged(tables.caller_keys, delta.gone.caller_keys, change.caller_keys),
    )
    if new.size != delta.entries:
        raise DeltaMismatch(f"the change is for a config of {delta.entries} entries, not of {new.size}")
    policies = tuple(sorted(new.policies.values(), key=lambda it: (it.created, it.namespace, it.name)))
    config = msgspec.structs.replace(delta.config, tiers=new.tiers, policies=policies, generations=new.generations)
    secrets = Secrets(credentials=new.credentials, caller_keys=new.caller_keys)
    return Delivery(config=config, secrets=secrets, authorities=delta.authorities)


@dataclass(frozen=True, kw_only=True, repr=False)
class _Tables:
    """Everything in a delivery that has a key; credentials among it, so that it does not show."""

    tiers: dict[str, Tier]
    policies: dict[str, Policy]
    generations: dict[str, int]
    credentials: dict[str, str]
    caller_keys: dict[str, CallerKey]

    @property
    def size(self) -> int:
        return sum(len(getattr(self, it.name)) for it in fields(self))


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


def _merged(old: Mapping[str, T], gone: Iterable[str], new: Mapping[str, T]) -> dict[str, T]:
    left = {**old, **new}
    for key in gone:
        left.pop(key, None)
    return {key: left[key] for key in sorted(left)}


prepare(Delta)
