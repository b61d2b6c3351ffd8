"""The tokens of an attempt: the upstream's count, or an estimate. Used by `call.attempt`."""

from __future__ import annotations

import msgspec

from weir_router.dialects.base import Reader
from weir_router.dialects.usage import Usage


def counted(reader: Reader, contents: int, prompt_tokens: int) -> Usage | None:
    """The upstream's count of tokens, or an estimate without one: received tokens must be paid for.

    `contents` is the number of contents of the stream, of about one token each.
    """
    usage = reader.usage
    if usage is None:
        return Usage(input=prompt_tokens, output=contents, estimated=True) if contents else None
    if reader.stop_reason is None and contents > usage.output:  # Anthropic's first event counts one token
        return msgspec.structs.replace(usage, output=contents, estimated=True)
    return usage
