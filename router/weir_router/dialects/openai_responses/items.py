"""Neutral events as events of this format. Used by `neutral.translation`.

A stream of this format is a sequence of items, each with an index. An item begins with its first content and ends when
another kind of content begins; a tool call whose arguments are not complete stays open, and ends at the end of the
stream. The last event repeats all items, so they are kept.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Place
from weir_router.dialects.neutral.answer import (
    NO_USAGE,
    STOP,
    CallArguments,
    CallBegin,
    Event,
    Signed,
    Start,
    Stop,
    Usage,
)
from weir_router.dialects.neutral.conversation import Text, Thought
from weir_router.dialects.openai_responses import shape
from weir_router.dialects.openai_responses.answers import COMPLETED, INCOMPLETE_STATUS, shown_call
from weir_router.dialects.openai_responses.namespaces import Named, names_in
from weir_router.dialects.openai_responses.sealed import sealed
from weir_router.dialects.openai_responses.shape import INCOMPLETE
from weir_router.dialects.wire import positions
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.lossy import is_object
from weir_router.dialects.wire.relay import encode

MAX_CHARS = 16 * 1024 * 1024
"""Characters of an answer's texts and arguments: they are kept to the end. The longest answers have a million."""


class _Text:
    """The open text of an item: a part of a message, or a summary."""

    def __init__(self, item: str, index: int, *, refusal: bool = False) -> None:
        self.item = item  # its id
        self.index = index
        self.refusal = refusal
        self.pieces: list[str] = []


class _Call:
    """A call under way."""

    def __init__(self, index: int, item: str, call: str, begin: CallBegin) -> None:
        self.index = index
        self.item = item  # its id
        self.call = call  # the id that the caller's output names
        self.begin = begin
        self.pieces: list[str] = []

    def whole(self) -> bool:
        """Whether the arguments are complete, as far as they show it."""
        text = "".join(self.pieces)
        return text != "" if self.begin.custom else is_object(text)


