"""Answers on their way to one caller: the bytes of whole ones, and streams. Used by `connection`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from weir_router.serve.http.message import Answer

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""An interim answer, for which some callers wait before they send the body."""

_STARTS = {
    version: {it.value: f"HTTP/{version} {it.value} {it.phrase}\r\n".encode() for it in HTTPStatus}
    for version in ("1.0", "1.1")
}
_CLOSE = b"connection: close\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_SIZES = [b"%x\r\n" % size for size in range(1024)]  # beginnings of nearly all chunks


class Outgoing:
    """A `message.Stream` on one connection."""

    __slots__ = ("_chunked", "_listener", "_pressed", "_transport", "ended", "gone")

    def __init__(self, transport: asyncio.Transport, chunked: bool) -> None:
        self.ended = False
        self.gone = False  # the connection is closing, and would accept data in vain
        self._transport = transport
        self._chunked = chunked
        self._pressed = False
        self._listener: Callable[[bool], None] | None = None

    def write(self, data: bytes) -> None:
        """See `message.Stream`, as for `end` and `on_pressure`."""
        if data and not self.gone:
            self._transport.write(_chunk_of(data) if self._chunked else data)

    def end(self, last: bytes = b"") -> None:
        """Completes the answer."""
        if self.ended:
            return
        self.ended = True
        if not self._chunked:
            self.write(last)
        elif not self.gone:
            self._transport.write(_chunk_of(last) + _LAST_CHUNK if last else _LAST_CHUNK)

    def waiting(self) -> int:
        """Bytes that the caller has not taken yet."""
        return 0 if self.gone else self._transport.get_write_buffer_size()

    def on_pressure(self, listener: Callable[[bool], None]) -> None:
        """Has `listener` called when the pressure changes."""
        self._listener = listener
        if self._pressed:
            listener(True)

    def press(self, pressed: bool) -> None:
        """Called when the connection's buffer is full, or empty again."""
        self._pressed = pressed
        if self._listener is not None:
            self._listener(pressed)


def whole(version: str, answer: Answer, common: bytes, *, last: bool, head_only: bool = False) -> bytes:
    """The bytes of a whole answer. `last`: the connection is closed after it."""
    parts = (
        _start(version, answer.status),
        common,
        answer.fields,
        _CLOSE if last else b"",
        b"content-length: %d\r\n\r\n" % len(answer.body),
        b"" if head_only else answer.body,
    )
    return b"".join(parts)


def beginning(version: str, status: int, fields: bytes, first: bytes, *, common: bytes, last: bool) -> bytes:
    """The bytes with which a stream begins: its head and the `first` part."""
    chunked = version != "1.0"
    parts = (
        _start(version, status),
        common,
        fields,
        _CLOSE if last else b"",
        b"transfer-encoding: chunked\r\n\r\n" if chunked else b"\r\n",
        _chunk_of(first) if first and chunked else first,
    )
    return b"".join(parts)


def _start(version: str, status: int) -> bytes:
    known = _STARTS["1.0" if version == "1.0" else "1.1"]
    return known.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()  # an upstream's own status


def _chunk_of(data: bytes) -> bytes:
    """`data` as one chunk of a chunked answer."""
    size = len(data)
    return (_SIZES[size] if size < len(_SIZES) else b"%x\r\n" % size) + data + b"\r\n"
