"""An answer in the neutral form: as a whole, and as the events of a stream.

Made by the format of an upstream, written in the format of a caller. A reader gives a stream's events in this order:
`Start`, then `Text`, `Thought`, `Signed`, `CallBegin` and `CallArguments` as they come, `Stop`; `Usage`
anywhere, the last counts.
"""

from __future__ import annotations

import msgspec

from weir_router.dialects.neutral.conversation import Call, Text, Thought

STOP, LENGTH, TOOLS, FILTER = "stop", "length", "tools", "filter"
"""Reasons why an answer ended: by itself, at a limit of tokens, to call tools, or held back by a filter."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts. Tokens read from and written to a cache are part of `input`; `reasoning` is part of `output`,
    `cache_write_long` of `cache_write`.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write_long: int = 0


NO_USAGE = Usage()


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    id: str  # empty: the upstream gave none
    model: str
    parts: tuple[Text | Thought | Call, ...]
    stop: str
    usage: Usage
    tier: str | None = None  # service tier: standard, priority


class Start(msgspec.Struct, frozen=True, gc=False):
    """The first event of a stream."""

    id: str
    model: str
    usage: Usage = NO_USAGE
    tier: str | None = None


class CallBegin(msgspec.Struct, frozen=True, gc=False):
    """The begin of a tool call. `position` counts the calls of the answer."""

    position: int
    id: str
    name: str
    opaque: str = ""  # the signature of the thought that led to it
    custom: bool = False  # of a custom tool: its arguments are plain text


class Signed(msgspec.Struct, frozen=True, gc=False):
    """The signature of the thought so far, or a block of thought that is encrypted."""

    blob: str
    redacted: bool = False


class CallArguments(msgspec.Struct, frozen=True, gc=False):
    """A further piece of a tool call's arguments: JSON, or a custom tool's text."""

    position: int
    text: str


class Stop(msgspec.Struct, frozen=True, gc=False):
    """The end of the answer, with its reason."""

    reason: str


Event = Start | Text | Thought | Signed | CallBegin | CallArguments | Stop | Usage
