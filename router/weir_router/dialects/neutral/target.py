"""The backend that a request is written for, as far as a writer must know it. Made by a format's `upstream`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from weir_router.contract import Backend, Traits

_REALMS_KEPT = 1024  # more than the backends of most configs


class Target(msgspec.Struct, frozen=True):
    """A backend for a writer."""

    realm: str = ""  # see `opaque`
    traits: Traits = Traits()
    output_tokens: int | None = None  # the longest answer of the model; None: unknown


ANY = Target()
"""An unknown backend, for the question whether a format can express a request at all."""


def target_of(backend: Backend, platforms: tuple[str, ...]) -> Target:
    """The backend for a writer; `platforms`: see `base.Host`."""
    return Target(realm_of(backend, platforms), backend.traits, backend.limits.output_tokens)


def realm_of(backend: Backend, platforms: tuple[str, ...]) -> str:
    """The realm of a backend: 8 hexadecimal digits, or nothing on one of the `platforms`. All its endpoints are one."""
    place = backend.name if backend.endpoint else backend.base_url
    return _realm(place, backend.model, platforms)


@lru_cache(_REALMS_KEPT)
def _realm(place: str, model: str, platforms: tuple[str, ...]) -> str:
    if platforms:
        host = urlsplit(place).hostname or ""
        if any(fnmatchcase(host, pattern) for pattern in platforms):
            return ""
    return sha256(f"{place}\n{model}".encode()).hexdigest()[:8]
