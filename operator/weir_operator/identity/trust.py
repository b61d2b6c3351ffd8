"""The cluster's keys, as callers' tokens are verified with them: what `oidc` fetched → `contract.TokenTrust`. PURE.

Keys come and go while API servers restart one after the other, each with its own list:

- a new key counts as soon as any API server lists it: at first it signs nothing, or its tokens are good already;
- a key that is listed no more stays for `KEPT_SECONDS`, since the next answer may come from an API server that still
  signs with it. After that it is gone: a key that was withdrawn must not work for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weir_router.contract import TOKEN_ALGORITHMS, SigningKey, TokenTrust

KEPT_SECONDS = 300.0
"""Seconds that a key outlives its last listing: longer than API servers take to restart one after the other."""

KEYS_MAX = 32
"""Keys at most: more than two is a rotation."""

_PARTS = ("n", "e", "crv", "x", "y")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


@dataclass(frozen=True)
class Listed:
    """The issuer and the keys that one API server published."""

    issuer: str
    keys: tuple[SigningKey, ...]


@dataclass(frozen=True)
class Known:
    """The trusted issuer and keys, each key with the end of its trust unless it is listed again (monotonic seconds)."""

    issuer: str = ""
    keys: Mapping[str, tuple[SigningKey, float]] = field(default_factory=dict)

    def trust(self, audience: str, *, review: bool) -> TokenTrust | None:
        """The trust that routers get; None: nothing can be verified. Equal knowledge gives an equal value."""
        keys = tuple(self.keys[name][0] for name in sorted(self.keys))
        return TokenTrust(issuer=self.issuer, audience=audience, keys=keys, review=review) if keys else None


def audience(installation: str) -> str:
    """The audience that callers' tokens must have."""
    return f"weir/{installation}"


def config_audience(installation: str) -> str:
    """The audience that a router's token for the config server must have: another one, so that what callers show to a
    gateway is no way to anybody's config.
    """
    return f"weir-config/{installation}"


def autoscaling_audience(installation: str) -> str:
    """The audience that a token must have to ask how busy routers are, and good for nothing else: it is handed to a
    scaler, which sends it to any server that answers under our name.
    """
    return f"weir-autoscaling/{installation}"


def learned(known: Known, listed: Listed, now: float) -> Known:
    """The knowledge after an API server's answer at `now` (monotonic seconds)."""
    if listed.issuer != known.issuer:
        known = Known(listed.issuer)  # tokens of the old issuer are refused, whichever key signed them
    kept = {name: it for name, it in known.keys.items() if it[1] > now}
    fresh = {key.id: (key, now + KEPT_SECONDS) for key in listed.keys}
    newest_first = sorted({**kept, **fresh}.items(), key=lambda it: -it[1][1])
    return Known(listed.issuer, dict(newest_first[:KEYS_MAX]))


def taken_over(trust: TokenTrust | None, now: float) -> Known:
    """The knowledge of an earlier publication, ours or another replica's. It counts until an API server answers."""
    if trust is None:
        return Known()
    return Known(trust.issuer, {key.id: (key, now + KEPT_SECONDS) for key in trust.keys})


def signing_keys(jwks: Any) -> tuple[SigningKey, ...]:
    """The usable keys of a JWK set, without any private part. Entries of other types are left out."""
    entries = jwks.get("keys") if isinstance(jwks, dict) else None
    found = (_signing_key(it) for it in entries) if isinstance(entries, list) else ()
    return tuple(key for key in found if key is not None)


def _signing_key(jwk: Any) -> SigningKey | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or not isinstance(jwk.get("kid"), str):
        return None
    parts = {part: jwk[part] for part in _PARTS if isinstance(jwk.get(part), str)}
    algorithm = jwk.get("alg") or (_CURVES.get(parts.get("crv", "")) if "crv" in parts else "RS256")
    needed = {"RS": {"n", "e"}, "ES": {"crv", "x", "y"}}.get(str(algorithm)[:2])
    if (
        not isinstance(algorithm, str)
        or algorithm not in TOKEN_ALGORITHMS
        or needed is None
        or not needed <= parts.keys()
    ):
        return None
    return SigningKey(id=jwk["kid"], algorithm=algorithm, **parts)


def names(trust: TokenTrust | None) -> str:
    """Its keys, for a log line."""
    return ", ".join(key.id for key in trust.keys) if trust else "none"
