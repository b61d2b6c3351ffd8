"""The bytes of one answer that are counted in the router's memory while they are held. Used by `call.attempt`.

A stream is held to its end for a plain caller, and to its first content for a streaming one; a whole answer until it
has been sent. The first bytes are not counted: nearly every answer is short.
"""

from __future__ import annotations

from weir_router.admit.memory import Memory
from weir_router.call.transport import MAX_ASSEMBLED, MAX_WHOLE_ANSWER, STEP, UNBOUNDED
from weir_router.errors import AttemptFailed, FailureKind

PER_BYTE = 2
"""Bytes counted for one byte of a stream that is put together: its texts in pieces, and the answer made of them."""


class Held:
    """The count of one attempt."""

    __slots__ = ("_memory", "_namespace", "_stream", "counted", "until")

    def __init__(self, memory: Memory, namespace: str, *, stream: bool) -> None:
        """`namespace`: the caller's. `stream`: it wants a stream."""
        self._memory = memory
        self._namespace = namespace
        self._stream = stream
        self.until = STEP  # bytes of a stream that may be held; call `stretch` beyond them
        self.counted = 0

    def stretch(self, received: int) -> None:
        """Takes memory for a stream of so many bytes. Raises `AttemptFailed` (malformed) or `Overloaded`."""
        if received > (MAX_WHOLE_ANSWER if self._stream else MAX_ASSEMBLED):
            what = "a stream without content" if self._stream else "a stream"
            raise AttemptFailed(FailureKind.MALFORMED, f"{what} of more than {received - 1} bytes")
        more = received - self.until + STEP
        self.grow(more if self._stream else PER_BYTE * more)
        self.until += more

    def grow(self, size: int) -> None:
        """Takes memory for `size` more bytes. Raises `Overloaded`."""
        self._memory.claim(size, self._namespace, "this answer")
        self.counted += size

    def whole(self, size: int) -> None:
        """Takes memory for an answer of `size` bytes, of which some may be counted. Raises `Overloaded`."""
        if size - self.counted > STEP:
            self.grow(size - self.counted)

    def flows(self) -> None:
        """A stream has content, and is not held any more."""
        if self._stream:
            self.until = UNBOUNDED
            self.give_back()

    def handed_over(self) -> int:
        """The counted bytes, which the calling function gives back."""
        counted, self.counted = self.counted, 0
        return counted

    def give_back(self) -> None:
        """Gives back all that is counted."""
        self._memory.give_back(self.handed_over(), self._namespace)
