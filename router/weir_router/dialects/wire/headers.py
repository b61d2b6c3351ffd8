"""Headers of upstream requests that many requests share. Made by a format, sent by `call.transport`."""

from __future__ import annotations

HEADERS_KEPT = 128
"""Sets of headers that are kept per host: more than the credentials of most configs; with callers' longest headers
8 MiB.
"""


class Kept(dict[str, str]):
    """Headers of many requests, which must not be changed. Their `lines` are made once."""

    __slots__ = ("lines",)

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(headers)
        self.lines: bytes | None = None  # the bytes that a transport sends
