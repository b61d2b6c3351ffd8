"""Custom tools as functions, for formats without them: the text that is the input becomes one field of JSON, and back.

A custom tool takes plain text, perhaps of a grammar: `apply_patch` of Codex is one. A writer of requests offers a
function in its place, whose only argument is the text; `translation` makes the model's call a call of the custom tool
again.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from weir_router.dialects.base import EventWriter, Place
from weir_router.dialects.neutral.answer import CallArguments, CallBegin, Event, Stop
from weir_router.dialects.neutral.conversation import Call, Conversation, Tool
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.lossy import is_object

INPUT = "input"
"""The argument that holds the text."""

MAX_WAITING = 1024 * 1024
"""Characters of the input of one call, which waits until it is whole. A patch of a large file has a tenth of it."""


def schema() -> dict[str, Any]:
    """The schema of the function."""
    return {
        "type": "object",
        "properties": {INPUT: {"type": "string"}},
        "required": [INPUT],
        "additionalProperties": False,
    }


def as_function(tool: Tool) -> Tool:
    """The function in place of a custom tool, with the grammar in its description; any other tool as it is."""
    if not tool.custom:
        return tool
    words = [tool.description] if tool.description else []
    if tool.grammar is not None:
        words.append(f"The input must match this {tool.grammar.syntax} grammar:\n{tool.grammar.definition}")
    return replace(
        tool, description="\n\n".join(words) or None, parameters=schema(), strict=False, custom=False, grammar=None
    )


def arguments_of(call: Call) -> str:
    """The arguments of a call as JSON."""
    return msgspec.json.encode({INPUT: call.arguments}).decode() if call.custom else call.arguments


def names_of(asked: Conversation) -> frozenset[str]:
    """The names of the custom tools of a conversation."""
    return frozenset([tool.name for tool in asked.tools if isinstance(tool, Tool) and tool.custom])


def unwrapped(call: Call, customs: frozenset[str]) -> Call:
    """The call of a function that stands for one of these custom tools as a call of that; any other as it is."""
    if call.custom or call.name not in customs:
        return call
    return replace(call, arguments=_text(call.arguments), custom=True)


def _text(arguments: str) -> str:
    """The input in a function's arguments. Arguments of another form, such as those cut off, are the input."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return arguments
    found = value.get(INPUT) if isinstance(value, dict) else None
    return found if isinstance(found, str) else arguments


class Unwrapping:
    """An `EventWriter` that makes calls of functions calls of the custom tools for which they stand."""

    def __init__(self, writer: EventWriter, customs: frozenset[str]) -> None:
        self._writer = writer
        self._customs = customs
        self._waiting: dict[int, list[str]] = {}  # arguments of calls that are not whole, by position
        self._length = 0

    def write(self, event: Event) -> bytes:
        """See `base.EventWriter`. Raises `AttemptFailed` (malformed) for an input that is too long."""
        if isinstance(event, CallArguments) and event.position in self._waiting:
            self._length += len(event.text)
            if self._length > MAX_WAITING:
                raise malformed(f"more than {MAX_WAITING} characters as the input of custom tools")
            self._waiting[event.position].append(event.text)
            return b""
        waited = b""
        if isinstance(event, CallBegin):
            waited = self._inputs(whole=True)
            if not event.custom and event.name in self._customs:
                self._waiting[event.position] = []
                event = replace(event, custom=True)
        elif isinstance(event, Stop):
            waited = self._inputs(whole=False)
        return waited + self._writer.write(event)

    def _inputs(self, *, whole: bool) -> bytes:
        """The inputs of the calls that wait, or only of those that are `whole`."""
        out: list[bytes] = []
        for position, pieces in list(self._waiting.items()):
            arguments = "".join(pieces)
            if whole and not is_object(arguments):
                continue
            del self._waiting[position]
            if text := _text(arguments):
                out.append(self._writer.write(CallArguments(position, text)))
        return b"".join(out)

    def end(self) -> bytes:
        """See `base.EventWriter`."""
        return self._writer.end()

    def place(self) -> Place | None:
        """See `base.EventWriter`."""
        return self._writer.place()
