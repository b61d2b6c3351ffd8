"""A connection that works off its bytes in shares, one for each turn of the event loop. Used by `serve` and `call`.

The event loop hands out up to 256 KB at once, and 32 times that before it looks at another connection. A peer that
sends as fast as it can would keep all others waiting.
"""

from __future__ import annotations

import asyncio

TURN = 64 * 1024
"""Bytes of one connection that are worked off in one turn of the event loop. The costliest take 20 ms."""


class Paced(asyncio.Protocol):
    """One connection. Its `data_received` calls `share` for more than `TURN` bytes, and gets them again in shares."""

    __slots__ = ("_reading", "_rest", "_scheduled", "_transport")

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._reading = True  # more bytes are wanted
        self._rest = b""  # received bytes that wait for a later turn; the transport is paused meanwhile
        self._scheduled = False

    def share(self, data: bytes) -> None:
        """Works off the first bytes of `data` now, and the others in later turns."""
        self._rest = data
        self._transport.pause_reading()
        self._turn_begins()

    def pause(self) -> None:
        """Takes no more bytes until `resume`."""
        if self._reading:
            self._reading = False
            if not self._transport.is_closing():
                self._transport.pause_reading()

    def resume(self) -> None:
        """Takes bytes again."""
        if self._reading or self._transport.is_closing():
            return
        self._reading = True
        if self._rest:
            self._next_turn()
        else:
            self._transport.resume_reading()

    def _next_turn(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn_begins)

    def _turn_begins(self) -> None:
        self._scheduled = False
        if not self._reading or self._transport.is_closing():
            return
        rest = self._rest
        if not rest:  # the last share was worked off in the turn before
            self._transport.resume_reading()
            return
        self._rest = rest[TURN:]
        self.data_received(rest[:TURN])
        if self._reading:
            self._next_turn()