class Items:
    """Writes one stream: see `base.EventWriter`."""

    def __init__(self, ask: Ask, created: int, realm: str = "") -> None:
        self._ask = ask
        self._created = created
        self._realm = realm
        self._number = -1  # of the last event
        self._id = shape.response_id("")
        self._answer = ""  # the upstream's own id
        self._response: dict[str, Any] = {}
        self._usage = NO_USAGE
        self._stop = STOP
        self._done: dict[int, dict[str, Any]] = {}  # whole items by index
        self._next = 0  # index of the next item
        self._text: _Text | None = None
        self._parts: list[dict[str, Any]] = []  # closed parts of the open message
        self._thought: _Text | None = None
        self._calls: dict[int, _Call] = {}  # open, by position
        self._begun = 0  # calls so far
        self._names = names_in(ask)
        self._chars = 0

    def write(self, event: Event) -> bytes:
        """The events of a neutral event. Raises `AttemptFailed` (malformed)."""
        if isinstance(event, Text):  # nearly always
            return self._say(event) if event.text else b""
        match event:
            case Thought(text=text):
                return self._think(text) if text else b""
            case CallArguments(position=position, text=text):
                return self._argue(position, text) if text else b""
            case CallBegin():
                return self._call(event)
            case Signed(blob=blob, redacted=redacted):
                return self._sign(blob, redacted=redacted)
            case Usage():
                self._usage = event
                return b""
            case Stop(reason=reason):
                self._stop = reason
                return b""
            case Start():
                return self._start(event)

    def place(self) -> Place | None:
        """See `base.Renderer`."""
        if not self._response:
            return None
        return Place(self._id, self._response["model"], self._created, self._number)

    def end(self) -> bytes:
        """The ends of all items, and the last event with the whole response."""
        out = [] if self._response else [self._start(Start("", ""))]
        last = INCOMPLETE_STATUS if self._stop in INCOMPLETE else COMPLETED
        out.append(self._close(last))
        for position, call in list(self._calls.items()):
            status = last if call.index == self._next - 1 else COMPLETED
            out.append(self._end_call(position, status))
        output = [self._done[index] for index in sorted(self._done)]
        ended = shape.ended(self._response, output, self._stop, self._usage, self._created)
        out.append(self._event(f"response.{ended['status']}", {"response": ended}))
        return b"".join(out)

    def _event(self, kind: str, data: dict[str, Any]) -> bytes:
        self._number += 1
        event = {"type": kind, "sequence_number": self._number, **data}
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode(event))

    def _start(self, start: Start) -> bytes:
        if self._response:
            return b""
        self._answer, self._id, self._usage = start.id, shape.response_id(start.id), start.usage
        self._response = shape.begun(self._ask, self._id, start.model, self._created, start.tier)
        shown = {"response": self._response}
        return self._event("response.created", shown) + self._event("response.in_progress", shown)

    def _count(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > MAX_CHARS:
            raise malformed(f"more than {MAX_CHARS} characters in one answer")

    def _add(self, prefix: str) -> tuple[int, str]:
        """The index and id of a new item."""
        index = self._next
        if index >= positions.MOST:
            raise positions.too_many("items")
        self._next += 1
        return index, shape.item_id(prefix, self._id, index)

    def _added(self, index: int, item: dict[str, Any]) -> bytes:
        return self._event("response.output_item.added", {"output_index": index, "item": item})

    def _finished(self, index: int, item: dict[str, Any]) -> bytes:
        self._done[index] = item
        return self._event("response.output_item.done", {"output_index": index, "item": item})

    def _say(self, event: Text) -> bytes:
        before = b""
        text = self._text
        if text is None or text.refusal is not event.refusal:
            before = self._open_part(refusal=event.refusal)
            text = self._text
            assert text is not None
        self._count(event.text)
        text.pieces.append(event.text)
        data = self._part_of(text)
        data["delta"] = event.text
        if event.refusal:
            return before + self._event("response.refusal.delta", data)
        data["logprobs"] = []
        return before + self._event("response.output_text.delta", data)

    def _part_of(self, text: _Text) -> dict[str, Any]:
        return {"item_id": text.item, "output_index": text.index, "content_index": len(self._parts)}

    def _open_part(self, *, refusal: bool) -> bytes:
        """Begins a part of a message, and the message if none is open."""
        out = self._start(Start("", ""))
        if self._text is None:
            out += self._close()
            index, item = self._add("msg")
            out += self._added(index, shape.message(item, [], "in_progress"))
        else:
            index, item = self._text.index, self._text.item
            out += self._end_part(self._text)
        self._text = _Text(item, index, refusal=refusal)
        part = shape.refusal_part("") if refusal else shape.text_part("")
        return out + self._event("response.content_part.added", {**self._part_of(self._text), "part": part})

    def _end_part(self, text: _Text) -> bytes:
        place, said = self._part_of(text), "".join(text.pieces)
        if text.refusal:
            part = shape.refusal_part(said)
            done = self._event("response.refusal.done", {**place, "refusal": said})
        else:
            part = shape.text_part(said)
            done = self._event("response.output_text.done", {**place, "text": said, "logprobs": []})
        done += self._event("response.content_part.done", {**place, "part": part})
        self._parts.append(part)
        return done

    def _think(self, text: str) -> bytes:
        before, thought = b"", self._thought
        if thought is None:
            before = self._start(Start("", "")) + self._close()
            index, item = self._add("rs")
            self._thought = thought = _Text(item, index)
            part = {"type": "summary_text", "text": ""}
            before += self._added(index, shape.reasoning(item, "", ""))
            before += self._event("response.reasoning_summary_part.added", {**_summary_of(thought), "part": part})
        self._count(text)
        thought.pieces.append(text)
        return before + self._event("response.reasoning_summary_text.delta", {**_summary_of(thought), "delta": text})

    def _sign(self, blob: str, *, redacted: bool) -> bytes:
        """The end of the reasoning so far, with its state; or reasoning without words."""
        self._count(blob)
        if self._thought is not None and not redacted:
            return self._end_thought(self._thought, blob)
        out = self._start(Start("", "")) + self._close()
        index, item = self._add("rs")
        out += self._added(index, shape.reasoning(item, "", ""))
        return out + self._finished(index, shape.reasoning(item, "", sealed(self._realm, blob)))

    def _end_thought(self, thought: _Text, blob: str) -> bytes:
        self._thought = None
        place, text = _summary_of(thought), "".join(thought.pieces)
        part = {"type": "summary_text", "text": text}
        out = self._event("response.reasoning_summary_text.done", {**place, "text": text})
        out += self._event("response.reasoning_summary_part.done", {**place, "part": part})
        state = sealed(self._realm, blob) if blob else ""
        return out + self._finished(thought.index, shape.reasoning(thought.item, text, state))

    def _call(self, begin: CallBegin) -> bytes:
        out = self._start(Start("", "")) + self._close()
        index, item = self._add("ctc" if begin.custom else "fc")
        call = shown_call(begin.id, self._answer, self._begun, self._realm, begin.opaque)
        self._begun += 1
        self._calls[begin.position] = _Call(index, item, call, begin)
        empty = shape.call(item, call, self._named(begin), "", "in_progress", custom=begin.custom)
        return out + self._added(index, empty)

    def _named(self, begin: CallBegin) -> Named:
        return self._names.get(begin.name) or Named("", begin.name)

    def _argue(self, position: int, text: str) -> bytes:
        call = self._calls.get(position)
        if call is None:
            if not text.strip():
                return b""
            raise malformed("arguments of a tool call after those of the next")
        self._count(text)
        call.pieces.append(text)
        data = {"item_id": call.item, "output_index": call.index, "delta": text}
        custom = call.begin.custom
        return self._event(f"response.{'custom_tool_call_input' if custom else 'function_call_arguments'}.delta", data)

    def _end_call(self, position: int, status: str) -> bytes:
        call = self._calls.pop(position)
        text, custom = "".join(call.pieces), call.begin.custom
        place = {"item_id": call.item, "output_index": call.index}
        if custom:
            done = self._event("response.custom_tool_call_input.done", {**place, "input": text})
        else:
            arguments = {**place, "name": self._named(call.begin).name, "arguments": text}
            done = self._event("response.function_call_arguments.done", arguments)
        item = shape.call(call.item, call.call, self._named(call.begin), text, status, custom=custom)
        return done + self._finished(call.index, item)

    def _close(self, status: str = COMPLETED) -> bytes:
        """The ends of the open message, of open reasoning, and (amid the stream) of calls that are complete."""
        out = b""
        if (text := self._text) is not None:
            out += self._end_part(text)
            parts, self._text, self._parts = self._parts, None, []
            last = status if text.index == self._next - 1 else COMPLETED
            out += self._finished(text.index, shape.message(text.item, parts, last))
        if (thought := self._thought) is not None:
            out += self._end_thought(thought, "")
        if status == COMPLETED:
            for position in [at for at, call in self._calls.items() if call.whole()]:
                out += self._end_call(position, COMPLETED)
        return out


def _summary_of(thought: _Text) -> dict[str, Any]:
    return {"item_id": thought.item, "output_index": thought.index, "summary_index": 0}
