"""The store of the router's config: swapped as a whole, the last good one kept. Fed by the config sources.

Listeners are called after the swap, in the order of subscription, and must not fail.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from weir_router.contract import CompiledConfig, ConfigRejected, Secrets, check_version

Listener = Callable[[CompiledConfig, Secrets], None]


def decode(data: bytes) -> CompiledConfig:
    """A config from its JSON. Raises `ConfigRejected` for another major version, or if the data is not a config."""
    try:
        version = msgspec.json.decode(data, type=_Version).api_version
        check_version(version)
        return msgspec.json.decode(data, type=CompiledConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigRejected(f"not a config: {error}") from error


class _Version(msgspec.Struct, rename="camel"):
    api_version: str = "missing"


class ConfigStore:
    """Holds the config in use. Not thread-safe: used from the event loop only."""

    __slots__ = ("_listeners", "config", "rejected", "secrets", "waiting")

    def __init__(self) -> None:
        self.config: CompiledConfig | None = None
        self.secrets = Secrets()
        self.rejected: str | None = None
        self.waiting: str | None = None
        """The reason why a router still waits for its first config, for people; not an error."""
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Calls `listener` after every swap, and at once if there already is a config."""
        self._listeners.append(listener)
        if self.config is not None:
            listener(self.config, self.secrets)

    def apply(self, config: CompiledConfig, secrets: Secrets) -> None:
        """Swaps config and secrets together. Raises `ConfigRejected`, and remembers why, for an unusable config."""
        try:
            check_version(config.api_version)
            self._check_credentials(config, secrets)
        except ConfigRejected as error:
            self.rejected = str(error)
            raise
        self.config, self.secrets, self.rejected, self.waiting = config, secrets, None, None
        for listener in self._listeners:
            listener(config, secrets)

    def reject(self, reason: str | None) -> None:
        """Remembers why a newer config did not reach `apply`; None: there is no such config any more."""
        self.rejected = reason

    @staticmethod
    def _check_credentials(config: CompiledConfig, secrets: Secrets) -> None:
        for key, tier in config.tiers.items():
            for backend in tier.backends:
                if backend.credential is not None and backend.credential not in secrets.credentials:
                    raise ConfigRejected(f"the credential of backend {backend.name!r} in tier {key!r} has not arrived")
