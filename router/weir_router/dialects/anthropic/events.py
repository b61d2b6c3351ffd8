"""Events of this format as neutral events. Used by `neutral.translation`."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.anthropic.answers import refusal_of, stop_of, tier_of, usage_of
from weir_router.dialects.anthropic.stream import index_of
from weir_router.dialects.anthropic.usage import FIELDS
from weir_router.dialects.neutral.answer import CallArguments, CallBegin, Event, Signed, Start, Stop
from weir_router.dialects.neutral.checked import as_dict, as_name, as_text
from weir_router.dialects.neutral.conversation import Text, Thought
from weir_router.dialects.wire import positions
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.relay import encode


class _Call:
    """A tool call under way."""

    def __init__(self, position: int, given: dict[str, Any]) -> None:
        self.position = position
        self.given = given  # the input in content_block_start; normally empty
        self.streamed = False  # arguments have come as deltas


class MessageEvents:
    """Reads one stream: see `base.EventReader`."""

    def __init__(self) -> None:
        self.stopped = False
        self.over = False
        self._usage: dict[str, Any] = {}
        self._signature = ""  # of the open block
        self._calls: dict[int, _Call] = {}  # by the block's index
        self._count = 0  # tool calls

    def read(self, payload: dict[str, Any]) -> list[Event]:
        """The neutral events of an event."""
        handler = _HANDLERS.get(as_text(payload.get("type")))
        return handler(self, payload) if handler else []

    def check(self) -> None:
        """See `base.EventReader`. A block without a name is malformed at its start."""

    def _message_start(self, payload: dict[str, Any]) -> list[Event]:
        message = as_dict(payload.get("message"))
        self._add_usage(as_dict(message.get("usage")))
        usage, tier = usage_of(self._usage), tier_of(self._usage)
        return [Start(as_name(message.get("id")), as_name(message.get("model")), usage, tier)]

    def _block_start(self, payload: dict[str, Any]) -> list[Event]:
        block, index = as_dict(payload.get("content_block")), index_of(payload)
        kind = block.get("type")
        if kind == "text":
            return [Text(as_text(block.get("text")))]
        if kind == "thinking":
            self._signature = as_text(block.get("signature"))
            return [Thought(as_text(block.get("thinking")))]
        if kind == "redacted_thinking":
            return [Signed(as_text(block.get("data")), redacted=True)]
        if kind != "tool_use":
            return []
        if not (name := as_text(block.get("name"))):
            raise malformed("a tool_use block without a name")
        call = self._calls[index] = _Call(self._count, as_dict(block.get("input")))
        self._count += 1
        if self._count > positions.MOST:
            raise positions.too_many("tool calls")
        return [CallBegin(call.position, as_text(block.get("id")), name)]

    def _block_delta(self, payload: dict[str, Any]) -> list[Event]:
        delta = as_dict(payload.get("delta"))
        kind = delta.get("type")
        if kind == "text_delta":
            return [Text(as_text(delta.get("text")))]
        if kind == "thinking_delta":
            return [Thought(as_text(delta.get("thinking")))]
        if kind == "signature_delta":
            self._signature += as_text(delta.get("signature"))
        if kind != "input_json_delta" or not (part := as_text(delta.get("partial_json"))):
            return []
        if (call := self._calls.get(index_of(payload))) is None:
            raise malformed("an input_json_delta for a block that is no tool_use")
        call.streamed = True
        return [CallArguments(call.position, part)]

    def _block_stop(self, payload: dict[str, Any]) -> list[Event]:
        if signature := self._signature:
            self._signature = ""
            return [Signed(signature)]
        call = self._calls.get(index_of(payload))
        if call is None or call.streamed:
            return []
        call.streamed = True
        # A tool without input sends no delta, but arguments must be JSON.
        return [CallArguments(call.position, encode(call.given).decode())]

    def _message_delta(self, payload: dict[str, Any]) -> list[Event]:
        out: list[Event] = []
        if given := as_dict(payload.get("usage")):
            self._add_usage(given)
            out.append(usage_of(self._usage))
        delta = as_dict(payload.get("delta"))
        reason = as_text(delta.get("stop_reason"))
        if not reason or self.stopped:
            return out
        self.stopped = True
        if reason == "refusal":
            out.append(Text(refusal_of(delta), refusal=True))
        out.append(Stop(stop_of(reason)))
        return out

    def _add_usage(self, given: dict[str, Any]) -> None:
        """Keeps the fields that are read; others would fill memory."""
        self._usage.update({key: given[key] for key in FIELDS if given.get(key) is not None})

    def _message_stop(self, payload: dict[str, Any]) -> list[Event]:
        self.over = self.stopped
        return []


_HANDLERS = {
    "message_start": MessageEvents._message_start,
    "content_block_start": MessageEvents._block_start,
    "content_block_delta": MessageEvents._block_delta,
    "content_block_stop": MessageEvents._block_stop,
    "message_delta": MessageEvents._message_delta,
    "message_stop": MessageEvents._message_stop,
}
