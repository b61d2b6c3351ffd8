"""What nearly every part of a stream is: one whole event of content and nothing else. Used by the providers here.

Such a part is recognised by one typed look at its JSON, which makes no dictionary, and those after it by its `Frame`;
it needs no cutting, no rendering, and goes on as it came. Whatever else a part may be takes the long way, `sse` and
`Reader.read`. So it is with whole answers: one of text that has ended as it should is not decoded.
"""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.call.providers.frame import Frame

_DATA = b"data: {"
_BLOCK_DELTA = b"event: content_block_delta\ndata: {"
_BLANK = b"\n\n"
_DATA_AT, _BLOCK_DELTA_AT = len(_DATA) - 1, len(_BLOCK_DELTA) - 1


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice]
    usage: Any = None
    error: Any = None


class _Message(msgspec.Struct, gc=False):
    content: str


class _WholeChoice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str
    error: Any = None
    object: Any = None


class _Whole(msgspec.Struct, gc=False):
    choices: list[_WholeChoice]
    usage: dict[str, Any]
    error: Any = None
    object: Any = None


class _TextDelta(msgspec.Struct, gc=False):
    text: str = ""


class _BlockDelta(msgspec.Struct, gc=False):
    type: str
    delta: _TextDelta


_whole = msgspec.json.Decoder(_Whole).decode
_chunk = msgspec.json.Decoder(_Chunk).decode
_block_delta = msgspec.json.Decoder(_BlockDelta).decode


def openai(part: bytes, frame: Frame) -> int | None:
    """The index of the one choice whose text the part brings; None: it is, or may be, something else.

    `frame` learns what it is that others of its kind have in common.
    """
    if not part.startswith(_DATA) or part.find(b"\n", _DATA_AT) != len(part) - 2 or part.find(b"\r") >= 0:
        return None
    if part.find(b'"content"') < 0:  # a stop reason or a usage: of each stream's few looks these would be half
        return None
    try:
        _check_text(part)
        chunk = _chunk(part[_DATA_AT:-2])
    except ValueError:
        return None
    if len(chunk.choices) != 1 or chunk.usage is not None or chunk.error:
        return None
    choice = chunk.choices[0]
    text = choice.delta.content
    if not text or choice.finish_reason is not None or not part.endswith(_BLANK):
        return None
    frame.learn(part, b"content", text)
    return choice.index


def openai_whole(answer: bytes) -> tuple[str, dict[str, Any]] | None:
    """Finish reason and `usage` of a whole answer of one choice with text; None: it is, or may be, something else."""
    try:
        _check_text(answer)
        whole = _whole(answer)
    except ValueError:
        return None
    if len(whole.choices) != 1:
        return None
    choice = whole.choices[0]
    if whole.error or choice.error or whole.object == "error" or choice.object == "error":
        return None
    return (choice.finish_reason, whole.usage) if choice.message.content and choice.finish_reason else None


def anthropic(part: bytes, frame: Frame) -> bool:
    """Whether the part brings text of a block, and nothing else. `frame` learns as above."""
    if not part.startswith(_BLOCK_DELTA) or part.find(b"\n", _BLOCK_DELTA_AT) != len(part) - 2:
        return False
    if part.find(b"\r") >= 0:
        return False
    try:
        _check_text(part)
        event = _block_delta(part[_BLOCK_DELTA_AT:-2])
    except ValueError:
        return False
    if not part.endswith(_BLANK) or event.type != "content_block_delta" or not event.delta.text:
        return False
    frame.learn(part, b"text", event.delta.text)
    return True


def _check_text(part: bytes) -> None:
    """Raises `UnicodeDecodeError`: the typed look does not check what it skips."""
    if not part.isascii():
        part.decode()
