"""Identifies callers by an API key or a ServiceAccount token, or as anonymous where allowed. One per router, for
`serve`.

A token is verified once and looked up after that: its caller is kept under the token's SHA-256 until the token expires
or the trusted keys change. A good API key is kept itself, until the next config: hashing it would cost twenty times as
much, and this process holds more precious keys, those of the upstreams. Only the two headers of the SDKs identify a
caller.
"""

from __future__ import annotations

import hashlib

from weir_router.clock import Clock
from weir_router.contract import CallerKind, CompiledConfig, Secrets
from weir_router.contract.caller import Caller
from weir_router.errors import Unauthenticated
from weir_router.identify.keys import KEY_PREFIX, is_token, key_owner, missing, presented_key
from weir_router.identify.reviews import Reviewer, TokenReviews
from weir_router.identify.tokens import TokenVerifier, Verified

KNOWN_MAX = 10_000
"""Tokens that are remembered, oldest forgotten first: one per calling pod, about 500 bytes each."""


class Identifier:
    """Identifies callers by the latest config."""

    def __init__(self, clock: Clock, *, local: Caller | None = None, reviewer: Reviewer | None = None) -> None:
        """`local` is the caller of unauthenticated requests, independently of the config: a sidecar's pod. `reviewer`
        asks the API server about tokens, where the config demands it.
        """
        self._clock = clock
        self._local = local
        self._reviews = TokenReviews(reviewer, clock)
        self._secrets = Secrets()
        self._anonymous = local
        self._verifier: TokenVerifier | None = None
        self._known: dict[bytes, Verified] = {}
        self._owners: dict[str, Caller] = {}  # owners of good keys that requests have shown

    def configure(self, config: CompiledConfig, secrets: Secrets) -> None:
        """Goes over to a config. Verified tokens stay in memory as long as the same keys are trusted."""
        self._secrets = secrets
        self._owners.clear()
        self._anonymous = self._local or _anonymous(config.anonymous_namespace)
        trust = config.tokens
        if trust != (self._verifier.trust if self._verifier else None):
            self._verifier = TokenVerifier(trust) if trust is not None else None
            self._known.clear()

    def remembered(self, headers: dict[str, str]) -> Caller | None:
        """The caller, if a look-up is enough: the owner of a known key, or anonymous. None: call `identify`."""
        key = presented_key(headers)
        if key is None:
            return self._anonymous
        owner = self._owners.get(key)
        if owner is None and self._anonymous is not None and not (key.startswith(KEY_PREFIX) or is_token(key)):
            return self._anonymous  # as in `identify`
        return owner

    async def identify(self, headers: dict[str, str]) -> Caller:
        """The caller behind `headers` (lower-case names).

        Raises `Unauthenticated` for a bad key or token, and without one where anonymous callers are not allowed;
        `IdentityUnavailable` if the caller cannot be identified now. Every SDK sends some key: where anonymous callers
        are allowed, a key that is neither Weir's nor a token is ignored.
        """
        key = presented_key(headers)
        if key is not None and key.startswith(KEY_PREFIX):
            return self._owners.get(key) or self._key_owner(key)
        if key is not None and is_token(key):
            return await self._token_owner(key)
        if self._anonymous is not None:
            return self._anonymous
        if key is None:
            raise Unauthenticated(missing(headers))
        raise Unauthenticated(
            "This is neither a Weir API key (they begin with `weir_`) nor a ServiceAccount token. "
            "A provider's own key is not used here; see `weir key create`."
        )

    def _key_owner(self, key: str) -> Caller:
        owner = self._owners[key] = key_owner(key, self._secrets)
        return owner

    async def _token_owner(self, token: str) -> Caller:
        verifier = self._verifier
        if verifier is None:
            raise Unauthenticated(
                "ServiceAccount tokens are not accepted by this router, which has no keys of a cluster to verify them; "
                "use a key made by `weir key create`."
            )
        hashed = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        verified = self._known.get(hashed)
        now = self._clock.wall()
        if verified is None or now >= verified.expires:
            verified = verifier.verify(token, now)
            self._remember(hashed, verified)
        if verifier.trust.review:
            await self._reviews.check(token, hashed)
        return verified.caller

    def _remember(self, hashed: bytes, verified: Verified) -> None:
        self._known.pop(hashed, None)
        if len(self._known) >= KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[hashed] = verified


def _anonymous(namespace: str | None) -> Caller | None:
    if namespace is None:
        return None
    return Caller(namespace=namespace, name="anonymous", kind=CallerKind.ANONYMOUS)
