"""Callers: how one proves who it is, the rules that name some of them, and the tokens that a router accepts."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from weir_router.contract.base import Wire


class CallerKind(StrEnum):
    """How a caller proved who it is."""

    SERVICE_ACCOUNT = "ServiceAccount"
    API_KEY = "APIKey"
    ANONYMOUS = "Anonymous"


class Caller(msgspec.Struct, frozen=True):
    """One proven identity: a ServiceAccount, the Secret of an API key, or the anonymous caller of a namespace.

    It carries no secret, and no right either: the policies say what a caller may do.
    """

    namespace: str
    name: str
    kind: CallerKind
    user_tier: str | None = None  # from the annotation on the key's Secret, never the client's claim
    pod: str | None = None  # the pod to which its token is bound; for the log, never for a decision


class CallerRule(Wire, frozen=True):
    """A set of callers. Every field that is set must match; an unset one matches all."""

    namespaces: frozenset[str] | None = None  # None: every namespace
    service_accounts: frozenset[str] | None = None
    api_keys: frozenset[str] | None = None  # names of key Secrets


class CallerKey(Wire, frozen=True):
    """The owner of an API key; stored under the key's SHA-256."""

    namespace: str
    name: str
    user_tier: str | None = None


TOKEN_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
"""Algorithms that a cluster may sign ServiceAccount tokens with. All are asymmetric: with HS256 or `none` anyone who
knows the public key could make tokens."""


class SigningKey(Wire, frozen=True):
    """A public key of the cluster, as in its JWKS (RFC 7517). No field can hold a private part."""

    id: str  # `kid`
    algorithm: str  # one of TOKEN_ALGORITHMS; a token that names another is refused
    n: str | None = None  # RSA: modulus and exponent, base64url
    e: str | None = None
    crv: str | None = None  # elliptic: curve, and a point on it, base64url
    x: str | None = None
    y: str | None = None


class TokenTrust(Wire, frozen=True):
    """The ServiceAccount tokens that routers accept, and how they verify them."""

    issuer: str  # `iss`, exactly
    audience: str  # one of `aud`, exactly; never that of the config server
    keys: tuple[SigningKey, ...] = ()
    review: bool = False  # also ask the API server about each token, through the config server (`REVIEW_PATH`)
