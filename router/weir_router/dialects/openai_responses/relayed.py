"""The relay of a stream of this format, byte for byte. Used by `upstream`."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.base import Event, Place, Signal
from weir_router.dialects.openai_responses import skim
from weir_router.dialects.openai_responses.numbered import NumberedFrame
from weir_router.dialects.openai_responses.order import Order
from weir_router.dialects.openai_responses.sealed import marked_event
from weir_router.dialects.openai_responses.state import Shown
from weir_router.dialects.sealed_ids import is_id
from weir_router.dialects.wire.frame import Frame
from weir_router.dialects.wire.relay import encode


class Relayed:
    """A `Renderer` that changes only the mark of encrypted reasoning and the ids of stored answers. It knows the number
    of the last event.
    """

    skims = True

    def __init__(self, realm: str, created: int, stored: Shown | None = None, *, ordered: bool = True) -> None:
        """`stored`: the answer is kept, and its ids are sealed. `ordered`: the stream is whole, so it is checked."""
        self._stored = stored
        self._realm = realm
        self._created = created
        self._id = self._model = ""
        self._order = Order()
        self._ordered = ordered
        self._frame = NumberedFrame()

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        """See `Renderer`."""
        if payload is None:
            return event.raw
        self._frame.forget()
        if self._ordered:
            self._order.check(payload)
        number, response = payload.get("sequence_number"), payload.get("response")
        self._frame.last = number if type(number) is int and number >= 0 else self._frame.last + 1
        shown = marked_event(payload, self._realm) if self._realm else payload
        if self._stored is not None:
            shown = self._stored.event(shown)
            self._follow(payload.get("item_id"), event.raw, self._stored)
        if isinstance(response, dict):
            response = shown["response"]
            self._id, self._model = str(response.get("id") or ""), str(response.get("model") or "")
        if shown is payload:
            return event.raw
        name = b"" if event.name is None else b"event: %b\n" % event.name.encode()
        return b"%bdata: %b\n\n" % (name, encode(shown))

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        """See `Renderer`. The frame learns what further deltas of the same item look like."""
        it = skim.place_of(part)
        if not self._order.has(it.type, it.output_index, it.content_index):
            return None
        shown = part
        if self._stored is not None:
            shown = self._frame.shown(part)
            if len(shown) == len(part):  # of another item: it is read
                return None
        self._frame.learn_delta(part)
        return shown

    def _follow(self, id: object, raw: bytes, stored: Shown) -> None:
        """Remembers the item of an event: those that follow are mostly of the same. No text can hold the bytes, since
        each quote in a string has a backslash before it.
        """
        if not isinstance(id, str) or not is_id(id):
            return
        for form in (b'"item_id":"%b"', b'"item_id": "%b"'):
            own = form % id.encode()
            if own in raw:
                self._frame.show(own, form % stored.item(id).encode())

    def frame(self) -> Frame:
        """See `Renderer`."""
        return self._frame

    def end(self) -> bytes:
        """See `Renderer`. The last event is there already."""
        return b""

    def place(self) -> Place | None:
        """See `Renderer`."""
        return Place(self._id, self._model, self._created, self._frame.last) if self._id else None
