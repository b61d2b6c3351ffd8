"""Addresses of hosts, looked up for each connection. While DNS fails, the last known ones are used. Used by `pool`."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

LOOKUP = 1.0
"""Seconds after which a look-up falls back to known addresses: half of the connect timeout."""

NAMES = 1024
"""Hosts that are remembered, to bound memory over many configs: far more than one config has."""


class Names:
    """The host names that this router has looked up."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], list[Any]] = {}

    async def addresses(self, host: str, port: int) -> list[Any]:
        """The addresses in the form of `getaddrinfo`. Raises `OSError` if the look-up fails and none are known."""
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
