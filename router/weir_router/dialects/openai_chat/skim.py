"""Typed look at the most common JSON of this format: one event with text, and one whole answer with text.

msgspec reads it without making a dictionary, and refuses everything else, which is then read in full. The structs have
a module of their own because mypyc cannot compile structs.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Delta(msgspec.Struct, gc=False):
    """A delta, with all fields that may bring content."""

    content: str | None = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None
    images: Any = None


class Choice(msgspec.Struct, gc=False):
    delta: Delta
    index: int = 0
    finish_reason: str | None = None
    error: Any = None
    object: Any = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[Choice]
    usage: Any = None
    error: Any = None
    object: Any = None


class Message(msgspec.Struct, gc=False):
    content: str


class WholeChoice(msgspec.Struct, gc=False):
    message: Message
    finish_reason: str
    error: Any = None
    object: Any = None


class Whole(msgspec.Struct, gc=False):
    choices: list[WholeChoice]
    usage: dict[str, Any]
    error: Any = None
    object: Any = None


whole = msgspec.json.Decoder(Whole).decode
chunk = msgspec.json.Decoder(Chunk).decode
