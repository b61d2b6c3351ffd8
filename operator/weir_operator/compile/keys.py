"""Secrets with callers' API keys → `contract.CallerKey` by hash. Pure; called by `compile_config`.

A hash that Secrets of two namespaces hold stays the key of the older Secret: a copy neither takes over the callers of
a key nor switches them off. Where ages do not differ, as in a directory, the key is refused. Both namespaces read of it
in the status of their policies. This is checked before anything is left out for its size, which else would be a way to
another tenant's callers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from weir_operator.compile.room import KEYS, MAX_USER_TIER, left_out, size
from weir_operator.kube.crowding import Part
from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import API_KEY_HASH, API_KEY_LABEL, USER_TIER_ANNOTATION, Observed, SecretData
from weir_operator.problems.problem import ConditionType, Problem, Reason, Severity
from weir_router.contract import CallerKey

HASH_BYTES = 24
"""Bytes that a key's hash takes beside the rest of its JSON, whose names of fields gzip takes away."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Keys(NamedTuple):
    """Every caller's key by the hex SHA-256 of its value, and the problems of their Secrets."""

    keys: Mapping[str, CallerKey]
    problems: Sequence[Problem]
    shared: Mapping[str, tuple[str, ...]]  # by namespace: names of Secrets whose key another namespace holds, too


def caller_keys(observed: Observed) -> Keys:
    """The keys of all labelled Secrets."""
    holders: dict[str, list[ObjectName]] = defaultdict(list)
    problems: list[Problem] = []
    for name, secret in _labelled(observed):
        digest = secret.data.get(API_KEY_HASH, b"").decode("ascii", "replace").strip().lower()
        if not _SHA256.fullmatch(digest):
            message = f"data.{API_KEY_HASH} is not the SHA-256 of a key in hexadecimal"
            problems.append(_problem(name, secret, Reason.API_KEY_INVALID, message))
        else:
            holders[digest].append(name)
    problems += [problem for names in holders.values() for problem in _repeated(names, observed)]
    owners = ((_owner(names, observed), digest) for digest, names in holders.items())
    holding = {owner: digest for owner, digest in owners if owner is not None}
    keys = {name: _caller(name, observed) for name in holding}
    for name, why in _too_large(keys, observed).items():
        del keys[name]
        problems.append(_left_out(name, observed.secrets[name], why))
    shared: dict[str, list[str]] = defaultdict(list)
    for name in (name for names in holders.values() if _disputed(names) for name in names):
        shared[name.namespace].append(name.name)
    return Keys(
        {holding[name]: key for name, key in keys.items()},
        problems,
        {namespace: tuple(names) for namespace, names in shared.items()},
    )


def _disputed(names: list[ObjectName]) -> bool:
    return len({name.namespace for name in names}) > 1


def _owner(names: list[ObjectName], observed: Observed) -> ObjectName | None:
    """The Secret whose caller a key is; None: Secrets of several namespaces are equally old."""
    if not _disputed(names):
        return names[0]
    first = min(names, key=lambda it: observed.secrets[it].created)
    oldest = [it for it in names if observed.secrets[it].created == observed.secrets[first].created]
    return None if _disputed(oldest) else first


def _caller(name: ObjectName, observed: Observed) -> CallerKey:
    tier = observed.secrets[name].annotations.get(USER_TIER_ANNOTATION)
    return CallerKey(namespace=name.namespace, name=name.name, user_tier=tier)


def _too_large(keys: Mapping[ObjectName, CallerKey], observed: Observed) -> dict[ObjectName, str]:
    """The keys that are left out, each with the reason."""
    message = f"annotation {USER_TIER_ANNOTATION} has more than {MAX_USER_TIER} characters"
    found = {name: message for name, key in keys.items() if len(key.user_tier or "") > MAX_USER_TIER}
    parts = [
        Part(name, observed.secrets[name].created, size(key) + HASH_BYTES)
        for name, key in keys.items()
        if name not in found
    ]
    return {**found, **left_out(parts, KEYS)}


def _left_out(name: ObjectName, secret: SecretData, why: str) -> Problem:
    message = f"{why}; the key is left out, and its callers are refused"
    action = f"Shorten the annotation, or remove unused keys of namespace {name.namespace}."
    return Problem(
        f"Secret/{name}", "", ConditionType.ACCEPTED, Reason.TOO_LARGE, message, action, Severity.ERROR, secret.where
    )


def _repeated(names: list[ObjectName], observed: Observed) -> Iterator[Problem]:
    """Problems of Secrets that hold the same key."""
    owner = _owner(names, observed)
    for name in names:
        if name == owner:
            continue
        if owner is not None and owner.namespace == name.namespace:
            message = f"holds the same key as Secret {owner}, whose caller it stays"
        elif owner is not None:
            message = "holds a key that an older Secret of another namespace holds too, whose caller it stays"
        else:
            message = "holds a key that a Secret of another namespace holds too, so it is refused"
        yield _problem(name, observed.secrets[name], Reason.API_KEY_REPEATED, message)


def _labelled(observed: Observed) -> Iterator[tuple[ObjectName, SecretData]]:
    for name, secret in sorted(observed.secrets.items(), key=lambda item: item[0]):
        if secret.labels.get(API_KEY_LABEL) == "true":
            yield name, secret


def _problem(name: ObjectName, secret: SecretData, reason: Reason, message: str) -> Problem:
    action = f"Make a new one: weir key create {name.name} --namespace {name.namespace}"
    field = f"data.{API_KEY_HASH}"
    return Problem(
        f"Secret/{name}", field, ConditionType.ACCEPTED, reason, message, action, Severity.ERROR, secret.where
    )
