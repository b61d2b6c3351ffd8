"""Translation between any two formats, through the neutral form. Called by the formats' `upstream` and `whole`.

Pure: no I/O, no clock. The writers' tables and `docs/translation.md` list the fields that are kept, dropped or refused.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import force_setattr, replace

from weir_router.dialects import base
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import ConversationRecord, EventReader, EventWriter, Place, Signal
from weir_router.dialects.neutral import answer
from weir_router.dialects.neutral.checked import Checked
from weir_router.dialects.neutral.conversation import Call, Conversation
from weir_router.dialects.neutral.custom import Unwrapping, names_of, unwrapped
from weir_router.dialects.neutral.repair import repaired
from weir_router.dialects.neutral.target import ANY, Target
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.frame import Frame
from weir_router.errors import BadRequest


def conversation_of(ask: Ask, caller: ConversationRecord) -> Conversation:
    """The request in the neutral form, made on first use. Raises `BadRequest`."""
    found: Conversation | None = ask.conversation
    if found is None:
        found = repaired(caller.understand(Checked(ask.body), ask.model))
        force_setattr(ask, "conversation", found)
    return found


def request(
    ask: Ask, caller: ConversationRecord, to: ConversationRecord, target: Target = ANY, dropped: list[str] | None = None
) -> dict[str, Any]:
    """The caller's request in the format `to`, for the backend `target`; names what it drops in `dropped`.

    `model` is the caller's name, and `stream` is not set: the format sets both later. Nested values may be shared
    with `ask.body`. Raises `BadRequest` for malformed values, and for those that `to` cannot express without a change
    of meaning.
    """
    try:
        return to.write(conversation_of(ask, caller), target, [] if dropped is None else dropped)
    except RecursionError:
        raise BadRequest("the request is nested too deeply to be translated") from None


def untranslatable(ask: Ask, caller: ConversationRecord, to: ConversationRecord) -> str | None:
    """The reason why backends of the format `to` cannot serve this request; None: they can.

    It translates the request, so that this answer and `request` never disagree: call it once per request and format.
    """
    if to is caller:
        return None
    try:
        request(ask, caller, to)
    except BadRequest as error:
        return error.message
    return None


def response(
    payload: dict[str, Any],
    ask: Ask,
    caller: ConversationRecord,
    upstream: ConversationRecord,
    created: int,
    realm: str = "",
) -> dict[str, Any]:
    """A whole answer of the upstream in the caller's format.

    `created` is in seconds since the epoch, for formats whose answers carry a time; `realm` is the upstream's (see
    `opaque`). Raises `AttemptFailed` (malformed)
    for an answer that violates its format.
    """
    try:
        found = upstream.read_answer(payload)
        if customs := _customs(ask):
            parts = [unwrapped(part, customs) if isinstance(part, Call) else part for part in found.parts]
            found = replace(found, parts=tuple(parts))
        if names := _full_names(ask):
            parts = [
                replace(part, name=names.get(part.name, part.name)) if isinstance(part, Call) else part
                for part in found.parts
            ]
            found = replace(found, parts=tuple(parts))
        return caller.write_answer(found, ask, created, realm)
    except RecursionError:
        raise malformed("an answer that is nested too deeply") from None


def stream(
    ask: Ask, caller: ConversationRecord, upstream: ConversationRecord, created: int, realm: str = ""
) -> Translated:
    """A renderer from the upstream's stream to the caller's. `realm`: as for `response`."""
    writer = caller.event_writer(ask, created, realm)
    if names := _full_names(ask):
        writer = _Renamed(writer, names)
    if customs := _customs(ask):
        writer = Unwrapping(writer, customs)
    return Translated(upstream.event_reader(), writer)


def _full_names(ask: Ask) -> dict[str, str]:
    """The names of tools that were shortened in the request."""
    asked: Conversation | None = ask.conversation
    return asked.full_names if asked else {}


def _customs(ask: Ask) -> frozenset[str]:
    """The names of the custom tools in the request, as the upstream knows them."""
    asked: Conversation | None = ask.conversation
    return names_of(asked) if asked else frozenset()


class _Renamed:
    """An `EventWriter` that gives shortened names of tools back whole."""

    def __init__(self, writer: EventWriter, names: dict[str, str]) -> None:
        self._writer = writer
        self._names = names

    def write(self, event: answer.Event) -> bytes:
        """See `EventWriter`."""
        if isinstance(event, answer.CallBegin) and event.name in self._names:
            event = replace(event, name=self._names[event.name])
        return self._writer.write(event)

    def end(self) -> bytes:
        """See `EventWriter`."""
        return self._writer.end()

    def place(self) -> Place | None:
        """See `EventWriter`."""
        return self._writer.place()


class Translated:
    """A `Renderer` from one format's stream to another's.

    `end` completes a stream that has a stop reason. A stream without one stays open, and `call.attempt` reports it.
    """

    skims = False

    def __init__(self, reader: EventReader, writer: EventWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ended = False

    def feed(self, event: base.Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        """See `Renderer`."""
        if payload is None:
            return self.end() if signal is Signal.DONE else b""
        if self._ended or self._reader.over:
            return b""
        try:
            write = self._writer.write
            out = [write(found) for found in self._reader.read(payload)]
        except RecursionError:
            raise malformed("an event that is nested too deeply") from None
        if signal is Signal.DONE:
            out.append(self.end())
        return out[0] if len(out) == 1 else b"".join(out)

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        """See `Renderer`."""
        return None

    def frame(self) -> Frame:
        """See `Renderer`."""
        return Frame()

    def end(self) -> bytes:
        """The end of the stream, once; nothing while the upstream has given no stop reason."""
        if self._ended or not self._reader.stopped:
            return b""
        self._ended = True
        self._reader.check()
        return self._writer.end()

    def place(self) -> Place | None:
        """See `Renderer`."""
        return self._writer.place()
