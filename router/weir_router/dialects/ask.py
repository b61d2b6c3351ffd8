"""A caller's request, read once from its body; made by a format's `request`, used by `call`."""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.dialects.axes import Format
from weir_router.dialects.neutral.conversation import Conversation
from weir_router.dialects.sealed_ids import Seals, State
from weir_router.estimate.prompt import Prompt


class Batch(msgspec.Struct, frozen=True):
    """The inputs of a request for embeddings, each of which gets a vector of its own."""

    inputs: int
    tokens: int  # of all inputs, estimated
    longest: int  # tokens that the longest input has at least


class Ask(msgspec.Struct, frozen=True):
    """One request in the caller's format. `body` is parsed once; formats never change it in place."""

    format: Format
    model: str  # the name the caller used
    stream: bool
    body: dict[str, Any]  # decoded, for reading
    raw: dict[str, msgspec.Raw]  # its undecoded fields, which an upstream of the same format gets without loss
    prompt: Prompt
    include_usage: bool = True  # OpenAI streams: stream_options.include_usage; otherwise always
    streamable: bool = True  # a stream makes a plain answer without loss (n == 1, no logprobs, no audio)
    headers: dict[str, str] = {}  # the caller's, for an upstream of the same format (anthropic-beta ...)
    large: bool = False  # its fields go out without a copy, see `wire.outgoing`
    conversation: Conversation | None = None  # in the neutral form, made when needed: see `neutral.translation`
    mixed: bool = False  # has parts of the Responses API in a chat completion: see `openai_chat.mixed`
    unable: dict[str, str | None] | None = None  # by format, why it cannot be put into it: see `registry`
    batch: Batch | None = None  # for embeddings
    state: State | None = None  # what it uses and leaves at a provider; None: its format keeps nothing
    seals: Seals | None = None  # of the ids in its answer, see `dialects.sealed_ids`; None: there is no key
    home: str = ""  # the account that holds what it uses (`Backend.account`); empty: it uses nothing
    below: str = ""  # the rest of its path below the format's, e.g. "/compact"
    via: str = ""  # other installations of Weir that it has passed, see `serve.hops`
