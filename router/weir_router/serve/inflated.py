"""Unpacks a compressed request body. Used by `serve.bodies`."""

from __future__ import annotations

import zlib

from weir_router.errors import BadRequest

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""Values of `content-encoding` that are read: those of the standard library's zlib."""

_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_RAW = -zlib.MAX_WBITS


def inflated(body: bytes, coding: str, limit: int) -> bytes | None:
    """`body` without its compression; None: larger than `limit` bytes. Raises `errors.BadRequest`."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in CODINGS:
        raise BadRequest(f"Content-Encoding {coding!r} cannot be read here; send gzip, deflate, or a plain body.")
    raw = coding == "deflate" and body[:1] and body[0] & 0x0F != zlib.DEFLATED  # old clients leave out zlib's header
    inflater = zlib.decompressobj(_RAW if raw else _ZLIB_OR_GZIP)
    try:
        result = inflater.decompress(body, limit + 1)
    except zlib.error:
        result = None
    if result is not None and len(result) > limit:
        return None
    if result is None or not inflater.eof:
        raise BadRequest("The request body cannot be read: it is not encoded as its Content-Encoding says.")
    return result
