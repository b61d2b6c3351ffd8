"""Reads one stream of this format: the meaning of each event, usage and the end."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.base import Signal
from weir_router.dialects.neutral.conversation import Text, Thought
from weir_router.dialects.openai_responses import skim
from weir_router.dialects.openai_responses.answers import CALLS, COMPLETED, parts_of, reason_of
from weir_router.dialects.openai_responses.failures import TABLE, error_of
from weir_router.dialects.openai_responses.shape import MAX_OUTPUT_TOKENS
from weir_router.dialects.openai_responses.usage import usage_of
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire import failures, positions
from weir_router.dialects.wire.sse import skimmed
from weir_router.errors import AttemptFailed, FailureKind

NORMAL_ENDS = frozenset({COMPLETED})
"""Stop reasons of answers that are neither cut off nor filtered."""

DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.refusal.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.audio.delta",
        "response.audio.transcript.delta",
        "response.code_interpreter_call_code.delta",
        "response.mcp_call_arguments.delta",
    }
)
"""Types of events that bring content: the text in their field `delta`."""

_HEADS = {
    f"event: {kind}".encode(): f"event: {kind}\ndata: {{".encode()
    for kind in (
        "response.output_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
    )
}
"""Beginnings of the most common events, by their first line."""

_TEXT_LINE = b"event: response.output_text.delta"


class ResponsesReader:
    """Reads one stream."""

    __slots__ = ("_items", "content_events", "stop_reason", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.content_events = 0
        self._items = 0

    def read(self, payload: dict[str, Any]) -> Signal:
        """See `base.Reader`."""
        try:
            kind = payload.get("type")
            if kind in DELTAS:
                signal = self._delta(payload)
            elif kind in _READ:
                signal = _READ[kind](self, payload)
            elif failures.is_error(payload):  # an error without the format's envelope
                raise failures.from_payload(TABLE, payload)
            else:
                signal = Signal.NONE
        except (TypeError, AttributeError, KeyError):
            raise failures.malformed("an event that is not what the dialect says") from None
        if signal is Signal.CONTENT:
            self.content_events += 1
        return signal

    def skim(self, part: bytes) -> Signal | None:
        """See `base.Reader`."""
        line = _TEXT_LINE if part.startswith(_TEXT_LINE) else part[: part.find(b"\n")]
        head = _HEADS.get(line)
        if head is None:
            return None
        event = skimmed(part, head, skim.delta)
        return Signal.CONTENT if event is not None and event.delta and event.type in DELTAS else None

    def _delta(self, payload: dict[str, Any]) -> Signal:
        delta = payload["delta"]
        if not isinstance(delta, (str, dict)):
            raise TypeError
        return Signal.CONTENT if delta else Signal.NONE

    def _added(self, payload: dict[str, Any]) -> Signal:
        item = payload["item"]
        if item is None:
            return Signal.NONE
        positions.position(payload.get("output_index") or 0)
        self._items += 1
        if self._items > positions.MOST:
            raise positions.too_many("items")
        return Signal.CONTENT if item["type"] in CALLS else Signal.NONE

    def _queued(self, payload: dict[str, Any]) -> Signal:
        """The answer is written in the background from now on: to ask another backend would make a second one."""
        return Signal.CONTENT

    def _done(self, payload: dict[str, Any]) -> Signal:
        """An item may come whole, without events for its content."""
        item = payload["item"]
        return Signal.NONE if item is None or self.content_events or not carries_content(item) else Signal.CONTENT

    def _ended(self, payload: dict[str, Any]) -> Signal:
        response = payload["response"]
        status = response.get("status")
        if status == "failed" or (response.get("error") and status != COMPLETED):
            raise failures.from_payload(TABLE, error_of(response))
        self.usage = usage_of(response) or self.usage
        self.stop_reason = end_of(response)
        output = response.get("output") or ()
        if any(carries_content(item) for item in output) and not self.content_events:
            self.content_events = 1
        return Signal.DONE

    def _failed(self, payload: dict[str, Any]) -> Signal:
        self.usage = usage_of(payload["response"]) or self.usage
        raise failures.from_payload(TABLE, error_of(payload["response"]))

    def _cancelled(self, payload: dict[str, Any]) -> Signal:
        raise AttemptFailed(FailureKind.TRUNCATED, "The upstream cancelled its response.")

    def _error(self, payload: dict[str, Any]) -> Signal:
        """OpenAI's own event has the error's fields beside its type, which is only `error`."""
        stated = payload.get("error")
        bare = {name: value for name, value in payload.items() if name != "type"}
        raise failures.from_payload(TABLE, {"error": stated if isinstance(stated, dict) else bare})


_READ = {
    "response.queued": ResponsesReader._queued,
    "response.output_item.added": ResponsesReader._added,
    "response.output_item.done": ResponsesReader._done,
    "response.completed": ResponsesReader._ended,
    "response.incomplete": ResponsesReader._ended,
    "response.failed": ResponsesReader._failed,
    "response.cancelled": ResponsesReader._cancelled,
    "error": ResponsesReader._error,
}
"""Handlers by event type; events of other types mean nothing to us and are relayed."""


def carries_content(item: Any) -> bool:
    """Whether an item of an answer has anything that a caller can use."""
    if not isinstance(item, dict):
        raise failures.malformed("an item that is no object")
    kind = item.get("type")
    if kind in CALLS:
        return True
    if kind in ("message", "reasoning"):
        return any(isinstance(part, (Text, Thought)) and part.text for part in parts_of(item))
    return kind is not None


def end_of(response: dict[str, Any]) -> str:
    """The stop reason of a response that has ended."""
    if response.get("status") != "incomplete":
        return COMPLETED
    return reason_of(response) or MAX_OUTPUT_TOKENS
