"""Unpacks a compressed request body, part by part. Used by `serve.bodies`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from weir_router.errors import BadRequest

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""Values of `content-encoding` that are read: those of the standard library's zlib."""

PART = 1024 * 1024
"""Bytes of the largest part: zlib takes about 3 ms for them."""

_READ = 64 * 1024  # bytes that zlib sees at once; it copies what it leaves for the next part
_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_RAW = -zlib.MAX_WBITS


def inflated(body: bytes, coding: str, part: int = PART) -> Iterator[bytes]:
    """The parts of `body` without its compression, none larger than `part` bytes. Raises `errors.BadRequest`."""
    if coding not in CODINGS:
        raise BadRequest(f"Content-Encoding {coding!r} cannot be read here; send gzip, deflate, or a plain body.")
    raw = coding == "deflate" and body[:1] and body[0] & 0x0F != zlib.DEFLATED  # old clients leave out zlib's header
    inflater = zlib.decompressobj(_RAW if raw else _ZLIB_OR_GZIP)
    try:
        for start in range(0, len(body), _READ):
            rest = body[start : start + _READ]
            while rest and not inflater.eof:
                yield inflater.decompress(rest, part)
                rest = inflater.unconsumed_tail
    except zlib.error:
        raise _not_so_coded() from None
    if not inflater.eof:
        raise _not_so_coded()


def _not_so_coded() -> BadRequest:
    return BadRequest("The request body cannot be read: it is not encoded as its Content-Encoding says.")
