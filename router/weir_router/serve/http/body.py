"""A request's body as it comes in, counted in the router's memory. One per connection; used by `connection`."""

from __future__ import annotations

from io import BytesIO

from weir_router.admit.memory import PER_BYTE, Memory
from weir_router.serve.http.message import NO_MEMORY, TOO_LARGE, Refused


class Body:
    """The bytes of one body so far. Nearly every body comes as one part, which is kept as it is."""

    __slots__ = ("_first", "_limit", "_memory", "_rest", "held", "size")

    def __init__(self, memory: Memory, limit: int) -> None:
        """A body of more than `limit` bytes is refused."""
        self._memory = memory
        self._limit = limit
        self._first = b""
        self._rest: BytesIO | None = None  # a list would cost fifty bytes for each part, which may be of one byte
        self.size = 0  # bytes that have come
        self.held = 0  # bytes that are counted in the memory

    def add(self, part: bytes) -> None:
        """Keeps one more part."""
        if self.size == 0:
            self._first = part
        else:
            if self._rest is None:
                self._rest = BytesIO()
                self._rest.write(self._first)
                self._first = b""
            self._rest.write(part)
        self.size += len(part)

    def reserve(self, size: int) -> Refused | None:
        """Counts memory for `size` bytes of body in all. Returns why there is none, or None."""
        if size > self._limit:
            return TOO_LARGE, f"The request is larger than {self._limit} bytes, the router's limit."
        more = size * PER_BYTE - self.held
        if more > 0:
            if not self._memory.take(more):
                return self.no_memory()
            self.held += more
        return None

    def no_memory(self) -> Refused:
        """Why a body is not read where there is no memory for it."""
        return NO_MEMORY, (
            f"This router holds as many bytes of requests as it may ({self._memory.limit}, see --memory), and has no "
            "room for this one now."
        )

    def whole(self) -> bytes:
        """All that has come, as one piece."""
        return self._first if self._rest is None else self._rest.getvalue()

    def clear(self) -> int:
        """Forgets the bytes. Returns how many are counted for them; its caller gives those back."""
        held, self.held, self.size, self._first, self._rest = self.held, 0, 0, b"", None
        return held
