"""The session of a request: the conversation that it belongs to, as a hash. Pure; used by `decide.asked`.

It is the id that the client gives, or else the beginning of the conversation: the system prompt and the first message
of the user, which stay the same from turn to turn. `decide.home` finds the backend for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from weir_router.dialects.ask import Ask
from weir_router.estimate.prompt import Prompt

HOME_TOKENS = 1_024
"""Tokens of the shortest prompt that has a home: the least that OpenAI caches, and most models of Anthropic and Gemini.
A shorter one goes where the load is low, unless it offers tools: no model changes in the middle of a tool loop."""

SESSION_HEADERS = (
    "x-weir-session",
    "x-session-id",
    "session_id",  # Codex
    "session-id",
    "x-claude-code-session-id",
    "x-litellm-session-id",
)
"""Headers with the id of a conversation, the first that is there."""

ATTRIBUTION = "x-anthropic-billing-header:"
"""Beginning of a line that Claude Code puts before its system prompt, and that changes."""

READ_CHARS = 4_096
"""Characters that are read of the system prompt, and of the first message: more than 1,024 tokens of most text."""

MAX_ID = 512
"""Characters of an id that are read."""


def session_of(ask: Ask, headers: Mapping[str, str]) -> str:
    """The session of a request, 16 hexadecimal digits. The cost does not grow with the conversation."""
    given = _given(ask.body, headers)
    return _digest(("id", given) if given is not None else _beginning(ask.prompt, _person(ask.body)))


def _given(body: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
    """The id that the client gives its conversation."""
    for name in SESSION_HEADERS:
        if headers.get(name):
            return headers[name]
    key = body.get("prompt_cache_key")
    if isinstance(key, str) and key:
        return key
    user = _user(body)
    return user if user is not None and "session" in user else None  # Claude Code: `user_..._session_UUID`


def _person(body: Mapping[str, Any]) -> str:
    """The person who asks, as far as the client says so: no conversation, but each has its own."""
    for value in (_user(body), body.get("safety_identifier"), body.get("user")):
        if isinstance(value, str) and value:
            return value
    return ""


def _user(body: Mapping[str, Any]) -> str | None:
    metadata = body.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    return user if isinstance(user, str) else None


def _beginning(prompt: Prompt, person: str) -> tuple[str, ...]:
    """The person, the system prompt and the first message of the user, each with its length."""
    parts = ["beginning", person]
    for turn in prompt.turns:
        text = turn.text
        if text.startswith(ATTRIBUTION):
            text = text[text.find("\n") + 1 :]
        parts += [str(len(text)), text[:READ_CHARS]]
        if turn.role == "user":
            break
    return tuple(parts)


def _digest(parts: tuple[str, ...]) -> str:
    most = MAX_ID if parts[0] == "id" else READ_CHARS
    text = "\0".join([part[:most] for part in parts])
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
