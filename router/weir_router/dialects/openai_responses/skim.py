"""Typed looks at the most common event of this format, a delta with text (see `openai_chat.skim`), and at a request."""

from __future__ import annotations

from typing import Any

import msgspec


class Delta(msgspec.Struct, gc=False):
    """A delta with a text."""

    type: str
    delta: str


class Place(msgspec.Struct, gc=False):
    """The item and the part of a delta."""

    type: str
    output_index: Any = None
    content_index: Any = None


def place_of(part: bytes) -> Place:
    """The place of a delta that `delta` has read before."""
    return _place(part[part.index(b"{") : -2])


class Storing(msgspec.Struct, gc=False):
    """The field of a request that says whether its answer is kept."""

    store: Any = None


storing = msgspec.json.Decoder(Storing).decode
_place = msgspec.json.Decoder(Place).decode
delta = msgspec.json.Decoder(Delta).decode
