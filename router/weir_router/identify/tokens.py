"""ServiceAccount tokens of callers: the verification of `weir_router.contract.tokens`, with errors for callers. Used by
`identify.identifier`.
"""

from __future__ import annotations

from weir_router.contract import TokenTrust, tokens
from weir_router.contract.tokens import LEEWAY, BadToken, Verified
from weir_router.errors import Unauthenticated

__all__ = ["LEEWAY", "TokenVerifier", "Verified"]


class TokenVerifier:
    """Verifies tokens against one `TokenTrust`."""

    def __init__(self, trust: TokenTrust) -> None:
        self.trust = trust
        self._verifier = tokens.TokenVerifier(trust)

    def verify(self, token: str, now: float) -> Verified:
        """The caller to which the token belongs; `now` in seconds since the epoch. Raises `Unauthenticated`, whose
        message says how to get a right token and does not repeat this one.
        """
        try:
            return self._verifier.verify(token, now)
        except BadToken as error:
            audience = self.trust.audience
            raise Unauthenticated(
                f"This ServiceAccount token is not accepted: {error}. To have a right one, project a "
                f"serviceAccountToken of audience {audience} into the pod, or run "
                f"`kubectl create token SERVICEACCOUNT --namespace NAMESPACE --audience {audience}`."
            ) from None
