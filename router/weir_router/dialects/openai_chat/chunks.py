"""Neutral events as chunks of this format. Used by `neutral.translation`."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.base import Place
from weir_router.dialects.neutral.answer import NO_USAGE, CallArguments, CallBegin, Event, Signed, Start, Stop, Usage
from weir_router.dialects.neutral.conversation import Text, Thought
from weir_router.dialects.neutral.ids import call_id
from weir_router.dialects.neutral.opaque import tagged
from weir_router.dialects.openai_chat.answers import NO_ID, detail, finish_of, tier_shown, usage_shown
from weir_router.dialects.openai_chat.stream import DONE_EVENT
from weir_router.dialects.wire.relay import encode


class Chunks:
    """Writes one stream: see `base.EventWriter`."""

    def __init__(self, *, include_usage: bool, created: int, realm: str = "") -> None:
        self._include_usage = include_usage
        self._head: dict[str, Any] = {
            "id": NO_ID,
            "object": "chat.completion.chunk",
            "created": created,
            "model": "",
        }
        self._usage = NO_USAGE
        self._opened = False
        self._realm = realm
        self._signatures = 0
        self._customs: set[int] = set()  # positions of calls of custom tools
        self._thought: list[str] = []  # since the last signature

    def write(self, event: Event) -> bytes:
        """The chunks of an event."""
        if isinstance(event, Text):  # nearly always
            text = event.text
            return self._chunk({"refusal" if event.refusal else "content": text}) if text else b""
        match event:
            case Thought(text=text):
                self._thought.append(text)
                return self._chunk({"reasoning_content": text}) if text else b""
            case Signed(blob=blob, redacted=redacted):
                return self._signed(blob, redacted=redacted)
            case CallArguments(position=position, text=text):
                piece = {"custom": {"input": text}} if position in self._customs else {"function": {"arguments": text}}
                return self._chunk({"tool_calls": [{"index": position, **piece}]})
            case CallBegin():
                return self._chunk({"tool_calls": [self._opening(event)]})
            case Usage():
                self._usage = event
                return b""
            case Start():
                return self._start(event)
            case Stop(reason=reason):
                return self._chunk({}, finish_of(reason))

    def end(self) -> bytes:
        """The usage chunk and `[DONE]`."""
        usage = b""
        if self._include_usage:
            usage = _line({**self._head, "choices": [], "usage": usage_shown(self._usage)})
        return usage + DONE_EVENT

    def place(self) -> Place | None:
        """See `base.Renderer`."""
        return None

    def _signed(self, blob: str, *, redacted: bool) -> bytes:
        text = "" if redacted else "".join(self._thought)
        if not redacted:
            self._thought.clear()
        self._signatures += 1
        shown = detail(self._signatures - 1, text, tagged(self._realm, blob), redacted=redacted)
        return self._chunk({"reasoning_details": [shown]})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        role = b"" if self._opened else self._open()
        return role + self._bare(delta, finish)

    def _bare(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _line({**self._head, "choices": [choice]})

    def _open(self) -> bytes:
        self._opened = True
        return self._bare({"role": "assistant", "content": None, "refusal": None})

    def _start(self, start: Start) -> bytes:
        self._head["id"] = start.id or NO_ID
        self._head["model"] = start.model
        self._usage = start.usage
        if tier := tier_shown(start.tier):
            self._head["service_tier"] = tier
        return b"" if self._opened else self._open()

    def _opening(self, call: CallBegin) -> dict[str, Any]:
        shown = {"index": call.position, "id": call_id(call.id, self._head["id"], call.position)}
        if call.custom:
            self._customs.add(call.position)
            return {**shown, "type": "custom", "custom": {"name": call.name, "input": ""}}
        return {**shown, "type": "function", "function": {"name": call.name, "arguments": ""}}


def _line(chunk: dict[str, Any]) -> bytes:
    return b"data: " + encode(chunk) + b"\n\n"
