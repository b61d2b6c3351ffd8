"""The first check of a token, without the API server: garbage costs it no request. Used by `distribute.reviews`.

With the cluster's keys (`weir_operator.kube.oidc`) it is the verification of `weir_router.contract.tokens`: form, key,
signature, audience, times, and whose token it is. The API server judges the issuer, since it may accept tokens of an
earlier one. While the keys are unknown only the form counts, and the API server is asked about the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from weir_operator.kube.accounts import ServiceAccount
from weir_operator.kube.token_reviews import TokenRefused
from weir_router.contract import TokenTrust
from weir_router.contract.tokens import BadToken, TokenVerifier, UnknownKey, check_form


class OfflineCheck:
    """A check of tokens with the cluster's keys. Used from one event loop."""

    def __init__(
        self,
        trust: Callable[[], TokenTrust | None],
        *,
        on_unknown_key: Callable[[], bool] = lambda: True,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`trust` gives the keys and the audience; None: the keys are unknown. `on_unknown_key` is called for a token
        of an unknown key of this cluster, which may be a new one; False: the keys cannot be fetched at the moment.
        """
        self._trust = trust
        self._on_unknown_key = on_unknown_key
        self._wall = wall
        self._verifier: TokenVerifier | None = None

    def __call__(self, token: str) -> ServiceAccount | None:
        """The ServiceAccount that the token proves; None: nothing is proven, and the API server must be asked. Raises
        `TokenRefused`.
        """
        trust = self._trust()
        try:
            if trust is None:
                check_form(token)
                return None
            if self._verifier is None or self._verifier.trust != trust:
                self._verifier = TokenVerifier(trust, any_issuer=True)
            caller = self._verifier.verify(token, self._wall()).caller
        except UnknownKey as error:
            if not self._on_unknown_key():
                return None
            raise TokenRefused(f"the token is not accepted: {error}") from None
        except BadToken as error:
            raise TokenRefused(f"the token is not accepted: {error}") from None
        return ServiceAccount(caller.namespace, caller.name)
