"""Addresses of hosts, looked up for each connection; those of the last good look-up while DNS fails. Used by `pool`."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

LOOKUP = 1.0
"""Seconds after which addresses that are known already are used instead: half of the connect timeout."""

NAMES = 1024
"""Hosts that are remembered: far more than a config has; bounds memory over many configs."""


class Names:
    """What this router has looked up."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], list[Any]] = {}

    async def addresses(self, host: str, port: int) -> list[Any]:
        """As `getaddrinfo` gives them. Raises `OSError` when they cannot be found and never were."""
        known = self._known.get((host, port))
        try:
            async with asyncio.timeout(LOOKUP if known else None):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:  # a timeout too
            if known is None:
                raise
            return known
        if len(self._known) >= NAMES:
            self._known.clear()
        self._known[host, port] = found
        return found
