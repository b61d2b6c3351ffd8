"""Renderers: relays of the same format byte for byte, and assembled answers for plain callers.

Made by a format's `upstream`. A stream goes from one format to another through `neutral.translation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from weir_router.dialects.base import Event, Place, Signal
from weir_router.dialects.wire.frame import Frame
from weir_router.dialects.wire.lossy import lossy

_encode = msgspec.json.Encoder().encode
_NO_USAGE = b',"usage":null'


_IN_VAIN = 4
"""Frames of one stream that may be learned without a part that fits; after that every part is read."""


class Relay:
    """Relays each event unchanged. `last` is sent at the end if the upstream left out the format's own end; `text`
    is the field that holds an event's text.
    """

    skims = True

    def __init__(self, last: bytes, text: bytes) -> None:
        self._last = last
        self._text = text
        self._frame = Frame()

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        if signal is Signal.DONE:
            self._last = b""
        return event.raw

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        """See `Renderer`. The frame learns what other parts with a text look like."""
        shown = self._shown(part)
        if signal is Signal.CONTENT and shown is not None:
            self._frame.learn(part, self._text, None if shown is part else self._shown)
        elif signal is Signal.DONE:
            self._last = b""
        return shown

    def _shown(self, piece: bytes) -> bytes | None:
        """The caller's bytes for a part, or for the bytes before or after its text; None: unknown."""
        return piece

    def frame(self) -> Frame:
        return self._frame

    def end(self) -> bytes:
        return self._last

    def place(self) -> Place | None:
        """See `Renderer`. The events of other formats have no numbers."""
        return None


class UsageHidingRelay(Relay):
    """A relay that hides the usage which Weir requested from a caller that did not ask for it."""

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        raw = super().feed(event, payload, signal)
        if signal is Signal.HIDE:
            return b""
        if payload is None or "usage" not in payload:
            return raw
        if payload["usage"] is None and raw.find(_NO_USAGE) >= 0:
            # OpenAI puts it into every chunk. Its quotes are not escaped, so it cannot be part of a text.
            return raw.replace(_NO_USAGE, b"", 1)
        shown = {name: value for name, value in payload.items() if name != "usage"}
        name = b"" if event.name is None else b"event: %b\n" % event.name.encode()
        return b"%bdata: %b\n\n" % (name, encode(shown))

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        return b"" if signal is Signal.HIDE else super().pass_on(part, signal)

    def _shown(self, piece: bytes) -> bytes | None:
        if b'"usage"' not in piece:
            return piece
        without = piece.replace(_NO_USAGE, b"", 1)
        return without if len(without) < len(piece) else None


class ChangingRelay(Relay):
    """A relay that shows some events in another form. `change` gives the payload to show, or the same object."""

    def __init__(self, last: bytes, text: bytes, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        super().__init__(last, text)
        self._change = change

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        raw = super().feed(event, payload, signal)
        if payload is None:
            return raw
        shown = self._change(payload)
        if shown is payload:
            return raw
        name = b"" if event.name is None else b"event: %b\n" % event.name.encode()
        return b"%bdata: %b\n\n" % (name, encode(shown))


class Assembler(Protocol):
    """Assembles the stream of one format; see the formats' `assemble`."""

    def feed(self, payload: dict[str, Any]) -> None:
        """Adds an event. May raise TypeError, ValueError, KeyError, AttributeError for a malformed one."""

    def lone_text(self, payload: dict[str, Any]) -> LoneText | None:
        """The one text that `payload`, which was just added, adds to the events before it.

        None: the same event with another text could change another part of the answer.
        """

    def answer(self) -> dict[str, Any]:
        """The answer that the upstream would have given without a stream."""


class LoneText(NamedTuple):
    """The text that an event adds to an answer, and nothing else."""

    name: str  # of the event's field that holds it
    pieces: list[str]  # of the answer's text so far, with this one


class Gathered(Frame):
    """A frame that collects the texts of its parts, for an assembled answer."""

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
        """Learns the event that was added last: later ones that differ only in `text` add nothing else."""
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
                text = self._assembler.lone_text(payload) if signal is Signal.CONTENT else None
                self._gathered.follow(event, text)
            except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
                raise lossy("an event does not fit those before it") from None
        return b""

    def frame(self) -> Frame:
        return self._gathered

    def end(self) -> bytes:
        try:
            answer = self._assembler.answer()
            return encode(self._translate(answer) if self._translate else answer)
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
            raise lossy("its events make no whole answer") from None

    def place(self) -> Place | None:
        return None


def encode(value: Any) -> bytes:
    """JSON bytes, even of text in which the upstream left half a surrogate pair."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_whole_characters(value))


def _whole_characters(value: Any) -> Any:
    """`value` with surrogate pairs joined (an emoji may have come in two events) and lone halves replaced."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(item) for name, item in value.items()}
    return value
