"""Helpers for all formats: a request's body as it goes out, and counts from untrusted JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from weir_router.dialects.usage import MAX_TOKENS
from weir_router.errors import BadRequest

MAX_DROPPED = 512
"""Characters of `x-weir-dropped`: proxies in front have bounds for all headers together, some as low as 4 KiB."""

MAX_DROPPED_NAME = 64
"""Characters of the name of one dropped field."""

_MORE = ", ..."
_ODD = re.compile(r"[^A-Za-z0-9_.-]")
_encode = msgspec.json.Encoder().encode

IN_PLACE = 16 * 1024
"""Bytes from which an undecoded field is sent from where it was received, without a copy."""


class Spliced:
    """A large body whose parts are sent one after the other; some of them belong to the received body."""

    __slots__ = ("parts", "size")

    def __init__(self, parts: list[bytes | memoryview]) -> None:
        self.parts = parts
        self.size = sum(map(len, parts))

    def __len__(self) -> int:
        return self.size

    def whole(self) -> bytes:
        """A copy in one piece."""
        return b"".join(self.parts)


Body = bytes | Spliced
"""The body of an outgoing request."""


def body_of(fields: dict[str, Any], *, large: bool) -> Body:
    """The upstream request's body; `msgspec.Raw` values go byte for byte. Raises `BadRequest` for too deep nesting."""
    try:
        return _spliced(fields) if large else _encode(fields)
    except RecursionError:  # it could be read, but is too deep for the rest of the stack
        raise BadRequest("The request is nested too deeply to be sent on.") from None


def _spliced(fields: dict[str, Any]) -> Body:
    parts: list[bytes | memoryview] = []
    piece, between = bytearray(b"{"), b""
    for name, value in fields.items():
        piece += between + _encode(name) + b":"
        between = b","
        if isinstance(value, msgspec.Raw) and len(memoryview(value)) >= IN_PLACE:
            parts += bytes(piece), memoryview(value)
            piece.clear()
        else:
            piece += _encode(value)
    piece += b"}"
    parts.append(bytes(piece))
    return Spliced(parts) if len(parts) > 1 else bytes(piece)


def shown(names: Iterable[str]) -> tuple[str, ...]:
    """Names of dropped fields, each once, in characters of a header: a caller's field may have any name."""
    return tuple(dict.fromkeys([_ODD.sub("", name)[:MAX_DROPPED_NAME] or "unnamed" for name in names]))


def header_of(names: tuple[str, ...]) -> str:
    """The value of `x-weir-dropped`, e.g. `seed, logit_bias`; it ends in `...` if more do not fit."""
    text = ", ".join(names)
    if len(text) <= MAX_DROPPED:
        return text
    return text[: text.rindex(", ", 0, MAX_DROPPED - len(_MORE))] + _MORE


def count(fields: dict[str, Any], name: str) -> int:
    """A number of tokens; 0 for an invalid one, since a slip in accounting must not fail an answer."""
    value = fields.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value <= MAX_TOKENS else 0
