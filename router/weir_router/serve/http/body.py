"""A request's body as it comes in, counted in the router's memory. One per connection; used by `connection`."""

from __future__ import annotations

from io import BytesIO

from weir_router.admit.memory import Memory


class Body:
    """The bytes of one body so far. Nearly every body comes as one part, which is kept as it is."""

    __slots__ = ("_first", "_memory", "_rest", "held", "size")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
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

    def reserve(self, size: int) -> bool:
        """Counts memory for `size` bytes in all. False: there is not enough."""
        more = size - self.held
        if more > 0:
            if not self._memory.take(more):
                return False
            self.held = size
        return True

    def whole(self) -> bytes:
        """All that has come, as one piece."""
        return self._first if self._rest is None else self._rest.getvalue()

    def clear(self) -> int:
        """Forgets the bytes. Returns how many are counted for them: the caller of this has to give those back."""
        held, self.held, self.size, self._first, self._rest = self.held, 0, 0, b"", None
        return held
