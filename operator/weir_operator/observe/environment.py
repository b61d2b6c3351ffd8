"""Credentials from the environment, for Secrets that a directory names but does not hold. Used by `manifests` only.

The first of these variables that is set and not empty counts:

1. `WEIR_SECRET_<NAMESPACE>_<NAME>_<KEY>` in upper case, with `_` for every character that is neither letter nor digit;
2. the conventional variable of the credential, e.g. `OPENAI_API_KEY`, if the kind that names the Secret knows one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import NamedSecret, SecretData, SecretKey

PREFIX = "WEIR_SECRET"


def variable(secret: SecretKey) -> str:
    """The name of the variable that stands for a Secret's key."""
    return re.sub(r"[^A-Z0-9]", "_", "_".join((PREFIX, *secret)).upper())


def from_environment(
    named: Iterable[NamedSecret], secrets: Mapping[ObjectName, SecretData], environ: Mapping[str, str]
) -> tuple[dict[SecretKey, str], list[str]]:
    """Values for the Secrets that are not there, and a notice for each."""
    values: dict[SecretKey, str] = {}
    notices: list[str] = []
    conventional: dict[SecretKey, set[str | None]] = {}
    for it in named:
        conventional.setdefault(it.key, set()).add(it.conventional)
    for key, names in conventional.items():
        if ObjectName(key.namespace, key.name) in secrets:
            continue
        found = next((name for name in _candidates(key, names) if environ.get(name)), None)
        if found is not None:
            values[key] = environ[found].rstrip("\r\n")
            notices.append(f"Secret {key.namespace}/{key.name} is not here; its key '{key.key}' comes from ${found}")
    return values, notices


def _candidates(key: SecretKey, conventional: set[str | None]) -> list[str]:
    # Where one use has no conventional variable, the key must be named in full: it goes to all of them.
    only = next(iter(conventional)) if len(conventional) == 1 else None
    return [variable(key), *([only] if only else [])]
