"""A streamed answer on one connection. Used by `connection`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LAST_CHUNK = b"0\r\n\r\n"
_SIZES = [b"%x\r\n" % size for size in range(1024)]  # beginnings of nearly all chunks; formatting the number costs more


class Outgoing:
    """A `message.Stream` on one connection."""

    __slots__ = ("_chunked", "_pressed", "_told", "_transport", "ended", "gone")

    def __init__(self, transport: asyncio.Transport, chunked: bool) -> None:
        self.ended = False
        self.gone = False  # the connection is closing, and would accept data in vain
        self._transport = transport
        self._chunked = chunked
        self._pressed = False
        self._told: Callable[[bool], None] | None = None

    def write(self, data: bytes) -> None:
        """See `message.Stream`, as for `end` and `on_pressure`."""
        if data and not self.gone:
            self._transport.write(chunk_of(data) if self._chunked else data)

    def end(self, last: bytes = b"") -> None:
        """Completes the answer."""
        if self.ended:
            return
        self.ended = True
        if not self._chunked:
            self.write(last)
        elif not self.gone:
            self._transport.write(chunk_of(last) + _LAST_CHUNK if last else _LAST_CHUNK)

    def on_pressure(self, told: Callable[[bool], None]) -> None:
        """Has `told` called when the pressure changes."""
        self._told = told
        if self._pressed:
            told(True)

    def press(self, pressed: bool) -> None:
        """Called when the connection's buffer is full, or empty again."""
        self._pressed = pressed
        if self._told is not None:
            self._told(pressed)


def chunk_of(data: bytes) -> bytes:
    """`data` as one chunk of a chunked answer."""
    size = len(data)
    return (_SIZES[size] if size < len(_SIZES) else b"%x\r\n" % size) + data + b"\r\n"  # `join` costs twice as much
