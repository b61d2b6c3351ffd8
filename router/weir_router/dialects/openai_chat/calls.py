"""The rule by which the parts of a stream belong to tool calls. Used by `assemble` and by `events`.

OpenAI numbers its calls and names each once. Other servers number every call 0 or none, repeat the id in each part or
make a new one for it, send the id or the name late, or send each call whole. One part costs a few look-ups, so a long
stream stays linear.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.neutral.checked import as_dict, as_text
from weir_router.dialects.wire import positions
from weir_router.dialects.wire.lossy import is_object


class _Known:
    """A call that has begun."""

    __slots__ = ("begun", "id", "index", "name", "position", "whole")

    def __init__(self, position: int, index: int | None) -> None:
        self.position = position
        self.index = index  # as the server counts
        self.id = ""
        self.name = ""  # the first piece of it
        self.begun = False  # arguments have come
        self.whole = False  # they came at once, as one JSON object


class Calls:
    """The calls of one answer."""

    def __init__(self) -> None:
        self._calls: list[_Known] = []
        self._by_id: dict[str, _Known] = {}
        self._by_index: dict[int, _Known] = {}  # the last of each

    def __len__(self) -> int:
        return len(self._calls)

    def position(self, part: dict[str, Any]) -> int:
        """The position of the call to which a part belongs; a new one: the number of calls so far.

        Raises `AttemptFailed` (malformed) for an index that is no position, and for too many calls.
        """
        given, index = as_text(part.get("id")), part.get("index")
        if index is not None:
            positions.position(index)
        function = function_of(part)
        name, arguments = as_text(function.get("name")), function.get("arguments")
        known = self._same(given, index, name)
        if known is None or _is_another(known, given, name, arguments):
            known = _Known(len(self._calls), index)
            self._calls.append(known)
            if len(self._calls) > positions.MOST:
                raise positions.too_many("tool calls")
        if known.index is None:
            known.index = index
        if index is not None:
            self._by_index[index] = known
        if given:
            known.id = known.id or given
            self._by_id[given] = known
        known.name = known.name or name
        if arguments:
            known.whole = not known.begun and is_object(arguments)
            known.begun = True
        return known.position

    def in_order(self) -> list[int]:
        """The positions in the order of the answer: by index, if the server counts."""
        indexes = {call.index for call in self._calls}
        if None in indexes or len(indexes) < len(self._calls):
            return list(range(len(self._calls)))
        return [call.position for call in sorted(self._calls, key=lambda it: it.index or 0)]

    def _same(self, given: str, index: int | None, name: str) -> _Known | None:
        """The call that a part continues as far as its id and index say; None: none."""
        if given and (known := self._by_id.get(given)) is not None:
            # Some servers give every call the same id.
            return None if name and index is not None and known.index not in (None, index) else known
        if index is None:
            known = self._calls[-1] if self._calls else None
        else:
            known = self._by_index.get(index) or self._without_index(index, name)
        if known is None or not given:
            return known
        # The id is new: it comes late, it is made anew for each part, or it is that of another call.
        return known if not known.id or (known.name and not name) else None

    def _without_index(self, index: int, name: str) -> _Known | None:
        """The call at this place, if its index comes late."""
        if name or index >= len(self._calls):
            return None
        known = self._calls[index]
        return known if known.index is None else None


def function_of(part: dict[str, Any]) -> dict[str, Any]:
    """Name and arguments in a part; a custom tool has a name and an input."""
    return as_dict(part.get("function")) or as_dict(part.get("custom"))


def _is_another(known: _Known, given: str, name: str, arguments: Any) -> bool:
    """Whether a part with the same id and index begins another call than this one."""
    if not name or not known.name or not known.begun:
        return False
    if name != known.name:
        return True
    return known.whole and bool(arguments) and not (given and given == known.id)
