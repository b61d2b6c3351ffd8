"""Makes names and ids of a conversation such that every format takes them. Used by `translation`; pure.

A tool's name that is too long, or holds characters that a provider refuses, is shortened for the upstream and whole
again for the caller. Ids of calls become unique, since some servers number the calls of each answer anew.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from weir_router.dialects.neutral.conversation import Call, Choice, Conversation, Result, Tool, Turn
from weir_router.dialects.neutral.ids import MAX_CALL_ID, tool_id

MAX_NAME = 64
"""Characters of the longest tool's name that every provider takes: OpenAI's limit; Anthropic's is 128."""

_HASH = 8  # hexadecimal digits at the end of a shortened name
_FITS = re.compile(rf"[a-zA-Z0-9_-]{{1,{MAX_NAME}}}")
_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")


def repaired(asked: Conversation) -> Conversation:
    """The conversation with names and ids that fit; the same one, if all do."""
    names = _shortened(asked)
    turns = _with_ids(asked.turns)
    if not names:
        return asked if turns is asked.turns else replace(asked, turns=turns)
    return replace(
        asked,
        turns=tuple([_renamed_turn(turn, names) for turn in turns]),
        tools=tuple([_renamed(tool, names) if isinstance(tool, Tool) else tool for tool in asked.tools]),
        choice=_chosen(asked.choice, names) if isinstance(asked.choice, Choice) else asked.choice,
        full_names={short: name for name, short in names.items()},
    )


def _shortened(asked: Conversation) -> dict[str, str]:
    """The names that do not fit, each with its short form. A form depends on its name only, unless two are alike."""
    given = dict.fromkeys(_names(asked))
    wrong = sorted(name for name in given if not _FITS.fullmatch(name))
    if not wrong:
        return {}
    taken = given.keys() - set(wrong)
    found: dict[str, str] = {}
    for name in wrong:
        salt = 0
        while (short := _short(name, salt)) in taken:
            salt += 1
        taken.add(short)
        found[name] = short
    return found


def _names(asked: Conversation) -> Iterator[str]:
    for tool in asked.tools:
        if isinstance(tool, Tool):
            yield tool.name
    for turn in asked.turns:
        for part in turn.parts:
            if isinstance(part, Call):
                yield part.name
    if isinstance(asked.choice, Choice):
        yield from asked.choice.allowed
        if asked.choice.name is not None:
            yield asked.choice.name


def _short(name: str, salt: int) -> str:
    digest = sha256(f"{name}\n{salt}".encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    return f"{_REFUSED.sub('_', name)[: MAX_NAME - _HASH - 1]}_{digest}"


def _renamed_turn(turn: Turn, names: dict[str, str]) -> Turn:
    if not any(isinstance(part, Call) and part.name in names for part in turn.parts):
        return turn
    return replace(turn, parts=tuple([_renamed(it, names) if isinstance(it, Call) else it for it in turn.parts]))


def _renamed(named: Any, names: dict[str, str]) -> Any:
    """A tool or call under its short name."""
    return replace(named, name=names[named.name]) if named.name in names else named


def _chosen(choice: Choice, names: dict[str, str]) -> Choice:
    name = choice.name if choice.name is None else names.get(choice.name, choice.name)
    return Choice(choice.mode, name, tuple([names.get(each, each) for each in choice.allowed]))


def _with_ids(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns with ids of calls that are unique and fit; a result follows the call that it answers."""
    taken: set[str] = set()
    open_calls: dict[str, deque[str]] = {}  # by the id that was given: calls without a result
    last: dict[str, str] = {}
    out: list[Turn] = []
    changed = False
    for turn in turns:
        parts: list[Any] = []
        for part in turn.parts:
            if isinstance(part, Call):
                made = _unique(part.id, taken)
                open_calls.setdefault(part.id, deque()).append(made)
                last[part.id] = made
                part = part if made == part.id else replace(part, id=made)
            elif isinstance(part, Result):
                waiting = open_calls.get(part.call)
                made = waiting.popleft() if waiting else last.get(part.call) or _fitting(part.call)
                part = part if made == part.call else replace(part, call=made)
            parts.append(part)
        if any(new is not old for new, old in zip(parts, turn.parts, strict=True)):
            turn, changed = replace(turn, parts=tuple(parts)), True
        out.append(turn)
    return tuple(out) if changed else turns


def _unique(given: str, taken: set[str]) -> str:
    wanted = made = _fitting(given)
    number = 1
    while made in taken:
        number += 1
        made = _fitting(f"{wanted}_{number}")
    taken.add(made)
    return made


def _fitting(given: str) -> str:
    if 0 < len(given) <= MAX_CALL_ID:
        return tool_id(given)
    return "call_" + sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[: MAX_CALL_ID - 8]
