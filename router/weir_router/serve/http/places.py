"""The places for connections: how many there may be on a port, in all and of one peer. Used by `server`.

Each connection takes a file descriptor, and an answer takes another one for its upstream. Callers must not use up all
of them: then probes on the admin port would fail, and the kubelet would end a healthy router. When all places are
taken, a connection between two requests makes room for a new one, as in nginx. HTTP allows to close it at any time.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

from weir_router.serve.http.keeper import Kept

PEER_SHARE = 4
"""Divisor of all places that gives those of one peer address: a pod in a cluster, or the proxy in front of a router."""

LEAST_PER_PEER = 1_000
"""Connections that one peer address may have in any case: one proxy may be in front of all callers."""

LOOKS = 64
"""Connections that are looked at, at most, to find an idle one. A flood of connections must not cost more each time."""


class Places:
    """The connections that hold a place, oldest first."""

    __slots__ = ("_peers", "_taken", "limit", "per_peer")

    def __init__(self, limit: int, per_peer: int | None = None) -> None:
        """`per_peer` bounds the connections of one address; it is not for loopback, which all local callers share."""
        self.limit = limit
        self.per_peer = max(limit // PEER_SHARE, LEAST_PER_PEER) if per_peer is None else per_peer
        self._taken: dict[Kept, str] = {}  # with their peers
        self._peers: dict[str, int] = {}  # connections of each peer; loopback is not among them

    @property
    def taken(self) -> int:
        """The number of connections that hold a place."""
        return len(self._taken)

    def enter(self, connection: Kept) -> bool:
        """Gives the connection a place, for which an idle one may have to close. False: there is none."""
        peer = connection.peer
        if self._peers.get(peer, 0) >= self.per_peer:
            return False
        if len(self._taken) >= self.limit and not self._made_room():
            return False
        if is_local(peer):
            peer = ""
        else:
            self._peers[peer] = self._peers.get(peer, 0) + 1
        self._taken[connection] = peer
        return True

    def leave(self, connection: Kept) -> None:
        """Frees the place of a connection that has ended. Does nothing if it has none."""
        peer = self._taken.pop(connection, "")
        if peer:
            count = self._peers[peer] - 1
            if count:
                self._peers[peer] = count
            else:
                del self._peers[peer]

    def _made_room(self) -> bool:
        """Closes the first idle connection among the oldest ones. A busy one is not looked at again for a while."""
        for _ in range(min(LOOKS, len(self._taken))):
            connection = next(iter(self._taken))
            if not connection.busy:
                self.leave(connection)
                connection.abort()
                return True
            self._taken[connection] = self._taken.pop(connection)
        return False


def is_local(peer: str) -> bool:
    """Whether a peer's address is one of loopback, or it has none since it is a Unix socket."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return True
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address of the other side, such as `10.0.0.7`; empty: it is gone, or has none."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) and name else ""
