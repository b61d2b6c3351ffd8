"""The relay of a stream of this format, byte for byte. Used by `upstream`."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.base import Event, Place, Signal
from weir_router.dialects.openai_responses import skim
from weir_router.dialects.openai_responses.numbered import NumberedFrame
from weir_router.dialects.openai_responses.order import Order
from weir_router.dialects.openai_responses.sealed import marked_event
from weir_router.dialects.wire.frame import Frame
from weir_router.dialects.wire.relay import encode


class Relayed:
    """A `Renderer` that changes nothing but the mark of encrypted reasoning, and knows the number of the last event."""

    skims = True

    def __init__(self, realm: str, created: int) -> None:
        self._realm = realm
        self._created = created
        self._id = self._model = ""
        self._number = -1
        self._order = Order()
        self._frame = NumberedFrame()

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        """See `Renderer`."""
        if payload is None:
            return event.raw
        self._frame.forget()
        self._order.check(payload)
        self._number = self._last() + 1
        number, response = payload.get("sequence_number"), payload.get("response")
        if type(number) is int:
            self._number = number
        if isinstance(response, dict):
            self._id, self._model = str(response.get("id") or ""), str(response.get("model") or "")
        shown = marked_event(payload, self._realm) if self._realm else payload
        if shown is payload:
            return event.raw
        name = b"" if event.name is None else b"event: %b\n" % event.name.encode()
        return b"%bdata: %b\n\n" % (name, encode(shown))

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        """See `Renderer`. The frame learns what further deltas of the same item look like."""
        it = skim.place_of(part)
        if not self._order.has(it.type, it.output_index, it.content_index):
            return None
        self._number = self._last() + 1
        self._frame.learn_delta(part)
        return part

    def frame(self) -> Frame:
        """See `Renderer`."""
        return self._frame

    def end(self) -> bytes:
        """See `Renderer`. The last event is there already."""
        return b""

    def place(self) -> Place | None:
        """See `Renderer`."""
        return Place(self._id, self._model, self._created, self._last()) if self._id else None

    def _last(self) -> int:
        """The number of the last event."""
        if self._frame.last:
            self._number, self._frame.last = int(self._frame.last), b""
        return self._number
