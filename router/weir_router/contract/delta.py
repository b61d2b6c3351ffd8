"""What a router that has one delivery needs to have another: of a thousand objects the one that changed. Pure.

Made by `distribute.offers`, put together by `config.longpoll`, and asked for as RFC 3229 has it: a poll
says `A-IM: weir-delta` beside its `If-None-Match`, and the answer 226 holds a `Delta` where 200 holds a `Delivery`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    return Delta(
        base=base, entries=_entries(new), config=config, secrets=secrets, gone=gone, authorities=new.authorities
    )


def updated(old: Delivery, delta: Delta) -> Delivery:
    """What `delta` makes of the delivery that it is for. Raises `DeltaMismatch`."""
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
    """In the order of the whole: by age, then by name. A router does this while callers wait, so not by sorting all."""
    touched = {*gone, *(it.key for it in new)}
    names = {key.rpartition("/")[2] for key in touched}
    kept = [it for it in old if it.name not in names or it.key not in touched]
    for it in new:
        insort(kept, it, key=_precedence)
    return tuple(kept)


def _precedence(it: Policy) -> tuple[float, str, str]:
    return it.created, it.namespace, it.name


@dataclass(frozen=True, kw_only=True, repr=False)
class _Tables:
    """Everything in a delivery that has a key; credentials among it, so that it does not show."""

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
