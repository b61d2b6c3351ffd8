"""Decompresses an answer that an upstream has compressed without being asked. Used by `pool`.

Only the encodings of zlib; any other stays as it is, so that its reader finds it malformed.
"""

from __future__ import annotations

import zlib

from weir_router.call.transport.base import READ_BUFFER, Pulled, Response, read_whole
from weir_router.errors import AttemptFailed, FailureKind

ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""Values of `content-encoding` that `Inflated` reads."""

_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


class Inflated(Pulled):
    """A `Response` over a compressed one. A decompression bomb comes in parts, so that its reader can bound it."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._inflater = zlib.decompressobj(_ZLIB_OR_GZIP)

    async def read(self) -> bytes:
        inflater = self._inflater
        while not inflater.eof:
            data = inflater.unconsumed_tail or await self._response.read()
            if not data and (rest := inflater.flush()):
                return rest
            if not data:
                raise AttemptFailed(FailureKind.RESET, "the compressed answer ends early")
            try:
                part = inflater.decompress(data, READ_BUFFER)
            except zlib.error as error:
                raise AttemptFailed(FailureKind.MALFORMED, f"the answer cannot be decompressed: {error}") from error
            if part:
                return part
        while await self._response.read():
            pass  # padding after the answer, which must be read before the connection can be used again
        return b""

    async def read_all(self) -> bytes:
        return await read_whole(self)

    def ended(self) -> bool:
        return self._response.ended()

    def release(self) -> None:
        self._response.release()

    def finish(self) -> None:
        self._response.finish()
