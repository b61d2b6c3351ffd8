"""The wire formats that servers of each provider's kind take. Used by `schema` and `compile`."""

from __future__ import annotations

from weir_router.contract import Dialect, WireFormat

SPOKEN = {Dialect.OPENAI: tuple(WireFormat), Dialect.ANTHROPIC: (WireFormat.MESSAGES,)}
"""The wire formats that a server of a provider's kind may take."""

WITH_ENDPOINTS = frozenset({Dialect.OPENAI})
"""Providers whose servers may take operations beyond conversations."""

OWN_FORMATS = {Dialect.OPENAI: (WireFormat.RESPONSES, WireFormat.CHAT), Dialect.ANTHROPIC: ()}
"""The wire formats of the provider itself, if they are several: OpenAI's newest models take tools in Responses only."""
