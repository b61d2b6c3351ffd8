"""OpenAI chunks → Anthropic events. Made by the package's `stream`, fed by `call.attempt`.

Anthropic's stream is a row of blocks, one open at a time: a block closes when the kind of the content changes or
another tool call begins. Usage comes after the finish in OpenAI's, before the stop in Anthropic's: `message_delta`
waits for it.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.base import Event, Signal
from weir_router.dialects.translate.answers import (
    NO_ID_ANTHROPIC,
    call_id,
    reasoning_of,
    text_of,
)
from weir_router.dialects.translate.fields import as_dict, as_list, as_text
from weir_router.dialects.translate.tables import USED_TIER_TO_ANTHROPIC, stop_to_anthropic, usage_to_anthropic
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.frame import Frame
from weir_router.dialects.wire.relay import encode


class _Call:
    """A tool call under way. Its block opens when the name is known."""

    def __init__(self, index: Any) -> None:
        self.index = index  # as the upstream counts
        self.id = ""
        self.name = ""
        self.waiting = ""  # arguments that came before the name


class AnthropicStream:
    """A `Renderer`; the events of one answer."""

    skims = False

    def __init__(self, *, thinking: bool) -> None:
        self._thinking = thinking
        self._id = NO_ID_ANTHROPIC
        self._usage: dict[str, Any] = {}
        self._open: str | _Call | None = None  # the open block: "text", "thinking", or a tool call
        self._blocks = 0  # opened so far; the open one's index is one less
        self._calls: list[_Call] = []
        self._finish = ""
        self._started = self._refused = self._ended = False

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        """See `Renderer`."""
        if payload is None:
            return self.end() if event.data == b"[DONE]" or signal is Signal.DONE else b""
        if self._ended:
            return b""
        choices = as_list(payload.get("choices"))
        usage = as_dict(payload.get("usage"))
        self._usage = usage or self._usage
        out = b"" if self._started else self._start(payload)
        if choices:
            return out + self._choice(as_dict(choices[0]))
        # Usage alone after the finish is the last that comes: no need to wait for [DONE].
        return out + (self.end() if usage else b"")

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        return None

    def frame(self) -> Frame:
        return Frame()

    def end(self) -> bytes:
        """The stop reason with the usage, once; nothing while the upstream has given no finish reason."""
        if self._ended or not self._finish:
            return b""
        self._ended = True
        if any(not call.name for call in self._calls):
            raise malformed("a tool call without a name")
        stop = stop_to_anthropic(self._finish, tools=bool(self._calls), refused=self._refused)
        delta = {"stop_reason": stop, "stop_sequence": None}
        usage = usage_to_anthropic(self._usage)
        return self._close() + _event("message_delta", delta=delta, usage=usage) + _event("message_stop")

    def _start(self, payload: dict[str, Any]) -> bytes:
        self._started = True
        self._id = as_text(payload.get("id")) or NO_ID_ANTHROPIC
        usage = usage_to_anthropic(self._usage)
        if tier := USED_TIER_TO_ANTHROPIC.get(as_text(payload.get("service_tier"))):
            usage["service_tier"] = tier
        message: dict[str, Any] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": as_text(payload.get("model")),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        return _event("message_start", message=message)

    def _choice(self, choice: dict[str, Any]) -> bytes:
        delta = as_dict(choice.get("delta"))
        out = b""
        if self._thinking and (thought := reasoning_of(delta)):
            out += self._prose("thinking", "thinking", thought)
        refusal = as_text(delta.get("refusal"))
        self._refused = self._refused or bool(refusal)
        if text := text_of(delta.get("content")) + refusal:
            out += self._prose("text", "text", text)
        for call in as_list(delta.get("tool_calls")):
            out += self._call(as_dict(call))
        self._finish = self._finish or as_text(choice.get("finish_reason"))
        return out

    def _prose(self, kind: str, field: str, text: str) -> bytes:
        out = b""
        if self._open != kind:
            empty = {"type": kind, field: ""}
            if kind == "thinking":
                empty["signature"] = ""
            out = self._begin(kind, empty)
        return out + self._delta({"type": f"{kind}_delta", field: text})

    def _call(self, part: dict[str, Any]) -> bytes:
        call = self._which(part)
        function = as_dict(part.get("function"))
        call.waiting += as_text(function.get("arguments"))
        if call.name:
            return self._flush(call)
        call.name = as_text(function.get("name"))
        if not call.name:
            return b""
        name = call_id(call.id, self._id, self._calls.index(call))
        block = {"type": "tool_use", "id": name, "name": call.name, "input": {}}
        return self._begin(call, block) + self._flush(call)

    def _which(self, part: dict[str, Any]) -> _Call:
        """The call that a part continues, or a new one."""
        # Some servers count wrongly (always 0) or not at all: a new id is a new call.
        index, given = part.get("index"), as_text(part.get("id"))
        for call in reversed(self._calls):
            if (index is None or call.index == index) and given in ("", call.id):
                return call
        call = _Call(index)
        call.id = given
        self._calls.append(call)
        return call

    def _flush(self, call: _Call) -> bytes:
        part, call.waiting = call.waiting, ""
        if not part:
            return b""
        if self._open is not call:
            raise malformed("arguments of a tool call after those of the next")
        return self._delta({"type": "input_json_delta", "partial_json": part})

    def _begin(self, what: str | _Call, block: dict[str, Any]) -> bytes:
        out = self._close()
        self._open, self._blocks = what, self._blocks + 1
        return out + _event("content_block_start", index=self._blocks - 1, content_block=block)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._blocks - 1, delta=delta)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _event("content_block_stop", index=self._blocks - 1)


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields}))
