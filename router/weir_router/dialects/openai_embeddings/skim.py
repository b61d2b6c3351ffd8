"""Typed look at an answer with embeddings, which leaves the vectors as bytes. mypyc cannot compile structs."""

from __future__ import annotations

from typing import Any

import msgspec


class Vector(msgspec.Struct, gc=False):
    """The vector of one input, as a list of numbers or as base64."""

    embedding: msgspec.Raw
    index: int | None = None


class Answer(msgspec.Struct):
    """An answer."""

    data: list[Vector]
    usage: dict[str, Any] | None = None
    error: Any = None
    object: Any = None


decode = msgspec.json.Decoder(Answer).decode
