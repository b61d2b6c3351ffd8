"""Reads one stream of this format: the meaning of each event, usage and the end."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.anthropic import skim
from weir_router.dialects.anthropic.failures import TABLE
from weir_router.dialects.anthropic.usage import FIELDS, usage_of
from weir_router.dialects.base import Signal
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire import failures, positions
from weir_router.dialects.wire.sse import skimmed
from weir_router.errors import AttemptFailed, FailureKind

_EVENT = b"event: content_block_delta\ndata: {"
STOP_EVENT = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

NORMAL_ENDS = frozenset({"end_turn", "tool_use", "stop_sequence"})
"""Stop reasons of answers that are neither cut off nor filtered."""

_FILLED_BY_DELTAS = {"text": "text", "thinking": "thinking"}
"""Blocks that start empty, with the field that their deltas fill; every other block is content from its start."""

# Bound once: an IntFlag's members are slow to look up, and `read` runs for every chunk.


class AnthropicReader:
    """Reads one stream."""

    __slots__ = ("_blocks", "_counts", "content_events", "stop_reason", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.content_events = 0
        self._blocks = 0
        self._counts: dict[str, Any] = {}

    def read(self, payload: dict[str, Any]) -> Signal:
        """See `base.Reader`."""
        try:
            if payload["type"] == "content_block_delta":
                carries = _delta_carries_content(payload["delta"])
            else:
                read = _READ.get(payload["type"])
                signal = Signal.NONE if read is None else read(self, payload)
                carries = signal is Signal.CONTENT
        except (TypeError, AttributeError, KeyError):
            if isinstance(payload, dict) and failures.is_error(payload):  # an error without the format's envelope
                raise failures.from_payload(TABLE, payload) from None
            raise failures.malformed("an event that is not what the dialect says") from None
        if carries:
            self.content_events += 1
            return Signal.CONTENT
        return Signal.NONE if payload["type"] == "content_block_delta" else signal

    def skim(self, part: bytes) -> Signal | None:
        """See `base.Reader`."""
        if part == STOP_EVENT:
            return None if self.stop_reason is None else Signal.DONE
        event = skimmed(part, _EVENT, skim.block_delta)
        brings_text = event is not None and event.type == "content_block_delta" and event.delta.text
        return Signal.CONTENT if brings_text else None

    def _message_start(self, payload: dict[str, Any]) -> Signal:
        message = payload["message"]
        self._add_usage(message.get("usage"))
        return Signal.CONTENT if message.get("content") else Signal.NONE

    def _block_start(self, payload: dict[str, Any]) -> Signal:
        block = payload["content_block"]
        index_of(payload)
        self._blocks += 1
        if self._blocks > positions.MOST:
            raise positions.too_many("content blocks")
        field = _FILLED_BY_DELTAS.get(block["type"])
        return Signal.CONTENT if field is None or block.get(field) else Signal.NONE

    def _message_delta(self, payload: dict[str, Any]) -> Signal:
        self._add_usage(payload.get("usage"))
        reason = (payload.get("delta") or {}).get("stop_reason")
        if not reason:
            return Signal.NONE
        if not isinstance(reason, str):
            raise TypeError
        self.stop_reason = reason
        return Signal.STOP

    def _message_stop(self, payload: dict[str, Any]) -> Signal:
        if self.stop_reason is None:
            raise AttemptFailed(FailureKind.TRUNCATED, "The upstream ended its stream without a stop reason.")
        return Signal.DONE

    def _error(self, payload: dict[str, Any]) -> Signal:
        raise failures.from_payload(TABLE, payload)

    def _add_usage(self, usage: Any) -> None:
        """Counts are for the whole answer so far, so the last one stays."""
        if isinstance(usage, dict):
            self._counts.update({name: usage[name] for name in FIELDS if usage.get(name) is not None})
            self.usage = usage_of({"usage": self._counts})


_READ = {
    "message_start": AnthropicReader._message_start,
    "content_block_start": AnthropicReader._block_start,
    "message_delta": AnthropicReader._message_delta,
    "message_stop": AnthropicReader._message_stop,
    "error": AnthropicReader._error,
}
"""Handlers by event type; events of unknown types mean nothing to us and are relayed."""


def index_of(payload: dict[str, Any]) -> int:
    """The index of an event's block, 0 if the server leaves it out. Of several blocks with one index, it is the last.

    Raises `AttemptFailed` (malformed) for one that is no position.
    """
    index = payload.get("index")
    return 0 if index is None else positions.position(index)


def _delta_carries_content(delta: dict[str, Any]) -> bool:
    text = delta.get("text")
    if text is None:
        return any(value for name, value in delta.items() if name != "type")
    if type(text) is not str:
        raise TypeError
    return text != ""
