"""The version of the contract, the error for a config that cannot be used, and the hash that names content."""

from __future__ import annotations

import hashlib

API_VERSION = "config.weir.dev/v1"
"""Major version of `CompiledConfig`. It is raised only when an old router would misread a new config."""


class ConfigRejected(Exception):
    """A config that must not be run; the router keeps the last good one."""


def check_version(version: str) -> None:
    """Raises `ConfigRejected` unless this code understands configs of `version`."""
    if version != API_VERSION:
        raise ConfigRejected(
            f"config version {version!r} is not understood by this router, which reads "
            f"{API_VERSION!r}; upgrade the router"
        )


def digest(content: bytes) -> str:
    """The hash that names `content`: `sha256:` and 64 hexadecimal digits. `Backend.credential` is one."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
