"""Credentials and callers' keys. They travel apart from `CompiledConfig`, keyed by a hash of their value."""

from __future__ import annotations

from weir_router.contract.base import Wire
from weir_router.contract.caller import CallerKey


class Secrets(Wire, frozen=True):
    """Values that must never appear in a log, a ConfigMap or a status."""

    credentials: dict[str, str] = {}  # hash of the value -> value
    caller_keys: dict[str, CallerKey] = {}  # hex SHA-256 of the API key -> its owner

    def __repr__(self) -> str:
        """Counts only, so that a stray log line leaks nothing."""
        return f"Secrets({len(self.credentials)} credentials, {len(self.caller_keys)} caller keys)"
