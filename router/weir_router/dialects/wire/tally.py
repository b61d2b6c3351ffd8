"""Counts of the contents of a request's messages, made by a format while it reads them; they become a `Prompt`."""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.contract import Capability
from weir_router.estimate.prompt import Prompt, Turn

_NOTHING: frozenset[Capability] = frozenset()


class Tally:
    """The counts of one request, filled by its format."""

    __slots__ = ("audio", "documents", "images", "tool_results", "turns")

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.tool_results = 0
        self.images = 0
        self.documents = 0
        self.audio = 0

    def turn(self, role: str, texts: list[str]) -> None:
        """Adds a message."""
        self.turns.append(Turn(role, texts[0] if len(texts) == 1 else "\n".join(texts)))

    def prompt(self, *, tools: int, schema: bool, reasoning: bool, max_output: int | None, extra: int) -> Prompt:
        """The whole request as the classifier sees it; `extra`: see `extra_chars`."""
        needs: list[Capability] = []
        if tools:
            needs.append(Capability.TOOLS)
        if schema:
            needs.append(Capability.JSON_SCHEMA)
        if self.images:
            needs.append(Capability.VISION)
        if self.audio:
            needs.append(Capability.AUDIO)
        if self.documents:
            needs.append(Capability.DOCUMENTS)
        if reasoning:
            needs.append(Capability.REASONING)
        return Prompt(
            tuple(self.turns),
            tools,
            self.tool_results,
            self.images,
            self.documents,
            schema,
            frozenset(needs) if needs else _NOTHING,
            max_output,
            extra,
        )


def extra_chars(raw: dict[str, msgspec.Raw], *names: str) -> int:
    """Characters of fields that the model reads beside the messages: tools, and the answer's schema."""
    chars = 0
    for name in names:
        if name in raw:
            chars += len(memoryview(raw[name]))
    return chars


def text_of(part: dict[str, Any]) -> str | None:
    """The part's text, if it has one; the upstream refuses text of another type."""
    text = part.get("text")
    return text if isinstance(text, str) else None
