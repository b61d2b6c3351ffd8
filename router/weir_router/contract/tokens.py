"""ServiceAccount tokens, verified offline with the cluster's public keys. PURE but for its import of PyJWT.

Routers identify callers with it (`weir_router.identify.tokens`), and the operator asks the API server only about tokens
that pass it (`weir_operator.distribute.offline`). The order of the checks, each with an error message of its own:

1. form, and an algorithm that a cluster may use (never `none` or HS256);
2. a key that we know, used with that key's own algorithm: a token cannot choose how it is verified;
3. the signature;
4. issuer, audience, not before, expiry;
5. a ServiceAccount, whose namespace and name must be the same in both claims that hold them.

A pod or ServiceAccount that was deleted a moment ago is not noticed here; `TokenTrust.review` is for that.
No error repeats the token.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

import msgspec

from weir_router.contract.caller import TOKEN_ALGORITHMS, Caller, CallerKind, SigningKey, TokenTrust

if TYPE_CHECKING:
    from jwt import PyJWK

LEEWAY = 60.0
"""Seconds by which clocks may differ, as for the API server itself (go-jose's default)."""

SHOWN = 100
"""Characters of a claim that an error message repeats, at most."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", re.ASCII)
"""A compact JWS (RFC 7515): three parts in base64url without padding."""


class BadToken(Exception):
    """The token proves nothing here; the message is a clause that says why: `it expired 61 s ago`."""


class UnknownKey(BadToken):
    """The token names a key that the cluster does not publish, or not yet."""


class Verified(msgspec.Struct, frozen=True):
    """The caller and the expiry of a good token."""

    caller: Caller
    expires: float  # seconds since the epoch, leeway included


class _Named(msgspec.Struct):
    name: str


class _Kubernetes(msgspec.Struct):
    namespace: str
    serviceaccount: _Named
    pod: _Named | None = None


class _Claims(msgspec.Struct):
    iss: str = ""
    aud: str | list[str] = ""
    exp: float | None = None
    nbf: float | None = None
    sub: str = ""
    kubernetes: _Kubernetes | None = msgspec.field(name="kubernetes.io", default=None)

    @property
    def audiences(self) -> list[str]:
        return [self.aud] if isinstance(self.aud, str) else self.aud


class TokenVerifier:
    """Verifies tokens against one `TokenTrust`. Unusable keys are left out."""

    def __init__(self, trust: TokenTrust, *, any_issuer: bool = False) -> None:
        """`any_issuer`: the issuer is left to the API server, which may accept tokens of an earlier one."""
        # Imported here: it takes 9 MB and 30 ms, which a router without tokens should not pay.
        from jwt import PyJWS

        self.trust = trust
        self._any_issuer = any_issuer
        self._jws = PyJWS()
        keys = ((key, _public_key(key)) for key in trust.keys if key.algorithm in TOKEN_ALGORITHMS)
        self._keys = {key.id: (key.algorithm, public) for key, public in keys if public is not None}

    def verify(self, token: str, now: float) -> Verified:
        """The caller to which the token belongs; `now` in seconds since the epoch. Raises `BadToken`."""
        claims = self._claims(token)
        self._check_addressee(claims)
        return Verified(_caller(claims), _expiry(claims, now))

    def _claims(self, token: str) -> _Claims:
        from jwt import InvalidSignatureError, InvalidTokenError

        algorithm, public = self._key(token)
        try:
            payload = self._jws.decode(token, key=public, algorithms=[algorithm])
            return msgspec.json.decode(payload, type=_Claims)
        except InvalidSignatureError:
            raise BadToken("its signature does not fit its content: it was changed, or cut off") from None
        except (InvalidTokenError, msgspec.MsgspecError, UnicodeDecodeError):
            raise BadToken("it cannot be read") from None

    def _key(self, token: str) -> tuple[str, PyJWK]:
        from jwt import InvalidTokenError

        check_form(token)
        try:
            header = self._jws.get_unverified_header(token)
        except InvalidTokenError:
            raise BadToken("it cannot be read") from None
        algorithm, name = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in TOKEN_ALGORITHMS:
            raise BadToken(f"it is signed by {_shown(algorithm)}, which proves nothing")
        if name not in self._keys:
            raise self._unknown_key(token, name)
        expected, public = self._keys[name]
        if algorithm != expected:
            raise BadToken(f"it is signed by {algorithm}, and the cluster's key {_shown(name)} is for {expected}")
        return expected, public

    def _unknown_key(self, token: str, name: object) -> BadToken:
        """The likely reason why a key is unknown. The token is not verified, so its claims may be false."""
        try:
            payload = self._jws.decode(token, options={"verify_signature": False})
            issuer = msgspec.json.decode(payload, type=_Claims).iss
        except Exception:  # any fault of the token: it is refused anyway, with the known reason
            issuer = self.trust.issuer
        if issuer != self.trust.issuer:
            ours = _shown(self.trust.issuer)
            return BadToken(f"it is of another cluster: its issuer is {_shown(issuer)}, and ours {ours}")
        return UnknownKey(
            f"it is signed with a key {_shown(name)} that this cluster does not publish. If the cluster has just "
            "changed its keys, the new one is known here within about a minute"
        )

    def _check_addressee(self, claims: _Claims) -> None:
        if claims.iss != self.trust.issuer and not self._any_issuer:
            raise BadToken(f"its issuer is {_shown(claims.iss)}, and the cluster's {_shown(self.trust.issuer)}")
        if self.trust.audience not in claims.audiences:
            found = _shown(", ".join(claims.audiences)) if any(claims.audiences) else "missing"
            raise BadToken(f"its audience is {found}, and this installation's {_shown(self.trust.audience)}")


def check_form(token: str) -> None:
    """Raises `BadToken` unless the token is a JWT in its one spelling: decoders also take other spellings, such as
    `==` at its end, and each of them would be another token in every cache.
    """
    if _FORM.fullmatch(token) is None:
        raise BadToken("it cannot be read")
    signature = token.rpartition(".")[2]
    try:
        decoded = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except (binascii.Error, ValueError):
        raise BadToken("it cannot be read") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != signature:
        raise BadToken("it cannot be read")


def _expiry(claims: _Claims, now: float) -> float:
    if claims.exp is None:
        raise BadToken("it never expires")
    if now >= claims.exp + LEEWAY:
        raise BadToken(
            f"it expired {now - claims.exp:.0f} s ago. The kubelet renews the file: read it for each request, and "
            "not once at the start"
        )
    if claims.nbf is not None and now < claims.nbf - LEEWAY:
        raise BadToken(f"it is not valid for another {claims.nbf - now:.0f} s; is a clock wrong?")
    return claims.exp + LEEWAY


def _caller(claims: _Claims) -> Caller:
    bound = claims.kubernetes
    if bound is None:
        raise BadToken("it has no kubernetes.io claims, as tokens of the TokenRequest API have")
    if claims.sub != f"system:serviceaccount:{bound.namespace}:{bound.serviceaccount.name}":
        raise BadToken("its subject is not the ServiceAccount that its kubernetes.io claims name")
    return Caller(
        namespace=bound.namespace,
        name=bound.serviceaccount.name,
        kind=CallerKind.SERVICE_ACCOUNT,
        pod=bound.pod.name if bound.pod else None,
    )


def _public_key(key: SigningKey) -> PyJWK | None:
    """`key` for PyJWT; None: it is not a usable key, and the others still count."""
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    parts = {name: value for name in ("n", "e", "crv", "x", "y") if (value := getattr(key, name)) is not None}
    try:
        return PyJWK({"kty": "RSA" if key.n else "EC", "kid": key.id, **parts}, algorithm=key.algorithm)
    except (PyJWTError, ValueError):
        return None


def _shown(value: object) -> str:
    """A claim for an error message: quoted, and shortened to `SHOWN` characters."""
    return repr(str(value)[:SHOWN])
