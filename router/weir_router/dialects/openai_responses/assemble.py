"""Assembles a stream of this format into the answer that the same request would have got without a stream.

Used through `relay.Assembled`. The last event holds the whole response, but its `output` may be empty: each
item counts as its own last event has it. Arguments that came only with the end of a call are put into its item.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.openai_responses.order import is_same
from weir_router.dialects.wire import positions
from weir_router.dialects.wire.lossy import lossy
from weir_router.dialects.wire.relay import LoneText

_ENDS = ("response.completed", "response.incomplete")
_ARGUMENTS = {
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
}


class ResponsesAssembler:
    """The assembler of one answer."""

    def __init__(self) -> None:
        self._response: dict[str, Any] | None = None
        self._added: dict[int, dict[str, Any]] = {}
        self._done: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, tuple[str, str]] = {}  # by index: the item's field, and its value

    def feed(self, payload: dict[str, Any]) -> None:
        """Adds an event."""
        kind = payload.get("type")
        if kind == "response.output_item.added":
            if payload["item"] is not None:
                self._add(_index(payload), payload["item"])
        elif kind == "response.output_item.done":
            self._end(_index(payload), dict(payload["item"]))
        elif kind in _ARGUMENTS:
            field = _ARGUMENTS[kind]
            self._arguments[_index(payload)] = field, payload[field]
        elif kind in _ENDS:
            self._response = payload["response"]

    def _add(self, index: int, item: dict[str, Any]) -> None:
        if index in self._added:
            raise lossy("two items are at one index")
        self._added[index] = item

    def _end(self, index: int, item: dict[str, Any]) -> None:
        if not is_same(self._added.get(index, item), item):
            raise lossy("an item ends as another one")
        self._done[index] = item

    def lone_text(self, payload: dict[str, Any]) -> LoneText | None:
        """See `relay.Assembler`. Each event has a number, so none is like another."""
        return None

    def answer(self) -> dict[str, Any]:
        """The whole answer. Raises `AttemptFailed` (lossy) for an item without an end."""
        if self._response is None:
            raise lossy("it has no last event")
        for index, (field, value) in self._arguments.items():
            item = self._done.get(index)
            if item is not None and not item.get(field):
                item[field] = value
        output = self._response.get("output") or []
        if len(output) > len(self._done):
            return self._response
        if self._added.keys() - self._done.keys():
            raise lossy("an item has no end")
        return {**self._response, "output": [self._done[index] for index in sorted(self._done)]}


def _index(payload: dict[str, Any]) -> int:
    index = payload.get("output_index")
    return 0 if index is None else positions.position(index)
