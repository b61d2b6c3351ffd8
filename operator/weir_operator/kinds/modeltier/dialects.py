"""The wire formats that servers of each provider's kind take. Used by `schema` and `compile`."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b

from weir_router.contract import Dialect, WireFormat

SPOKEN = {Dialect.OPENAI: tuple(WireFormat), Dialect.ANTHROPIC: (WireFormat.MESSAGES,)}
"""The wire formats that a server of a provider's kind may take."""

WITH_ENDPOINTS = frozenset({Dialect.OPENAI})
"""Providers whose servers may take operations beyond conversations."""

OWN_FORMATS = {Dialect.OPENAI: (WireFormat.RESPONSES, WireFormat.CHAT), Dialect.ANTHROPIC: ()}
"""The wire formats of the provider itself, if they are several: OpenAI's newest models take tools in Responses only."""


def account_of(*place: str) -> str:
    """The name of what holds the state that requests leave: 96 bits, as in ids of stored answers.

    It is of the address and of the Secret's name and key. So an account's tiers and models share it, it outlives new
    values of the credential, and another Secret or address makes another account of it. With fewer bits a tenant could
    search for a Secret's name that makes its own server the account of another, and have foreign ids sealed for itself.
    """
    found = blake2b("\0".join(place).encode("utf-8", "replace"), digest_size=12).digest()
    return urlsafe_b64encode(found).decode()
