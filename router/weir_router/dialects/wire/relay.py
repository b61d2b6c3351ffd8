"""Renderers: the same dialect relayed byte for byte, and answers put together for plain callers.

Made by a format's `upstream`. A stream goes from one format to another through `neutral.translation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from weir_router.dialects.base import Event, Signal
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.frame import Frame

_encode = msgspec.json.Encoder().encode
_NO_USAGE = b',"usage":null'

_CONTENT, _DONE, _HIDE = Signal.CONTENT, Signal.DONE, Signal.HIDE  # bound once: to look up an enum's member is slow

_IN_VAIN = 4
"""Frames of one stream that may be learned without one part that fits: what differs each time is read each time."""


class Relay:
    """Hands each event on as it came. `last` is sent at the end where the upstream left out the dialect's own; `text`
    is the field in which the dialect has an event's text.
    """

    skims = True

    def __init__(self, last: bytes, text: bytes) -> None:
        self._last = last
        self._text = text
        self._frame = Frame()

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        if signal is _DONE:
            self._last = b""
        return event.raw

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        """See `Renderer`. The frame learns what other parts with a text look like."""
        shown = self._shown(part)
        if signal is _CONTENT and shown is not None:
            self._frame.learn(part, self._text, None if shown is part else self._shown)
        elif signal is _DONE:
            self._last = b""
        return shown

    def _shown(self, piece: bytes) -> bytes | None:
        """What the caller gets for a part, or for what it has before or behind its text; None: that cannot be told."""
        return piece

    def frame(self) -> Frame:
        return self._frame

    def end(self) -> bytes:
        return self._last


class UsageHidingRelay(Relay):
    """A relay for a caller who did not ask for the usage that Weir made the upstream send."""

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        raw = super().feed(event, payload, signal)
        if signal is _HIDE:
            return b""
        if payload is None or "usage" not in payload:
            return raw
        if payload["usage"] is None and raw.find(_NO_USAGE) >= 0:
            # OpenAI puts it into every chunk. Unescaped quotes: this cannot be part of a text.
            return raw.replace(_NO_USAGE, b"", 1)
        shown = {name: value for name, value in payload.items() if name != "usage"}
        name = b"" if event.name is None else b"event: %b\n" % event.name.encode()
        return b"%bdata: %b\n\n" % (name, encode(shown))

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        return b"" if signal is _HIDE else super().pass_on(part, signal)

    def _shown(self, piece: bytes) -> bytes | None:
        if not piece.partition(b'"usage"')[1]:  # `in` costs ten times as much, `find` twice
            return piece
        without = piece.replace(_NO_USAGE, b"", 1)
        return without if len(without) < len(piece) else None


class Assembler(Protocol):
    """Puts one dialect's stream together; see `assemble_openai` and `assemble_anthropic`."""

    def feed(self, payload: dict[str, Any]) -> None:
        """Adds an event. May raise TypeError, ValueError, KeyError, AttributeError for a malformed one."""

    def lone_text(self, payload: dict[str, Any]) -> LoneText | None:
        """What `payload`, which was just added, has besides what the events before it have said already: one text.

        None: to add it again, with another text, could change anything else of the answer.
        """

    def answer(self) -> dict[str, Any]:
        """What the upstream would have answered without a stream."""


class LoneText(NamedTuple):
    """All that an event adds to an answer."""

    name: str  # of the field in which the event has it
    pieces: list[str]  # of the answer's text so far, this one's included


class Gathered(Frame):
    """Takes texts out of the frame in which they come, for an answer that is put together."""

    __slots__ = ("_in_vain", "_pieces")

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[str] = []
        self._in_vain = 0

    def passed(self, part: bytes) -> bytes | None:
        text = self.text(part)
        if text is None:
            return None
        self._pieces.append(text)
        self._in_vain = 0
        return b""

    def follow(self, event: Event, text: LoneText | None) -> None:
        """The last event that was added is this one: those behind it add no more if they differ in `text` alone."""
        self.forget()
        if text is None or self._in_vain >= _IN_VAIN:
            return
        self._in_vain += 1
        self._pieces = text.pieces
        self.learn(event.raw, text.name.encode("utf-8", "surrogatepass"))


class Assembled:
    """The renderer for a plain caller. `translate` turns the whole answer into the caller's format."""

    skims = False

    def __init__(
        self, assembler: Assembler, translate: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    ) -> None:
        self._assembler = assembler
        self._translate = translate
        self._gathered = Gathered()

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        return None

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        if payload is not None:
            try:
                self._assembler.feed(payload)
                text = self._assembler.lone_text(payload) if signal is _CONTENT else None
                self._gathered.follow(event, text)
            except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
                raise malformed("an event that does not fit those before it") from None
        return b""

    def frame(self) -> Frame:
        return self._gathered

    def end(self) -> bytes:
        try:
            answer = self._assembler.answer()
            return encode(self._translate(answer) if self._translate else answer)
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
            raise malformed("a stream that makes no whole answer") from None


def encode(value: Any) -> bytes:
    """JSON bytes, also of text in which the upstream left half a surrogate pair."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_whole_characters(value))


def _whole_characters(value: Any) -> Any:
    """Surrogate pairs joined (an emoji may have come in two events), lone halves replaced."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(item) for name, item in value.items()}
    return value
