"""The Secrets that a ModelTier names, with the variables in which the providers' own SDKs look for a key. Pure.

A conventional variable such as `OPENAI_API_KEY` stands in only for a backend at the provider's own address: a manifest
must not be able to send a well-known key to a host of its choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weir_operator.kinds.modeltier.schema import DEFAULT_BASE_URL
from weir_operator.observe.observed import Manifest, NamedSecret, SecretKey

CONVENTIONAL = {provider.value: f"{provider.value.upper()}_API_KEY" for provider in DEFAULT_BASE_URL}
"""Variables of the providers' own SDKs, e.g. `OPENAI_API_KEY`."""


def named_secrets(manifest: Manifest) -> Iterator[NamedSecret]:
    """Every key that a backend names. The spec may be anything: it was not validated."""
    for backend in _dicts(_get(manifest.spec, "backends")):
        reference = _get(_get(backend, "credentials"), "secretRef")
        name, key = _get(reference, "name"), _get(reference, "key")
        if isinstance(name, str) and isinstance(key, str):
            yield NamedSecret(SecretKey(manifest.namespace, name, key), _conventional(backend))


def _conventional(backend: Mapping[str, Any]) -> str | None:
    provider, base_url = backend.get("provider"), backend.get("baseURL")
    own = {name.value: url for name, url in DEFAULT_BASE_URL.items()}
    if not isinstance(provider, str) or provider not in own:
        return None
    return CONVENTIONAL[provider] if base_url in (None, own[provider], own[provider] + "/") else None


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
