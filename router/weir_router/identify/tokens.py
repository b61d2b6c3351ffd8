"""ServiceAccount tokens, verified offline with the cluster's public keys. Used by `identify.identifier`.

The order of the checks, each with an error message of its own:

1. form, and an algorithm that a cluster may use (never `none` or HS256);
2. a key that we know, used with that key's own algorithm: a token cannot choose how it is verified;
3. the signature;
4. issuer, audience, not before, expiry;
5. a ServiceAccount, whose namespace and name must be the same in both claims that hold them.

A pod or ServiceAccount that was deleted a moment ago is not noticed here; `TokenTrust.review` is for that.
No error repeats the token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from weir_router.contract import TOKEN_ALGORITHMS, CallerKind, SigningKey, TokenTrust
from weir_router.contract.caller import Caller
from weir_router.errors import Unauthenticated

if TYPE_CHECKING:
    from jwt import PyJWK

LEEWAY = 60.0
"""Seconds by which clocks may differ, as for the API server itself (go-jose's default)."""

SHOWN = 100
"""Characters of a claim that an error message repeats, at most."""


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

    def __init__(self, trust: TokenTrust) -> None:
        # Imported here: it takes 9 MB and 30 ms, which a router without tokens should not pay.
        from jwt import PyJWS

        self.trust = trust
        self._jws = PyJWS()
        keys = ((key, _public_key(key)) for key in trust.keys if key.algorithm in TOKEN_ALGORITHMS)
        self._keys = {key.id: (key.algorithm, public) for key, public in keys if public is not None}

    def verify(self, token: str, now: float) -> Verified:
        """The caller to which the token belongs; `now` in seconds since the epoch. Raises `Unauthenticated`."""
        claims = self._claims(token)
        self._check_addressee(claims)
        return Verified(_caller(claims, self._refused), self._check_times(claims, now))

    def _claims(self, token: str) -> _Claims:
        from jwt import InvalidSignatureError, InvalidTokenError

        algorithm, public = self._key(token)
        try:
            payload = self._jws.decode(token, key=public, algorithms=[algorithm])
            return msgspec.json.decode(payload, type=_Claims)
        except InvalidSignatureError:
            raise self._refused("its signature does not fit its content: it was changed, or cut off") from None
        except (InvalidTokenError, msgspec.MsgspecError):
            raise self._refused("it cannot be read") from None

    def _key(self, token: str) -> tuple[str, PyJWK]:
        from jwt import InvalidTokenError

        try:
            # A header may hold any bytes, and PyJWT would crash on those that are not UTF-8.
            header = self._jws.get_unverified_header(token if token.isascii() else "")
        except InvalidTokenError:
            raise self._refused("it cannot be read") from None
        algorithm, name = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in TOKEN_ALGORITHMS:
            raise self._refused(f"it is signed by {_shown(algorithm)}, which proves nothing")
        if name not in self._keys:
            raise self._refused(self._unknown_key(token, name))
        expected, public = self._keys[name]
        if algorithm != expected:
            raise self._refused(f"it is signed by {algorithm}, and the cluster's key {_shown(name)} is for {expected}")
        return expected, public

    def _unknown_key(self, token: str, name: object) -> str:
        """The likely reason why a key is unknown. The token is not verified, so its claims may be false."""
        try:
            payload = self._jws.decode(token, options={"verify_signature": False})
            issuer = msgspec.json.decode(payload, type=_Claims).iss
        except Exception:  # any fault of the token: it is refused anyway, with the known reason
            issuer = self.trust.issuer
        if issuer != self.trust.issuer:
            return f"it is of another cluster: its issuer is {_shown(issuer)}, and ours {_shown(self.trust.issuer)}"
        return (
            f"it is signed with a key {_shown(name)} that this cluster does not publish. If the cluster has just "
            "changed its keys, the new one is known here within about a minute"
        )

    def _check_addressee(self, claims: _Claims) -> None:
        if claims.iss != self.trust.issuer:
            raise self._refused(f"its issuer is {_shown(claims.iss)}, and the cluster's {_shown(self.trust.issuer)}")
        if self.trust.audience not in claims.audiences:
            found = _shown(", ".join(claims.audiences)) if any(claims.audiences) else "missing"
            raise self._refused(f"its audience is {found}, and this installation's {_shown(self.trust.audience)}")

    def _check_times(self, claims: _Claims, now: float) -> float:
        if claims.exp is None:
            raise self._refused("it never expires")
        if now >= claims.exp + LEEWAY:
            raise self._refused(
                f"it expired {now - claims.exp:.0f} s ago. The kubelet renews the file: read it for each request, and "
                "not once at the start"
            )
        if claims.nbf is not None and now < claims.nbf - LEEWAY:
            raise self._refused(f"it is not valid for another {claims.nbf - now:.0f} s; is a clock wrong?")
        return claims.exp + LEEWAY

    def _refused(self, why: str) -> Unauthenticated:
        return Unauthenticated(
            f"This ServiceAccount token is not accepted: {why}. To have a right one, project a serviceAccountToken of "
            f"audience {self.trust.audience} into the pod, or run "
            f"`kubectl create token SERVICEACCOUNT --namespace NAMESPACE --audience {self.trust.audience}`."
        )


def _caller(claims: _Claims, refused: Callable[[str], Unauthenticated]) -> Caller:
    bound = claims.kubernetes
    if bound is None:
        raise refused("it has no kubernetes.io claims, as tokens of the TokenRequest API have")
    if claims.sub != f"system:serviceaccount:{bound.namespace}:{bound.serviceaccount.name}":
        raise refused("its subject is not the ServiceAccount that its kubernetes.io claims name")
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
