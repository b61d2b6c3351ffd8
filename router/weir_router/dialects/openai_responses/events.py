"""Events of this format as neutral events. Used by `neutral.translation`.

Each item counts as its own events have it, since OpenAI's last event may have an empty `output`. Some servers send a
tool's arguments only with the end of the call, or an item only with its own end.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.neutral.answer import CallArguments, CallBegin, Event, Signed, Start, Stop
from weir_router.dialects.neutral.checked import as_dict, as_list, as_name, as_text
from weir_router.dialects.neutral.conversation import Call, Text, Thought
from weir_router.dialects.openai_responses.answers import (
    CALLS,
    arguments_of,
    call_of,
    parts_of,
    stop_of,
    thought_of,
    tier_of,
    usage_of,
)
from weir_router.dialects.openai_responses.history import BETWEEN
from weir_router.dialects.wire import positions


class _Item:
    """One item under way."""

    def __init__(self) -> None:
        self.position: int | None = None  # of a call that has begun
        self.said = False  # content has come
        self.done = False


class ResponseEvents:
    """Reads one stream: see `base.EventReader`."""

    def __init__(self) -> None:
        self.stopped = False
        self.over = False
        self._started = False
        self._items: dict[int, _Item] = {}  # by index
        self._calls = 0

    def read(self, payload: dict[str, Any]) -> list[Event]:
        """The neutral events of an event."""
        handler = _HANDLERS.get(as_text(payload.get("type")))
        return handler(self, payload) if handler else []

    def check(self) -> None:
        """See `base.EventReader`. A call without a name is malformed at its end."""

    def _item(self, payload: dict[str, Any]) -> _Item:
        index = payload.get("output_index")
        place = 0 if index is None else positions.position(index)
        return self._items.setdefault(place, _Item())

    def _start(self, payload: dict[str, Any]) -> list[Event]:
        if self._started:
            return []
        self._started = True
        response = as_dict(payload.get("response"))
        usage = usage_of(as_dict(response.get("usage")))
        return [Start(as_name(response.get("id")), as_name(response.get("model")), usage, tier_of(response))]

    def _added(self, payload: dict[str, Any]) -> list[Event]:
        given, item = as_dict(payload.get("item")), self._item(payload)
        if given.get("type") not in CALLS or not as_text(given.get("name")):
            return []
        return self._begin(item, call_of(given), given)

    def _begin(self, item: _Item, call: Call, given: dict[str, Any]) -> list[Event]:
        """The begin of a call, and its arguments as far as they are there."""
        item.position = self._calls
        self._calls += 1
        if self._calls > positions.MOST:
            raise positions.too_many("tool calls")
        out: list[Event] = [CallBegin(item.position, call.id, call.name, custom=call.custom)]
        if call.arguments and given.get("arguments") != {}:
            item.said = True
            out.append(CallArguments(item.position, call.arguments))
        return out

    def _text(self, payload: dict[str, Any]) -> list[Event]:
        self._item(payload).said = True
        return [Text(as_text(payload.get("delta")))]

    def _refusal(self, payload: dict[str, Any]) -> list[Event]:
        self._item(payload).said = True
        return [Text(as_text(payload.get("delta")), refusal=True)]

    def _thought(self, payload: dict[str, Any]) -> list[Event]:
        self._item(payload).said = True
        return [Thought(as_text(payload.get("delta")))]

    def _summary(self, payload: dict[str, Any]) -> list[Event]:
        return [Thought(BETWEEN)] if payload.get("summary_index") and self._item(payload).said else []

    def _arguments(self, payload: dict[str, Any]) -> list[Event]:
        item, text = self._item(payload), as_text(payload.get("delta"))
        if item.position is None or not text:
            return []  # they come again with the item's end
        item.said = True
        return [CallArguments(item.position, text)]

    def _arguments_done(self, payload: dict[str, Any]) -> list[Event]:
        item = self._item(payload)
        text = as_text(payload.get("arguments")) or as_text(payload.get("input"))
        if item.position is None or item.said or not text:
            return []
        item.said = True
        return [CallArguments(item.position, text)]

    def _done(self, payload: dict[str, Any]) -> list[Event]:
        item, given = self._item(payload), as_dict(payload.get("item"))
        return [] if item.done else self._whole(item, given)

    def _whole(self, item: _Item, given: dict[str, Any]) -> list[Event]:
        """The events that were missing of an item that has ended."""
        item.done = True
        kind = given.get("type")
        if kind in CALLS:
            if item.position is None:
                return self._begin(item, call_of(given), given)
            text = arguments_of(given)
            if item.said or not text:
                return []
            item.said = True
            return [CallArguments(item.position, text)]
        if kind == "reasoning":
            return self._reasoning(item, given)
        if item.said:
            return []
        return [part for part in parts_of(given) if isinstance(part, Text)]

    def _reasoning(self, item: _Item, given: dict[str, Any]) -> list[Event]:
        thought = thought_of(given)
        out: list[Event] = [Thought(thought.text)] if thought.text and not item.said else []
        if thought.opaque is not None:
            out.append(Signed(thought.opaque.blob, redacted=not (thought.text or item.said)))
        return out

    def _end(self, payload: dict[str, Any]) -> list[Event]:
        response = as_dict(payload.get("response"))
        if self.stopped:
            return []
        out = self._start(payload)
        for index, given in enumerate(as_list(response.get("output"))[: positions.MOST]):
            item = self._items.setdefault(index, _Item())
            if not item.done:
                out += self._whole(item, as_dict(given))
        if given := as_dict(response.get("usage")):
            out.append(usage_of(given))
        self.stopped = self.over = True
        out.append(Stop(stop_of(response, calls=self._calls > 0)))
        return out


_HANDLERS = {
    "response.created": ResponseEvents._start,
    "response.in_progress": ResponseEvents._start,
    "response.output_item.added": ResponseEvents._added,
    "response.output_item.done": ResponseEvents._done,
    "response.output_text.delta": ResponseEvents._text,
    "response.refusal.delta": ResponseEvents._refusal,
    "response.reasoning_summary_part.added": ResponseEvents._summary,
    "response.reasoning_summary_text.delta": ResponseEvents._thought,
    "response.reasoning_text.delta": ResponseEvents._thought,
    "response.function_call_arguments.delta": ResponseEvents._arguments,
    "response.function_call_arguments.done": ResponseEvents._arguments_done,
    "response.custom_tool_call_input.delta": ResponseEvents._arguments,
    "response.custom_tool_call_input.done": ResponseEvents._arguments_done,
    "response.completed": ResponseEvents._end,
    "response.incomplete": ResponseEvents._end,
}
