"""Credentials and callers' keys. They travel apart from `CompiledConfig`, keyed by a hash of their value."""

from __future__ import annotations

from weir_router.contract.base import Wire
from weir_router.contract.caller import CallerKey


class StateKey(Wire, frozen=True):
    """A key that seals ids of stored answers, see `weir_router.seal`. Only the gateway's routers have it: a tenant can
    read what its pods hold.
    """

    key: str  # base64, 32 bytes
    since: int = 0  # seconds since the epoch from which it seals; it proves at once

    def __repr__(self) -> str:
        """The moment only, so that no log shows the key."""
        return f"StateKey(since={self.since})"


class Secrets(Wire, frozen=True):
    """Values that must never appear in a log, a ConfigMap or a status."""

    credentials: dict[str, str] = {}  # hash of the value -> value
    caller_keys: dict[str, CallerKey] = {}  # hex SHA-256 of the API key -> its owner
    state_keys: tuple[StateKey, ...] = ()  # oldest first; empty: an older operator, or a sidecar

    def __repr__(self) -> str:
        """Counts only, so that a stray log line leaks nothing."""
        counts = f"{len(self.credentials)} credentials, {len(self.caller_keys)} caller keys"
        return f"Secrets({counts}, {len(self.state_keys)} state keys)"
