"""Secrets with callers' API keys → `contract.CallerKey` by hash. Pure; called by `compile_config`.

A hash that stands in Secrets of two namespaces is nobody's key: neither age nor name says which of the two was copied,
and whoever copies a hash into a namespace of their own must not have the prompts of the key's holder.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import API_KEY_HASH, API_KEY_LABEL, USER_TIER_ANNOTATION, Observed, SecretData
from weir_operator.problems.problem import ConditionType, Problem, Reason, Severity
from weir_router.contract import CallerKey

_SHA256 = re.compile(r"[0-9a-f]{64}")


def caller_keys(observed: Observed) -> tuple[dict[str, CallerKey], list[Problem]]:
    """Every caller's key by the hex SHA-256 of its value, and what is wrong with the rest."""
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
    return {digest: _caller(names[0], observed) for digest, names in holders.items() if not _disputed(names)}, problems


def _disputed(names: list[ObjectName]) -> bool:
    return len({name.namespace for name in names}) > 1


def _caller(name: ObjectName, observed: Observed) -> CallerKey:
    tier = observed.secrets[name].annotations.get(USER_TIER_ANNOTATION)
    return CallerKey(namespace=name.namespace, name=name.name, user_tier=tier)


def _repeated(names: list[ObjectName], observed: Observed) -> Iterator[Problem]:
    """What is wrong with Secrets that hold one key."""
    if _disputed(names):
        for name in names:
            message = "holds a key that a Secret of another namespace holds too, so it is nobody's"
            yield _problem(name, observed.secrets[name], Reason.API_KEY_REPEATED, message)
    else:
        for name in names[1:]:
            message = f"holds the same key as Secret {names[0]}, whose caller it stays"
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
