"""Who is asking: an API key, or anonymous where the config says so. Called once per request by `serve.story`.

ServiceAccount tokens are recognised, so that their owner gets a message that helps, and not yet verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from weir_router.contract import CallerKind, Secrets
from weir_router.errors import Unauthenticated
from weir_router.identify.caller import Caller

KEY_PREFIX = "weir_"
"""What every key of `weir key create` begins with, so that scanners and people can tell what leaked."""

_BEARER = "bearer "


def fingerprint(key: str) -> str:
    """Hex SHA-256 of an API key: what is stored of it. Plain SHA-256 is enough for ≥ 128 random bits."""
    # surrogateescape: a header may hold bytes that are not UTF-8, and such a key is unknown rather than a crash.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key that an SDK sent: OpenAI's in `Authorization: Bearer`, Anthropic's in `x-api-key`.

    Anthropic's SDK sends both when its environment holds a key beside the token: then Weir's own counts.
    """
    authorization = headers.get("authorization", "")
    bearer = authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else ""
    shown = [key for key in (headers.get("x-api-key"), bearer) if key]
    return next((key for key in shown if key.startswith(KEY_PREFIX)), shown[0] if shown else None)


def identify(headers: Mapping[str, str], secrets: Secrets, anonymous_namespace: str | None) -> Caller:
    """The caller behind `headers` (lower-case names).

    Raises `Unauthenticated` for a key that is not known, for a ServiceAccount token, and for no key where anonymous
    callers are not allowed. Every SDK sends some key: where anonymous callers are allowed one that is not Weir's is
    ignored.
    """
    key = presented_key(headers)
    if key is not None and key.startswith(KEY_PREFIX):
        known = secrets.caller_keys.get(fingerprint(key))
        if known is None:
            raise Unauthenticated(
                "This Weir API key is not known. It may have been deleted, or belong to another installation; "
                "make a new one with `weir key create` and apply its Secret."
            )
        return Caller(namespace=known.namespace, name=known.name, kind=CallerKind.API_KEY, user_tier=known.user_tier)
    if key is not None and key.startswith("eyJ") and key.count(".") == 2:
        raise Unauthenticated(
            "ServiceAccount tokens are not accepted by this router; use a key made by `weir key create`."
        )
    if anonymous_namespace is not None:
        return Caller(namespace=anonymous_namespace, name="anonymous", kind=CallerKind.ANONYMOUS, user_tier=None)
    if key is None:
        raise Unauthenticated(
            "No API key: send one made by `weir key create` as `Authorization: Bearer` or `x-api-key`."
        )
    raise Unauthenticated(
        "This is not a Weir API key (they begin with `weir_`). "
        "A provider's own key is not used here; see `weir key create`."
    )
