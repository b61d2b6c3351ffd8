"""An answer that comes in, read as far as measuring needs. Used by the benchmark's loads, closed and open."""

from __future__ import annotations

import msgspec

_CHUNK = b"data: {"
_END = b"0\r\n\r\n"
_KEPT = 64  # bytes of a stream's end that are looked at


class Outcome(msgspec.Struct, kw_only=True):
    """Answers of one load. Times in seconds."""

    answers: int = 0
    failed: int = 0
    chunks: int = 0
    seconds: float = 0.0
    cpu: float = 0.0  # seconds that the load itself took
    latencies: list[float] = []  # plain: whole answers; streamed: first content
    gaps: list[float] = []  # streamed: between reads that carried a chunk
    late: list[float] = []  # with a rate: from when a request was due to when it was sent


class Answer:
    """The received part of one answer. Its request was sent at a moment of the same clock as the moments of `take`.

    `last`: the end of a whole stream; None: a plain answer is awaited.
    """

    __slots__ = ("_begins", "_buffer", "_end", "_last", "_sent", "_streams")

    def __init__(self, sent: float, last: bytes | None) -> None:
        self._sent = sent
        self._last = 0.0  # moment of the last chunk
        self._end = last
        self._begins = True
        self._streams = False
        self._buffer = b""

    def take(self, data: bytes, moment: float, outcome: Outcome) -> bool | None:
        """Notes in `outcome` what came. Once it is whole: whether it is good."""
        if self._begins:
            self._begins = False
            self._streams = self._end is not None and data.startswith(b"HTTP/1.1 200")  # a refusal is no stream
        if not self._streams or self._end is None:
            return self._whole(data, moment, outcome)
        if chunks := data.count(_CHUNK):
            outcome.chunks += chunks
            if self._last:
                outcome.gaps.append(moment - self._last)
            else:
                outcome.latencies.append(moment - self._sent)
            self._last = moment
        self._buffer = buffer = (self._buffer + data)[-_KEPT:]
        return self._end in buffer if buffer.endswith(_END) else None

    def _whole(self, data: bytes, moment: float, outcome: Outcome) -> bool | None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        lower = head.lower()
        start = lower.find(b"content-length: ")
        if start >= 0:
            complete = len(body) >= int(lower[start + 16 :].split(b"\r\n", 1)[0])
        else:
            complete = body.endswith(_END)
        if not complete:
            return None
        if self._end is None:
            outcome.latencies.append(moment - self._sent)
        return head.startswith(b"HTTP/1.1 200")
