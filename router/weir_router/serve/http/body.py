"""The body of an incoming request, counted in the router's memory. One per connection; used by `connection`."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from weir_router.admit.memory import PER_BYTE, STRANGERS, Holder, Memory
from weir_router.serve.http.message import NO_MEMORY, TOO_LARGE, Refused


class Largest:
    """The size of the largest body that is read, in bytes. A server and its connections share it."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size  # another config may change it


class Body(Holder):
    """The received bytes of one body. Nearly every body comes as one part, which is kept without a copy."""

    __slots__ = ("_first", "_largest", "_memory", "_rest", "size")

    def __init__(self, memory: Memory, largest: Largest) -> None:
        """A body of more than `largest` is refused."""
        self._memory = memory
        self._largest: Final = largest
        self._first = b""
        self._rest: BytesIO | None = None  # a list would take fifty bytes for each part, even of one byte
        self.size = 0  # bytes that have come
        self.held = 0  # bytes that are counted in the memory
        self.namespace = STRANGERS  # for which they are counted

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
        """Counts memory for `size` bytes of body in total. Returns None, or the reason why there is no memory."""
        if (refused := self.beyond(size)) is not None:
            return refused
        more = size * PER_BYTE - self.held
        if more > 0:
            if not self._memory.take(more, self.namespace):
                return self.no_memory()
            self.held += more
        return None

    def beyond(self, size: int) -> Refused | None:
        """The refusal of `size` bytes if a body must not have so many."""
        most = self._largest.size
        if size <= most:
            return None
        return TOO_LARGE, f"The request is larger than {most} bytes, the most that any policy or --memory allows here."

    def no_memory(self) -> Refused:
        """The refusal of a body without memory for it."""
        return NO_MEMORY, self._memory.no_room("this request", self.namespace)

    def whole(self) -> bytes:
        """The received bytes, in one piece."""
        return self._first if self._rest is None else self._rest.getvalue()

    def belongs(self, namespace: str) -> None:
        """The caller is known. Nothing is counted until `reserve` counts it for this namespace."""
        if namespace == self.namespace:
            return
        self._memory.give_back(self.held, self.namespace)
        self.held, self.namespace = 0, namespace

    def hand_over(self, holder: Holder) -> None:
        """Leaves what is counted to `holder`, which holds nothing for another namespace, and forgets the bytes."""
        holder.namespace = self.namespace
        holder.held += self.held
        self.held = 0
        self.clear()

    def clear(self) -> None:
        """Forgets the bytes, and gives back what is counted for them."""
        if self.held:
            self._memory.give_back(self.held, self.namespace)
        self.held, self.size, self.namespace, self._first, self._rest = 0, 0, STRANGERS, b"", None
