"""The shape of what nearly every part of a stream is: one whole event of a common kind. Used by the providers here.

Such a part is recognised by one typed look at its JSON, which makes no dictionary, and those of text after it by its
`Frame`; it needs no cutting, no rendering, and goes on as it came. Whatever else a part may be takes the long way,
`sse` and `Reader.read`. So it is with whole answers: one of text that has ended as it should is not decoded. The
structs stand here and what is made of them in the providers, since these are compiled, and structs cannot be.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Delta(msgspec.Struct, gc=False):
    """With all fields that may bring content."""

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


class TextDelta(msgspec.Struct, gc=False):
    text: str = ""


class BlockDelta(msgspec.Struct, gc=False):
    type: str
    delta: TextDelta


whole = msgspec.json.Decoder(Whole).decode
chunk = msgspec.json.Decoder(Chunk).decode
block_delta = msgspec.json.Decoder(BlockDelta).decode
