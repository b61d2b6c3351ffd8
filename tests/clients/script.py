"""The script of a model that works as an agent: what it says and which tools it calls, turn by turn."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A call of a tool."""

    name: str
    arguments: dict[str, Any]


class Turn(NamedTuple):
    """One answer of the model: it ends the conversation if it calls no tool."""

    thought: str
    text: str
    calls: tuple[Call, ...]


FINAL = "All is done. Größe: 3 < 4 & “fine” 🎉"
"""The last answer, with characters that a careless translation breaks."""

CALLS = (
    Call("read_file", {"path": 'src/größe "x".py', "lines": [1, 2], "options": {"deep": None, "ratio": 0.5}}),
    Call("list_things", {}),
    Call("write_file", {"path": "a\\b.txt", "content": 'line 1\nline 2\t{"a": [1, {}]}</tool>\u2028🎉'}),
)
"""Calls of an agent; one has no arguments at all."""


def turn(number: int, turns: int) -> Turn:
    """The answer after `number` turns with calls, of a model that calls tools in `turns` turns."""
    if number >= turns:
        return Turn("Nothing is left.", FINAL, ())
    amount = (1, 2, 1, 3)[number % 4]
    chosen = tuple(_numbered(CALLS[(number + it) % len(CALLS)], number, it) for it in range(amount))
    return Turn(f"Thought {number}: which file?", f"Turn {number}." if number % 2 else "", chosen)


def _numbered(call: Call, number: int, place: int) -> Call:
    """The call, with a path of its own if it has one, so that no two calls are equal."""
    if "path" not in call.arguments:
        return call
    return call._replace(arguments={**call.arguments, "path": f"{number}.{place} {call.arguments['path']}"})


def all_calls(turns: int) -> list[Call]:
    """Calls of a whole run, in order."""
    return [call for number in range(turns) for call in turn(number, turns).calls]


def result(call: Call) -> str:
    """The tool's answer to a call: the drivers answer alike."""
    return f"result of {call.name} {json.dumps(call.arguments, sort_keys=True)}"
