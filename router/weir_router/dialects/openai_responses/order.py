"""The order of a stream's events that callers' SDKs demand, checked on a stream that is relayed as it is.

OpenAI's SDK raises an error of its own in the middle of a stream that breaks it. Used by `relayed`. The rules:

- the first event is `response.created`, and every response in the stream has its id
- an output index is added once, and a delta or part belongs to an item and part that were added
- an item ends as what it began, under the same ids, and no two items have the same
- an answer is complete when each of its items has ended, or is in its output
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.wire import failures
from weir_router.errors import AttemptFailed

_CALLS = frozenset({"function_call", "custom_tool_call", "shell_call", "shell_call_output"})
"""Types of items whose identity is their `call_id`; their `id` may be missing."""

_LATE = frozenset({"function_call", "custom_tool_call"})
"""Items whose `id` may come with their end."""

_IN_PARTS = frozenset({"response.output_text.delta", "response.refusal.delta", "response.output_text.done"})
_IN_ITEMS = _IN_PARTS | {"response.content_part.added", "response.function_call_arguments.delta"}
"""Types of events that belong to a part of an item, and to an item."""

_LIFE = frozenset({"response.created", "response.queued", "response.in_progress"})
_ENDS = frozenset({"response.completed", "response.incomplete"})

MAX_ITEMS = 10_000
"""Items of one answer at most. Agents' longest answers have some dozens."""

MAX_ID = 512
"""Characters of an item's id at most. Providers' own have about 60."""

_NAMES = ("type", "id", "call_id")
Identity = tuple[Any, Any, Any]


class Order:
    """The items of one stream so far."""

    def __init__(self) -> None:
        self._begun = False
        self._response: Any = None  # its id
        self._items: dict[int, dict[str, Any]] = {}  # their identities, as they were added
        self._parts: dict[int, int] = {}  # how many each has
        self._ended: set[int] = set()
        self._places: dict[Identity, int] = {}

    def check(self, event: dict[str, Any]) -> None:
        """Takes the next event. Raises `AttemptFailed` (malformed) where it is out of order."""
        kind = event.get("type")
        if not self._begun:
            self._begin(kind)
        if kind in _LIFE or kind in _ENDS:
            self._lives(event.get("response"), last=kind == "response.completed")
        elif kind == "response.output_item.added":
            self._adds(event)
        elif kind == "response.output_item.done":
            self._ends(event)
        elif kind in _IN_ITEMS:
            self.belongs(kind, event.get("output_index"), event.get("content_index"))

    def belongs(self, kind: str, index: Any, part: Any) -> None:
        """Takes an event of this kind with these indexes. Raises `AttemptFailed` where item or part are not there."""
        item = self._items.get(index)
        if item is None:
            raise _broken(f"{kind} for the output index {index!r:.40}, which was not added")
        if item.get("type") != "message":
            return
        if kind == "response.content_part.added":
            self._parts[index] = self._parts.get(index, 0) + 1
        elif kind in _IN_PARTS and not (type(part) is int and 0 <= part < self._parts.get(index, 0)):
            raise _broken(f"{kind} for the part {part!r:.40}, which was not added")

    def has(self, kind: str, index: Any, part: Any) -> bool:
        """Whether item and part of an event of this kind are there."""
        try:
            self.belongs(kind, index, part)
        except AttemptFailed:
            return False
        return True

    def _begin(self, kind: Any) -> None:
        if kind != "response.created":
            raise _broken(f"{kind!r:.60} before response.created")
        self._begun = True

    def _lives(self, response: Any, *, last: bool) -> None:
        if not isinstance(response, dict):
            raise _broken("an event of a response without it")
        identity = response.get("id")
        if self._response is None:
            self._response = identity
        elif identity != self._response:
            raise _broken("an event of another response")
        if last:
            left = [index for index in self._items if index not in self._ended]
            output = response.get("output") if left else None
            items = [_slim(it) for it in output if isinstance(it, dict)] if isinstance(output, list) else []
            shown = {_identity(item): item for item in items}
            for index in left:
                found = shown.get(_identity(self._items[index]))
                if found is None or not is_same(self._items[index], found):
                    raise _broken(f"the item at {index} has no end")

    def _adds(self, event: dict[str, Any]) -> None:
        item, index = event.get("item"), event.get("output_index")
        if item is None:
            return
        if not isinstance(item, dict) or type(index) is not int:
            raise _broken("the beginning of an item without item or output_index")
        if index in self._items:
            raise _broken(f"two items at the output index {index}")
        if len(self._items) >= MAX_ITEMS:
            raise _broken(f"more than {MAX_ITEMS} items")
        self._items[index] = _slim(item)
        content = item.get("content")
        self._parts[index] = len(content) if isinstance(content, list) else 0

    def _ends(self, event: dict[str, Any]) -> None:
        item, index = event.get("item"), event.get("output_index")
        if not isinstance(item, dict) or type(index) is not int:
            raise _broken("the end of an item without item or output_index")
        item = _slim(item)
        added, identity = self._items.get(index), _identity(item)
        if added is not None and not is_same(added, item):
            raise _broken(f"the item at {index} ends as another one")
        if self._places.get(identity, index) != index:
            raise _broken(f"the item at {index} has the ids of an earlier one")
        if len(self._ended) >= MAX_ITEMS:
            raise _broken(f"more than {MAX_ITEMS} items")
        self._ended.add(index)
        self._places[identity] = index


def _slim(item: dict[str, Any]) -> dict[str, Any]:
    """The identity of an item, without its content. Raises `AttemptFailed` for one that is no short text."""
    found = {name: item[name] for name in _NAMES if item.get(name) is not None}
    if any(not isinstance(it, str) or len(it) > MAX_ID for it in found.values()):
        raise _broken(f"an item whose type or ids are no texts of at most {MAX_ID} characters")
    return found


def _identity(item: dict[str, Any]) -> Identity:
    kind, call = item.get("type"), item.get("call_id")
    return (kind, None, call) if kind in _CALLS else (kind, item.get("id"), call)


def is_same(begun: dict[str, Any], ended: dict[str, Any]) -> bool:
    """Whether an item ends as what it began. The id of a call may come with its end."""
    known = begun.get("id")
    if known != ended.get("id") and (known is not None or begun.get("type") not in _LATE):
        return False
    return _identity(begun) == _identity(ended)


def _broken(what: str) -> AttemptFailed:
    return failures.malformed(f"its events out of order: {what}")
