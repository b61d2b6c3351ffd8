"""Answers on their way to one caller: the bytes of whole ones, and streams. Used by `connection`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from weir_router.admit.memory import Memory
from weir_router.serve.http.message import Answer

PART = 64 * 1024
"""Bytes of a whole answer from which it is written in parts, as fast as the caller reads."""

UNREAD = 256 * 1024
"""Bytes counted for an answer whose caller does not read: those in the transport's buffer, and those that were read
from the upstream before it was paused."""

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

    __slots__ = (
        "_chunked",
        "_closing",
        "_free",
        "_held",
        "_listener",
        "_memory",
        "_namespace",
        "_pressed",
        "_transport",
        "ended",
        "gone",
    )

    def __init__(self, transport: asyncio.Transport, memory: Memory, namespace: str, *, chunked: bool) -> None:
        self._memory = memory
        self._namespace = namespace  # of the caller
        self._held = 0  # bytes counted while the caller does not read
        self._free: asyncio.Future[None] | None = None  # done when the caller has read
        self.ended = False
        self.gone = False  # the connection is closing, and would accept data in vain
        self._transport = transport
        self._chunked = chunked
        self._pressed = False
        self._listener: Callable[[bool], None] | None = None
        self._closing: Callable[[bytes], bytes] | None = None

    def write(self, data: bytes) -> None:
        """See `message.Stream`, as for `end` and `on_pressure`."""
        if data and not self.gone:
            self._transport.write(_chunk_of(data) if self._chunked else data)

    def end(self, last: bytes = b"") -> None:
        """Completes the answer."""
        if self.ended:
            return
        self.ended = True
        closing, self._closing = self._closing, None
        if closing is not None:
            last = closing(last)
        if not self._chunked:
            self.write(last)
        elif not self.gone:
            self._transport.write(_chunk_of(last) + _LAST_CHUNK if last else _LAST_CHUNK)

    def closes(self, closing: Callable[[bytes], bytes]) -> None:
        """See `message.Stream`."""
        self._closing = closing

    def waiting(self) -> int:
        """Bytes that the caller has not taken yet."""
        return 0 if self.gone else self._transport.get_write_buffer_size()

    def on_pressure(self, listener: Callable[[bool], None]) -> None:
        """Has `listener` called when the pressure changes."""
        self._listener = listener
        if self._pressed:
            listener(True)

    async def send(self, body: bytes) -> Answer | None:
        """Writes a whole body, as fast as the caller reads it. Returns what is left to send: nothing."""
        rest = memoryview(body)
        while rest and not self.gone:
            if self._pressed:
                self._free = asyncio.get_running_loop().create_future()
                await self._free
            self._transport.write(rest[:PART])
            rest = rest[PART:]
        self.ended = True
        return None

    def leave(self) -> None:
        """Called when the caller has gone."""
        self.gone = True
        self._closing = None  # it refers to the request
        self.close()

    def close(self) -> bool:
        """Gives back what is counted, once nothing more is written. Returns whether the answer was completed."""
        held, self._held = self._held, 0
        self._memory.give_back(held, self._namespace)
        return self.ended

    def press(self, pressed: bool) -> None:
        """Called when the connection's buffer is full, or empty again. Without memory for it, the connection ends."""
        self._pressed = pressed
        if not pressed:
            self.close()
            if self._free is not None and not self._free.done():
                self._free.set_result(None)
        elif not self._held:
            if not self._memory.take(UNREAD, self._namespace):
                self._transport.abort()
                return
            self._held = UNREAD
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
