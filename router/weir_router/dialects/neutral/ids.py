"""Ids of tool calls. Used by the formats' writers."""

from __future__ import annotations

import re

_ID = re.compile(r"[^a-zA-Z0-9_-]")


def tool_id(text: str) -> str:
    """A tool call's id that every format accepts, since some servers use other characters."""
    return _ID.sub("_", text)


def call_id(given: str, answer: str, position: int) -> str:
    """A tool call's id for a caller; made from the answer's id if there is none, since it must be unique in a
    conversation.
    """
    return tool_id(given or f"{answer}_{position}")
