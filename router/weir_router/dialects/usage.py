"""The tokens of one answer, in any format. A format's reader fills them in, and `record` counts them."""

from __future__ import annotations

import msgspec

MAX_TOKENS = 1_000_000_000
"""Tokens that one answer can have counted, at most: a hundred times the largest context. A larger count is a fault of
the upstream, and is not believed."""


class Usage(msgspec.Struct):
    """Tokens of one answer. `input` holds every prompt token, those read from and written to a cache too."""

    input: int = 0
    cached_input: int = 0  # of input: read from the provider's prompt cache
    cache_write: int = 0  # of input: written to it
    output: int = 0  # reasoning tokens included
    reasoning: int = 0  # of output
    estimated: bool = False  # the upstream gave none: counted by length
    cache_write_long: int = 0  # of cache_write: for the longer of the provider's lifetimes
