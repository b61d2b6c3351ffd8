"""Decompresses an answer that an upstream has compressed without being asked. Used by `pool` and `aiohttp_client`.

Only the encodings of zlib; any other stays as it is, so that its reader finds it malformed.
"""

from __future__ import annotations

import asyncio
import zlib

from weir_router.call.transport.base import READ_BUFFER, Grow, Pulled, Response, free, read_whole
from weir_router.errors import AttemptFailed, FailureKind

ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""Values of `content-encoding` that `Inflated` reads."""

MAX_RATIO = 100
"""Bytes that one compressed byte may become. Text becomes ten times as small, and repeated JSON fifty times."""

MAX_RATIO_FROM = 1024 * 1024
"""Bytes up to which the ratio does not matter: a short answer of one repeated word takes little memory."""

_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


class Inflated(Pulled):
    """A `Response` over a compressed one. A decompression bomb comes in parts, so that its reader can bound it."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._inflater = zlib.decompressobj(_ZLIB_OR_GZIP)
        self._packed = self._unpacked = 0  # bytes so far

    async def read(self) -> bytes:
        inflater = self._inflater
        while not inflater.eof:
            data = inflater.unconsumed_tail
            if data:
                await asyncio.sleep(0)  # others get their turn between two parts
            else:
                data = await self._response.read()
                self._packed += len(data)
            if not data and (rest := inflater.flush()):
                return rest
            if not data:
                raise AttemptFailed(FailureKind.RESET, "the compressed answer ends early")
            try:
                part = inflater.decompress(data, READ_BUFFER)
            except zlib.error as error:
                raise AttemptFailed(FailureKind.MALFORMED, f"the answer cannot be decompressed: {error}") from error
            self._unpacked += len(part)
            if self._unpacked > max(MAX_RATIO_FROM, self._packed * MAX_RATIO):
                raise AttemptFailed(FailureKind.MALFORMED, f"the answer is compressed more than {MAX_RATIO} times")
            if part:
                return part
        while await self._response.read():
            pass  # padding after the answer, which must be read before the connection can be used again
        return b""

    async def read_all(self, grow: Grow = free) -> bytes:
        return await read_whole(self, grow)

    def ended(self) -> bool:
        return self._response.ended()

    def release(self) -> None:
        self._response.release()

    def finish(self) -> None:
        self._response.finish()


def readable(response: Response) -> Response:
    """`response`, decompressed if it is compressed."""
    coding = response.headers.get("content-encoding")
    return response if coding is None or coding.lower() not in ENCODINGS else Inflated(response)
