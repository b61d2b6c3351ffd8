"""API keys: how a request shows one, and to which caller it belongs. Used by `identify.identifier`."""

from __future__ import annotations

import hashlib

from weir_router.contract import CallerKind, Secrets
from weir_router.contract.caller import Caller
from weir_router.errors import Unauthenticated

KEY_PREFIX = "weir_"
"""Prefix of every key of `weir key create`, so that scanners and people recognise a leaked key."""

_BEARER = "bearer "

AZURE_KEY = "api-key"
"""The header in which OpenAI's SDK for Azure sends a key."""


def fingerprint(key: str) -> str:
    """Hex SHA-256 of an API key, the only stored form. Plain SHA-256 is enough for ≥ 128 random bits."""
    # surrogateescape: a header may hold bytes that are not UTF-8, and such a key is unknown rather than a crash.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def presented_key(headers: dict[str, str]) -> str | None:
    """The key or token that an SDK sent: OpenAI's in `Authorization: Bearer`, Anthropic's in either header, and that of
    OpenAI for Azure in `api-key`.

    Anthropic's SDK sends two when its environment holds a key and a token, and clients that also know Azure send
    `api-key` beside another. Then Weir's own key counts first, a token second, and a provider's key last.
    """
    authorization = headers.get("authorization", "")
    is_bearer = authorization.startswith("Bearer ") or authorization[: len(_BEARER)].lower() == _BEARER
    bearer = authorization[len(_BEARER) :].strip() if is_bearer else ""
    own = headers.get("x-api-key", "")
    if AZURE_KEY not in headers and (not bearer or not own):
        return bearer or own or None  # nearly always
    return min([it for it in (own, bearer, headers.get(AZURE_KEY)) if it], key=_rank, default=None)


def missing(headers: dict[str, str]) -> str:
    """The message for a caller without key and token. It names no value of a header: that may be a key."""
    message = "No key and no token: send a ServiceAccount token, or a key made by `weir key create`, as "
    message += "`Authorization: Bearer`, `x-api-key` or `api-key`."
    authorization = headers.get("authorization", "").strip()
    if authorization.lower() == _BEARER.strip():
        return f"{message} Nothing follows the `Bearer` of this request: perhaps a variable is not set."
    return f"{message} The `Authorization` of this request does not begin with `Bearer`." if authorization else message


def _rank(key: str) -> int:
    return 0 if key.startswith(KEY_PREFIX) else 1 if is_token(key) else 2


def is_token(key: str) -> bool:
    """Whether `key` has the form of a JWT, such as a ServiceAccount token: `{"` in base64, and two dots."""
    return key.startswith("eyJ") and key.count(".") == 2


def key_owner(key: str, secrets: Secrets) -> Caller:
    """The caller to which the API key belongs. Raises `Unauthenticated` for an unknown key."""
    known = secrets.caller_keys.get(fingerprint(key))
    if known is None:
        raise Unauthenticated(
            "This Weir API key is not known. It may have been deleted, or belong to another installation; "
            "make a new one with `weir key create` and apply its Secret."
        )
    return Caller(namespace=known.namespace, name=known.name, kind=CallerKind.API_KEY, user_tier=known.user_tier)
