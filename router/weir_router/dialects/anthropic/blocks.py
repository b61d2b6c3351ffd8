"""Neutral events as events of this format. Used by `neutral.translation`.

A stream of this format is a sequence of blocks, one open at a time. A block closes when the kind of content changes or
another tool call begins. A tool call whose arguments are not complete stays open, and all that comes amid it waits for
the end of the stream. Usage may come after the stop reason, but must be written before it: both wait for the end, too.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from weir_router.dialects.anthropic.answers import NO_ID, shown_id, stop_shown, usage_shown
from weir_router.dialects.anthropic.stream import STOP_EVENT
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
from weir_router.dialects.neutral.ids import call_id
from weir_router.dialects.neutral.opaque import tagged
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.lossy import is_object
from weir_router.dialects.wire.relay import encode

MAX_WAITING = 1024 * 1024
"""Characters that may wait for the end of the stream. Servers that mix their tool calls send some thousands."""


class Blocks:
    """Writes one stream: see `base.EventWriter`."""

    def __init__(self, *, thinking: bool, realm: str = "", prompt_tokens: int = 0) -> None:
        """`prompt_tokens`: the estimate that `message_start` tells if the upstream counts them only at the end."""
        self._thinking = thinking
        self._realm = realm
        self._signature = ""  # of the thought, from the upstream
        self._prompt_tokens = prompt_tokens
        self._id = NO_ID
        self._usage = NO_USAGE
        self._open: str | int | None = None  # the open block: "text", "thinking", or a tool call's position
        self._blocks = 0  # number opened so far; the index of the open one is one less
        self._reason = STOP
        self._tools = self._refused = False
        self._arguments: list[str] = []  # of the open tool call
        self._waiting: list[Event] = []
        self._length = 0  # characters of `_waiting`

    def write(self, event: Event) -> bytes:
        """The events of a neutral event. Raises `AttemptFailed` (malformed)."""
        if isinstance(self._open, int) and self._must_wait(event):
            self._waiting.append(event)
            return b""
        return self._write(event)

    def _must_wait(self, event: Event) -> bool:
        """Whether an event comes amid a tool call that is open."""
        match event:
            case Text(text=text) | Thought(text=text):
                pass
            case CallArguments(position=position, text=text):
                if position == self._open:
                    return False
            case CallBegin(name=text) | Signed(blob=text):
                pass
            case _:
                return False
        if not self._waiting and is_object("".join(self._arguments)):
            return False
        self._length += len(text)
        if self._length > MAX_WAITING:
            raise malformed(f"more than {MAX_WAITING} characters amid a tool call")
        return True

    def _write(self, event: Event) -> bytes:
        if isinstance(event, Text):  # nearly always
            self._refused = self._refused or event.refusal
            return self._prose("text", "text", event.text) if event.text else b""
        match event:
            case Thought(text=text):
                return self._prose("thinking", "thinking", text) if text and self._thinking else b""
            case CallArguments(position=position, text=text):
                if self._open != position:
                    if not text.strip():
                        return b""
                    raise malformed("arguments of a tool call after those of the next")
                self._arguments.append(text)
                return self._delta({"type": "input_json_delta", "partial_json": text})
            case CallBegin():
                self._tools, self._arguments = True, []
                name = shown_id(call_id(event.id, self._id, event.position), self._realm, event.opaque)
                block = {"type": "tool_use", "id": name, "name": event.name, "input": {}}
                return self._begin(event.position, block)
            case Usage():
                self._usage = event
                return b""
            case Signed(blob=blob, redacted=redacted):
                return self._sign(blob, redacted=redacted)
            case Start():
                return self._start(event)
            case Stop(reason=reason):
                self._reason = reason
                return b""

    def end(self) -> bytes:
        """The stop reason with the usage."""
        waited = self._written_at_last() if self._waiting else b""
        stop = stop_shown(self._reason, tools=self._tools, refused=self._refused)
        delta = {"stop_reason": stop, "stop_sequence": None}
        return (
            waited
            + self._close()
            + _event("message_delta", delta=delta, usage=usage_shown(self._usage, None))
            + STOP_EVENT
        )

    def place(self) -> Place | None:
        """See `base.Renderer`."""
        return None

    def _written_at_last(self) -> bytes:
        """All that has waited, each tool call with its arguments."""
        arguments: dict[int, list[str]] = {}
        for event in self._waiting:
            if isinstance(event, CallArguments):
                arguments.setdefault(event.position, []).append(event.text)
        out: list[bytes] = []
        for event in self._waiting:
            if not isinstance(event, CallArguments):
                out.append(self._write(event))
            if isinstance(event, CallBegin) and event.position in arguments:
                out.append(self._write(CallArguments(event.position, "".join(arguments.pop(event.position)))))
        if any(text.strip() for texts in arguments.values() for text in texts):
            raise malformed("arguments of a tool call after those of the next")
        return b"".join(out)

    def _start(self, start: Start) -> bytes:
        self._id = start.id or NO_ID
        self._usage = start.usage
        usage = start.usage if start.usage.input else replace(start.usage, input=self._prompt_tokens)
        message: dict[str, Any] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": start.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_shown(usage, start.tier),
        }
        return _event("message_start", message=message)

    def _prose(self, kind: str, field: str, text: str) -> bytes:
        out = b""
        if self._open != kind:
            empty = {"type": kind, field: ""}
            if kind == "thinking":
                empty["signature"] = ""
            out = self._begin(kind, empty)
        return out + self._delta({"type": f"{kind}_delta", field: text})

    def _sign(self, blob: str, *, redacted: bool) -> bytes:
        """Ends the thought so far with its signature; encrypted thought is a block of its own."""
        if redacted:
            if not self._thinking or not self._realm:
                return b""
            block = {"type": "redacted_thinking", "data": tagged(self._realm, blob)}
            return self._begin("redacted", block) + self._close()
        if self._open != "thinking":
            return b""
        self._signature = blob
        return self._close()

    def _begin(self, what: str | int, block: dict[str, Any]) -> bytes:
        out = self._close()
        self._open, self._blocks = what, self._blocks + 1
        return out + _event("content_block_start", index=self._blocks - 1, content_block=block)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._blocks - 1, delta=delta)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        signed = b""
        if self._open == "thinking" and self._realm:
            signed = self._delta({"type": "signature_delta", "signature": tagged(self._realm, self._signature)})
            self._signature = ""
        self._open = None
        return signed + _event("content_block_stop", index=self._blocks - 1)


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields}))
