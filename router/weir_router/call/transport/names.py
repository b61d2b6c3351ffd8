"""Addresses of hosts, looked up for each connection. While DNS fails, the last known ones are used. Used by `pool` and
`aiohttp_client`.

An address to which no router may connect is left out: the owner of a name can give it any address, at any time. So the
addresses are checked that the connection is then made to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from weir_router.contract.addresses import LAPTOP, HostPolicy, refused
from weir_router.errors import AttemptFailed, FailureKind

LOOKUP = 1.0
"""Seconds after which a look-up falls back to known addresses: half of the connect timeout."""

NAMES = 1024
"""Hosts that are remembered, to bound memory over many configs: far more than one config has."""

Hosts = Callable[[], HostPolicy | None]
"""The present rules for addresses; None: any may be connected to."""


def laptop() -> HostPolicy | None:
    """The rules outside of a cluster."""
    return LAPTOP


def anywhere() -> HostPolicy | None:
    """No rules, for hosts that no tenant names, such as a sidecar's gateway."""
    return None


class Names:
    """The host names that this router has looked up."""

    def __init__(self, hosts: Hosts = laptop) -> None:
        self._hosts = hosts
        self._known: dict[tuple[str, int], list[Any]] = {}

    async def addresses(self, host: str, port: int) -> list[Any]:
        """The addresses in the form of `getaddrinfo` to which a router may connect, at least one.

        Raises `OSError` if the look-up fails and none are known, and `AttemptFailed` if all are forbidden.
        """
        found = await self._found(host, port)
        policy = self._hosts()
        if policy is None:
            return found
        allowed, what = [], None
        for each in found:
            forbidden = refused(ipaddress.ip_address(each[4][0].partition("%")[0]), policy)
            if forbidden is None:
                allowed.append(each)
            else:
                what = forbidden
        if what is not None and not allowed:
            raise AttemptFailed(FailureKind.HOST, f"the host of baseURL leads to {what}, where no backend may be")
        return allowed

    async def _found(self, host: str, port: int) -> list[Any]:
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
