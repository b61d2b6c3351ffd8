"""What a caller asks for, read once from its body; made by a format's `request`, carried through `call`."""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.contract import Dialect
from weir_router.estimate.prompt import Prompt


class Ask(msgspec.Struct, frozen=True):
    """One request in the caller's dialect. `body` is parsed once; providers never change it in place."""

    dialect: Dialect
    model: str  # the name the caller used
    stream: bool
    body: dict[str, Any]  # decoded, for reading
    raw: dict[str, msgspec.Raw]  # the same top level undecoded: what a same-dialect upstream gets without loss
    prompt: Prompt
    include_usage: bool = True  # OpenAI streams: stream_options.include_usage; otherwise always
    streamable: bool = (
        True  # a plain answer can be put together from a stream without loss (n == 1, no logprobs, no audio)
    )
    headers: dict[str, str] = {}  # those of the caller that a same-dialect upstream should see (anthropic-beta ...)
