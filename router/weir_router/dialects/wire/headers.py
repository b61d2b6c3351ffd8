"""Headers of upstream requests that many requests share. Made by a format, sent by `call.transport`."""

from __future__ import annotations

HEADERS_KEPT = 128
"""Headers of requests that are kept per host: more than most configs have credentials; with callers' longest ones
8 MiB.
"""


class Kept(dict[str, str]):
    """Headers that many requests have; nobody changes them. What they are as `lines` is made once."""

    __slots__ = ("lines",)

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(headers)
        self.lines: bytes | None = None  # as a transport sends them
