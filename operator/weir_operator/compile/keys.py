"""Secrets with callers' API keys → `contract.CallerKey` by hash. Pure; called by `compile_config`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from weir_operator.observed import API_KEY_HASH, API_KEY_LABEL, USER_TIER_ANNOTATION, ObjectName, Observed, SecretData
from weir_operator.problems import ConditionType, Problem, Reason, Severity
from weir_router.contract import CallerKey

_SHA256 = re.compile(r"[0-9a-f]{64}")


def caller_keys(observed: Observed) -> tuple[dict[str, CallerKey], list[Problem]]:
    """Every caller's key by the hex SHA-256 of its value, and what is wrong with the rest."""
    keys: dict[str, CallerKey] = {}
    problems: list[Problem] = []
    for name, secret in _labelled(observed):
        digest = secret.data.get(API_KEY_HASH, b"").decode("ascii", "replace").strip().lower()
        if not _SHA256.fullmatch(digest):
            message = f"data.{API_KEY_HASH} is not the SHA-256 of a key in hexadecimal"
            problems.append(_problem(name, secret, Reason.API_KEY_INVALID, message))
        elif digest in keys:
            other = f"{keys[digest].namespace}/{keys[digest].name}"
            message = f"holds the same key as Secret {other}, whose caller it stays"
            problems.append(_problem(name, secret, Reason.API_KEY_REPEATED, message))
        else:
            tier = secret.annotations.get(USER_TIER_ANNOTATION)
            keys[digest] = CallerKey(namespace=name.namespace, name=name.name, user_tier=tier)
    return keys, problems


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
