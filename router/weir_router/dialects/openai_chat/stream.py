"""Reads one stream of this format: the meaning of each chunk, usage and the end."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.base import Signal
from weir_router.dialects.openai_chat import skim
from weir_router.dialects.openai_chat.failures import TABLE
from weir_router.dialects.openai_chat.skim import Choice
from weir_router.dialects.openai_chat.usage import counted, usage_of
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire import failures, positions
from weir_router.dialects.wire.sse import skimmed
from weir_router.errors import AttemptFailed, FailureKind

DONE_EVENT = b"data: [DONE]\n\n"

_EVENT = b"data: {"

_CONTENT_FIELDS = tuple(name for name in skim.Delta.__struct_fields__ if name != "content")
"""Fields of a delta besides `content`: the first non-empty one is the commit point."""

FAILED_REASONS = {
    "error": FailureKind.SERVER,  # OpenRouter
    "insufficient_system_resource": FailureKind.OVERLOAD,  # DeepSeek
}
"""Finish reasons of an answer that broke off."""

NORMAL_ENDS = frozenset({"stop", "tool_calls", "function_call"})
"""Finish reasons of answers that are neither cut off nor filtered."""

# Bound once: an IntFlag's members and operators are slow, and `read` runs for every chunk.
_CONTENT_AND_STOP = Signal.CONTENT | Signal.STOP


class OpenAIReader:
    """Reads one stream."""

    __slots__ = ("_finished", "_seen", "content_events", "stop_reason", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.stop_reason: str | None = None  # set once every choice that was seen has its own
        self.content_events = 0
        self._seen: set[object] = set()  # indexes of choices
        self._finished: set[object] = set()

    def read(self, payload: Any) -> Signal:
        """See `base.Reader`."""
        try:
            choices = payload.get("choices")
            if payload.get("error") or not choices:
                return self._without_choices(payload)
            content = stop = False
            for choice in choices:
                delta = choice.get("delta")
                if delta and carries_content(delta):
                    content = True
                index = choice.get("index")
                if index is None:  # some servers leave it out
                    index = 0
                self._see(index)
                if choice.get("finish_reason"):
                    stop = self._finish(finish_reason_of(choice), index)
            if payload.get("usage") is not None:
                self.usage = usage_of(payload) or self.usage
        except (TypeError, AttributeError, KeyError):
            raise failures.malformed("a chunk that is not what the dialect says") from None
        if content:
            self.content_events += 1
            return _CONTENT_AND_STOP if stop else Signal.CONTENT
        return Signal.STOP if stop else Signal.NONE

    def skim(self, part: bytes) -> Signal | None:
        """See `base.Reader`."""
        if part == DONE_EVENT:
            return None if self.stop_reason is None else Signal.DONE
        chunk = skimmed(part, _EVENT, skim.chunk)
        if chunk is None or chunk.error:
            return None
        choices, usage = chunk.choices, chunk.usage
        if len(choices) == 1 and usage is None:
            return self._skim_choice(choices[0])
        if choices or type(usage) is not dict or chunk.object == "error":
            return None
        self.usage = counted(usage)
        return Signal.HIDE

    def _skim_choice(self, choice: Choice) -> Signal | None:
        text, reason = choice.delta.content, choice.finish_reason
        if choice.error or choice.object == "error" or _says_more(choice.delta):
            return None
        if reason and (text or reason in FAILED_REASONS):
            return None
        if not 0 <= choice.index < positions.MOST:
            return None
        self._see(choice.index)
        if not reason:
            return Signal.CONTENT if text else Signal.NONE  # the role
        return Signal.STOP if self._finish(reason, choice.index) else Signal.NONE

    def _without_choices(self, payload: dict[str, Any]) -> Signal:
        if failures.is_error(payload):
            raise failures.from_payload(TABLE, payload)
        if payload.get("choices") not in (None, []):
            raise failures.malformed("`choices` that are no list")
        usage = usage_of(payload)
        if usage is None:
            return Signal.NONE  # Azure's prompt filter results, and pings
        self.usage = usage
        return Signal.HIDE

    def _see(self, index: object) -> None:
        if index not in self._seen:
            self._seen.add(positions.position(index))
            self.stop_reason = None

    def _finish(self, reason: str | None, index: object) -> bool:
        self._finished.add(index)
        if len(self._finished) < len(self._seen):
            return False
        self.stop_reason = reason
        return True


def _says_more(delta: skim.Delta) -> bool:
    """Whether there is content besides text."""
    thought = delta.reasoning_content or delta.reasoning or delta.reasoning_details
    return bool(thought or delta.refusal or delta.tool_calls or delta.function_call or delta.audio or delta.images)


def carries_content(delta: dict[str, Any]) -> bool:
    content = delta.get("content")
    if content:
        if type(content) is not str and type(content) is not list:
            raise failures.malformed("content that is no text")
        return True
    if len(delta) == 1:  # {"content": ""}, or the role alone
        return any(delta.get(name) for name in _CONTENT_FIELDS) if content is None else False
    return any(delta.get(name) for name in _CONTENT_FIELDS)


def finish_reason_of(choice: dict[str, Any]) -> str | None:
    reason = choice.get("finish_reason")
    if reason is not None and not isinstance(reason, str):
        raise failures.malformed("a finish reason that is no text")
    if failures.is_error(choice):
        raise failures.from_payload(TABLE, choice)
    if reason in FAILED_REASONS:
        raise AttemptFailed(
            FAILED_REASONS[reason], f"The upstream ended its answer with the reason {reason!r}.", code=reason
        )
    return reason or None
