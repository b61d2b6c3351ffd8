"""HTTP/1.1 requests, cut out of bytes as cheaply as Python allows.

Called by `weir_cli.sim.connection`. A framework would cost several times the CPU per request, and the simulator must
not be what a benchmark measures. It is no general parser: no trailers, no obsolete line folding. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_HEAD_BYTES = 65_536
"""A longer head is refused; no SDK comes near."""

_END_OF_HEAD = b"\r\n\r\n"


class BadHttp(ValueError):
    """These bytes are no HTTP request."""


class Request(NamedTuple):
    """A request, read to its end. Headers are parsed only when asked for."""

    method: str
    target: str  # with the query
    head: bytes  # as it came, with the last line's CRLF
    body: bytes
    keep_alive: bool
    chunks: bool  # whether the client understands chunked answers

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: bytes) -> str | None:
        """The first header called `name` (lower case)."""
        value = _header(self.head, self.head.lower(), name)
        return None if value is None else value.decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        """All headers by lower-case name; the last of equal ones."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}


class Short(NamedTuple):
    """More bytes are needed before there is a request."""

    wanted: int  # total bytes before another look can help; 0: unknown
    expects_continue: bool


def read_request(data: bytes) -> tuple[Request, bytes] | Short:
    """The first request in `data` and what follows it. Raises `BadHttp`."""
    end = data.find(_END_OF_HEAD)
    if end < 0:
        if len(data) > MAX_HEAD_BYTES:
            raise BadHttp("the request's head is too long")
        return Short(0, False)
    start = end + 4
    head = data[: end + 2]
    lowered = head.lower()
    try:
        method, target, version = head[: head.index(b"\r\n")].decode("latin-1").split(" ")
        length = int(_header(head, lowered, b"content-length") or 0)
    except ValueError as error:
        raise BadHttp("unreadable request line or Content-Length") from error
    if b"chunked" in (_header(head, lowered, b"transfer-encoding") or b""):
        whole = _read_chunks(data, start)
        if whole is None:
            return Short(0, b"100-continue" in lowered)
        body, stop = whole
    else:
        stop = start + length
        if len(data) < stop:
            return Short(stop, b"100-continue" in lowered)
        body = data[start:stop]
    modern = version != "HTTP/1.0"
    keep_alive = modern and (_header(head, lowered, b"connection") or b"").lower() != b"close"
    return Request(method, target, head, body, keep_alive, modern), data[stop:]


def _header(head: bytes, lowered: bytes, name: bytes) -> bytes | None:
    # Searching the lowered head is several times cheaper than splitting it into lines.
    at = lowered.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    start = at + len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


def _read_chunks(data: bytes, at: int) -> tuple[bytes, int] | None:
    parts: list[bytes] = []
    while (end := data.find(b"\r\n", at)) >= 0:
        try:
            size = int(data[at:end].partition(b";")[0], 16)
        except ValueError as error:
            raise BadHttp("unreadable chunk size") from error
        at = end + 2 + size + 2
        if len(data) < at:
            return None
        if size == 0:
            return b"".join(parts), at
        parts.append(data[end + 2 : at - 2])
    return None
