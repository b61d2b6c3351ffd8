"""Ids of tool calls and users. Used by the formats' writers, and by `repair`."""

from __future__ import annotations

import re
from hashlib import sha256

MAX_CALL_ID = 40
"""Characters of the longest id of a tool call that OpenAI takes."""

_ID = re.compile(r"[^a-zA-Z0-9_-]")


def tool_id(text: str) -> str:
    """A tool call's id that every format accepts, since some servers use other characters."""
    return _ID.sub("_", text)


def call_id(given: str, answer: str, position: int) -> str:
    """A tool call's id for a caller; made from the answer's id if there is none, since it must be unique in a
    conversation.
    """
    return tool_id(given or f"{answer}_{position}")


def user_id(text: str, limit: int) -> str:
    """A user's id of at most `limit` characters, which is 64 at least; a longer one becomes its hash."""
    return text if len(text) <= limit else sha256(text.encode("utf-8", "replace")).hexdigest()
