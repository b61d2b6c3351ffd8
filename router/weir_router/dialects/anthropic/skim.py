"""Typed look at the most common event of this format, a delta with text; see `openai_chat.skim`."""

from __future__ import annotations

import msgspec


class TextDelta(msgspec.Struct, gc=False):
    text: str = ""


class BlockDelta(msgspec.Struct, gc=False):
    type: str
    delta: TextDelta


block_delta = msgspec.json.Decoder(BlockDelta).decode
