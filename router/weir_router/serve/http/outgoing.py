"""An answer that is written as it comes, on one connection. Used by `connection`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LAST_CHUNK = b"0\r\n\r\n"
_SIZES = [b"%x\r\n" % size for size in range(1024)]  # how nearly every chunk begins; formatting the number costs more


class Outgoing:
    """`message.Stream` on one connection."""

    __slots__ = ("_chunked", "_pressed", "_told", "_transport", "ended", "gone")

    def __init__(self, transport: asyncio.Transport, chunked: bool) -> None:
        self.ended = False
        self.gone = False  # the connection, before it was told so; one that is closing takes what nobody gets
        self._transport = transport
        self._chunked = chunked
        self._pressed = False
        self._told: Callable[[bool], None] | None = None

    def write(self, data: bytes) -> None:
        """See `message.Stream`, as for the other two."""
        if data and not self.gone:
            self._transport.write(chunk_of(data) if self._chunked else data)

    def end(self, last: bytes = b"") -> None:
        """The answer is complete."""
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
        """The connection's buffer is full, or empty again."""
        self._pressed = pressed
        if self._told is not None:
            self._told(pressed)


def chunk_of(data: bytes) -> bytes:
    """`data` as one chunk of a chunked answer."""
    size = len(data)
    return (_SIZES[size] if size < len(_SIZES) else b"%x\r\n" % size) + data + b"\r\n"  # `join` costs twice as much
