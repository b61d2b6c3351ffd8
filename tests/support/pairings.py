"""A caller's format beside a provider's default one, as for a backend that states no dialects."""

from __future__ import annotations

from weir_router.contract import Backend, Dialect
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Pairing
from weir_router.dialects.registry import CONVERSATIONS, pairings_of

FORMATS = tuple(record.format for record in CONVERSATIONS)
"""The formats of conversations, between which Weir translates."""


def pairing_at(caller: Format, provider: Dialect) -> Pairing:
    """The pairing of a plain backend of this provider."""
    return pairings_of(caller, Backend(name="b", provider=provider, base_url="http://127.0.0.1", model="m"))[0]
