"""Typed look at the most common event of this format, a delta with text; see `openai_chat.skim`."""

from __future__ import annotations

import msgspec


class Delta(msgspec.Struct, gc=False):
    type: str
    delta: str


delta = msgspec.json.Decoder(Delta).decode
