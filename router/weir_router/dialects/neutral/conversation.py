"""A request in the neutral form. Made by a format's `understand`, written by another format's `write`.

Everything is frozen: one conversation may be written several times. `at` is the place in the caller's body, e.g.
`messages[2].content[0].type`, for the error of a writer that cannot express it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from weir_router.dialects.neutral.opaque import Opaque
from weir_router.dialects.neutral.table import Field

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Names of efforts, the least first."""


class Unknown(StrEnum):
    """Kind of a value that a reader found and that has no neutral form."""

    PART = "part"  # of a user's turn
    SAID = "said"  # a field of an assistant's turn
    IMAGE = "image"  # the source of an image
    DOCUMENT = "document"  # the source of a document
    CALL = "call"
    TOOL = "tool"
    CHOICE = "choice"


class Foreign(msgspec.Struct, frozen=True, gc=False):
    """A value of the caller's format that has no neutral form. A writer refuses it."""

    what: Unknown
    kind: str  # in the caller's format, e.g. "input_audio"
    at: str


class Text(msgspec.Struct, frozen=True, gc=False):
    """Text of a turn."""

    text: str
    refusal: bool = False  # a model's reason for not answering
    cache: str | None = None  # the prompt up to here is to be cached, for this time; empty: the provider's default


class Thought(msgspec.Struct, frozen=True, gc=False):
    """A model's reasoning."""

    text: str
    opaque: Opaque | None = None  # its signature, or the encrypted thought


class Image(msgspec.Struct, frozen=True, gc=False):
    """An image, by its URL or as base64 `data`."""

    at: str
    url: str | None = None
    media_type: str = ""
    data: str = ""
    cache: str | None = None


class Document(msgspec.Struct, frozen=True):
    """A file: base64 `data`, or `parts` of text and images."""

    at: str
    media_type: str = ""
    data: str | None = None
    parts: tuple[Text | Image | Foreign, ...] = ()
    title: str | None = None
    context: str | None = None
    cache: str | None = None


class Call(msgspec.Struct, frozen=True, gc=False):
    """A tool call. `arguments` is JSON text, as the model wrote it; of a custom tool, its input as plain text."""

    id: str
    name: str
    arguments: str
    at: str = ""  # of the arguments
    opaque: Opaque | None = None  # the signature of the thought that led to it
    cache: str | None = None
    custom: bool = False


Part = Text | Image | Document | Foreign


class Result(msgspec.Struct, frozen=True):
    """The result of a tool call."""

    call: str  # id of the tool call
    parts: tuple[Part, ...]
    failed: bool = False
    cache: str | None = None


class Turn(msgspec.Struct, frozen=True):
    """One message. A tool's result is a part of a user's turn."""

    role: str  # system, user, assistant
    parts: tuple[Part | Thought | Call | Result, ...]


class Grammar(msgspec.Struct, frozen=True, gc=False):
    """The grammar of a custom tool's input."""

    syntax: str  # lark, regex
    definition: str


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call, or a custom tool, whose input is plain text: see `custom`."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None  # JSON schema
    strict: bool
    cache: str | None = None
    custom: bool = False
    grammar: Grammar | None = None  # of a custom tool's input; None: any text
    namespace: str = ""  # with which its name begins; empty: none


class Choice(msgspec.Struct, frozen=True):
    """The tools that the model may or must call."""

    mode: str  # auto, none, any, named
    name: str | None = None
    allowed: tuple[str, ...] = ()  # empty: all of them


class Shape(msgspec.Struct, frozen=True):
    """The answer must be JSON of this schema; None: any JSON object."""

    schema: dict[str, Any] | None


class Effort(msgspec.Struct, frozen=True, gc=False):
    """The effort of the model's reasoning: one of `EFFORTS`, or a budget in tokens."""

    name: str | None
    budget: int | None = None


class Extra(msgspec.Struct, frozen=True):
    """A field that the neutral form only names. A writer keeps its own, and drops or refuses others by its table."""

    field: Field
    at: str
    value: Any = None

    @property
    def name(self) -> str:
        """The field's name in the caller's format, e.g. `detail` for `messages[0].content[1].image_url.detail`."""
        return self.at.rpartition(".")[2]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A request in the neutral form."""

    model: str
    instructions: tuple[Text, ...] = ()  # before all turns
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool | Foreign, ...] = ()
    choice: Choice | Foreign | None = None
    parallel: bool | None = None  # several tool calls in one answer; None: the model decides
    shape: Shape | None = None
    temperature: float | None = None
    top_p: float | None = None
    stops: tuple[str, ...] = ()
    stops_at: str = ""
    max_output: int | None = None  # tokens
    max_output_at: str = ""
    effort: Effort | None = None
    user: str | None = None
    tier: str | None = None  # auto, standard
    extras: tuple[Extra, ...] = ()
    full_names: dict[str, str] = {}  # of tools whose names were shortened: see `repair`
