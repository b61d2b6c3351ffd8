"""A cluster that signs ServiceAccount tokens, as an API server does: for tests without one."""

from __future__ import annotations

from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from weir_router.contract import SigningKey, TokenTrust

ISSUER = "https://kubernetes.default.svc"
AUDIENCE = "weir/weir"
NOW = 1_800_000_000.0
"""Seconds since the epoch at which a new `ManualClock` starts."""


class Signer:
    """One signing key; `public` is the part that the operator publishes."""

    def __init__(self, name: str = "key-1", algorithm: str = "RS256") -> None:
        self.name, self.algorithm = name, algorithm
        if algorithm.startswith("RS"):
            self.private: Any = rsa.generate_private_key(65537, 2048)
            jwk = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            curve = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[algorithm]
            self.private = ec.generate_private_key(curve())
            jwk = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        parts = {part: jwk[part] for part in ("n", "e", "crv", "x", "y") if part in jwk}
        self.public = SigningKey(id=name, algorithm=algorithm, **parts)

    def token(self, namespace: str = "team-a", account: str = "web", *, header: Any = None, **changes: Any) -> str:
        """A good token of a pod's ServiceAccount, with `changes` of its claims; None removes a claim."""
        claims = claims_of(namespace, account) | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.name, **(header or {})})


def claims_of(namespace: str = "team-a", account: str = "web") -> dict[str, Any]:
    """The claims of a projected token, as a kubelet gets it."""
    return {
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "iat": NOW - 60,
        "nbf": NOW - 60,
        "exp": NOW + 3600,
        "sub": f"system:serviceaccount:{namespace}:{account}",
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": {"name": account, "uid": "0f"},
            "pod": {"name": f"{account}-0", "uid": "1f"},
            "node": {"name": "node-1", "uid": "2f"},
        },
    }


def trust(*signers: Signer, **changes: Any) -> TokenTrust:
    """The trust that an installation called weir publishes."""
    fields: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "keys": tuple(it.public for it in signers)}
    return TokenTrust(**(fields | changes))


RSA = Signer("rsa")
EC = Signer("ec", "ES256")
STRANGER = Signer("rsa")
"""Signer of another cluster, with a key of the same name."""
