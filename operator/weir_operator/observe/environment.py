"""Credentials from the environment, for Secrets that a directory names but does not hold. Used by `manifests` only.

Which variable, first one that is set and not empty:

1. `WEIR_SECRET_<NAMESPACE>_<NAME>_<KEY>` in upper case, with `_` for what is neither letter nor digit;
2. `OPENAI_API_KEY` or `ANTHROPIC_API_KEY`, for a backend of that provider at the provider's own address. Elsewhere the
   first form is needed: a manifest must not be able to send a well-known key to a host of its choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from weir_operator.kube.objects import ObjectName
from weir_operator.observe.observed import Manifest, SecretData, SecretKey
from weir_operator.schemas.modeltier import DEFAULT_BASE_URL

PREFIX = "WEIR_SECRET"
CONVENTIONAL = {provider.value: f"{provider.value.upper()}_API_KEY" for provider in DEFAULT_BASE_URL}
"""Where the providers' own SDKs look."""


def variable(secret: SecretKey) -> str:
    """The name of the variable that stands for a Secret's key."""
    return re.sub(r"[^A-Z0-9]", "_", "_".join((PREFIX, *secret)).upper())


def from_environment(
    tiers: Iterable[Manifest], secrets: Mapping[ObjectName, SecretData], environ: Mapping[str, str]
) -> tuple[dict[SecretKey, str], list[str]]:
    """Values for the Secrets that are not there, and a notice for each."""
    values: dict[SecretKey, str] = {}
    notices: list[str] = []
    providers: dict[SecretKey, set[str | None]] = {}
    for key, provider in _wanted(tiers):
        providers.setdefault(key, set()).add(provider)
    for key, used_by in providers.items():
        if ObjectName(key.namespace, key.name) in secrets:
            continue
        found = next((name for name in _candidates(key, used_by) if environ.get(name)), None)
        if found is not None:
            values[key] = environ[found].rstrip("\r\n")
            notices.append(f"Secret {key.namespace}/{key.name} is not here; its key '{key.key}' comes from ${found}")
    return values, notices


def _candidates(key: SecretKey, providers: set[str | None]) -> list[str]:
    # One backend that is elsewhere, and the key must be named in full: it goes to all of them.
    only = next(iter(providers)) if len(providers) == 1 else None
    return [variable(key), *([CONVENTIONAL[only]] if only else [])]


def _wanted(tiers: Iterable[Manifest]) -> Iterator[tuple[SecretKey, str | None]]:
    """Every key that a backend names, with its provider where the provider's own address is meant."""
    for manifest in tiers:
        for backend in _dicts(_get(manifest.spec, "backends")):
            reference = _get(_get(backend, "credentials"), "secretRef")
            name, key = _get(reference, "name"), _get(reference, "key")
            if isinstance(name, str) and isinstance(key, str):
                yield SecretKey(manifest.namespace, name, key), _at_home(backend)


def _at_home(backend: Mapping[str, Any]) -> str | None:
    provider, base_url = backend.get("provider"), backend.get("baseURL")
    own = {name.value: url for name, url in DEFAULT_BASE_URL.items()}
    if not isinstance(provider, str) or provider not in own:
        return None
    return provider if base_url in (None, own[provider], own[provider] + "/") else None


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
