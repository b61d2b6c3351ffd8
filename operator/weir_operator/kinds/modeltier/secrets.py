"""The Secrets that a ModelTier names, with the variables in which the providers' own SDKs look for a key. Pure.

A conventional variable such as `OPENAI_API_KEY` or `GROQ_API_KEY` stands in only for a backend at the provider's own
address in the catalogue: a manifest must not be able to send a well-known key to a host of its choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds.modeltier.schema import DEFAULT_BASE_URL
from weir_operator.observe.observed import Manifest, NamedSecret, SecretKey


def named_secrets(manifest: Manifest) -> Iterator[NamedSecret]:
    """Every key that a backend names. The spec may be anything: it was not validated."""
    for backend in _dicts(_get(manifest.spec, "backends")):
        reference = _get(_get(backend, "credentials"), "secretRef")
        name, key = _get(reference, "name"), _get(reference, "key")
        if isinstance(name, str) and isinstance(key, str):
            yield NamedSecret(SecretKey(manifest.namespace, name, key), _conventional(backend))


def _conventional(backend: Mapping[str, Any]) -> str | None:
    provider, stated = backend.get("provider"), backend.get("baseURL")
    defaults = {name.value: url for name, url in DEFAULT_BASE_URL.items()}
    if not isinstance(provider, str) or not isinstance(stated, str | None):
        return None
    url = (defaults.get(provider, "") if stated is None else stated).removesuffix("/")
    vendors = Catalogue.load().vendors.values()
    return next((it.keys[0] for it in vendors if it.keys and (it.provider, it.base_url) == (provider, url)), None)


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
