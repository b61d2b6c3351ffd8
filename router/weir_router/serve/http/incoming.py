"""Requests as they come in on one connection, read by llhttp: heads and bodies. Used by `connection`.

The parser is strict: it refuses ambiguous bytes, which could smuggle a request past a proxy in front.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from weir_router.admit.memory import Memory
from weir_router.header import name_of
from weir_router.serve.http.body import Body
from weir_router.serve.http.message import Admits, Opener, Refused, Request

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers, trailers included. SDKs send 1 to 2 KiB; proxies in front add tracing."""

MAX_HEADERS: Final = 256
"""Headers of one request, trailers included."""

ONCE = frozenset({"host", "origin", "sec-fetch-site"})
"""Headers that must not come twice: they decide whether a request is served, and a proxy may read the other one."""

HEAD_TOO_LARGE = f"its headers are larger than {MAX_HEAD} bytes, or more than {MAX_HEADERS}"

LINE = 64
"""Bytes, at least, of a request's first line besides its target: method, version and spaces."""

_HEAD: Final = 0  # the head is still to come, or a part of it
_ARRIVED: Final = 1  # the head has come, and it is not decided whether the body is read
_BODY: Final = 2  # the body is being read
_KEPT_BACK: Final = 3  # the handler has the request, and has not asked for the body

_QUERY = ord("?")  # numbers are found faster, see fast.md


class Incoming:
    """The request that is coming in. The parser calls the `on_` methods."""

    __deletable__ = ("_parser", "_unread", "_whole")  # for mypyc

    __slots__ = (
        "_admits", "_apart", "_first", "_head_count", "_headers", "_memory", "_parser", "_phase", "_target", "_unread",
        "_whole", "body", "head_bytes", "ignoring",
    )  # fmt: skip

    def __init__(
        self, admits: Admits, memory: Memory, body: Body, whole: Callable[[], None], unread: Callable[[Refused], None]
    ) -> None:
        """`whole` is called when a request has come with its body, `unread` when its body is too large to go on."""
        self.body = body
        self.ignoring = False  # True: ignore all further input
        self._admits = admits
        self._memory = memory
        self._whole = whole
        self._unread = unread
        self._parser = HttpRequestParser(self)
        self.begin()

    def begin(self) -> None:
        """Gets ready for the next request."""
        self._target = b""
        self._headers: dict[str, str] = {}
        self._first = b""  # first read of this request
        self.head_bytes = self._head_count = 0
        self._phase = _HEAD
        self._apart = -1  # bytes since the last part of a body; -1: this read brought a part, or began a request

    def forget(self) -> None:
        """Breaks the cycles through the parser and the connection, so that no garbage collector is needed."""
        del self._parser, self._unread, self._whole

    def feed(self, data: bytes) -> str | None:
        """Reads `data`. Returns the reason why it is not valid HTTP, or None."""
        if not self.head_bytes:
            self._first = data
        why = None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            why = self._not_upgraded()
            if why is None and not self.ignoring and (rest := data[upgrade.args[0] :]):
                why = self.feed(rest)
        except HttpParserError as error:
            why = str(error)
        # Headers, chunk sizes and trailers: the parser keeps unfinished ones without a limit.
        self._apart = 0 if self._apart < 0 else self._apart + len(data)
        if self._apart > MAX_HEAD:
            return why or HEAD_TOO_LARGE
        return why

    # Called by the parser.

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._count(len(part))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_count += 1
        self._count(len(name) + len(value))
        if self._phase != _HEAD:
            return  # a trailer: headers that decide something must come before the body
        try:  # faster without an error handler
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("utf-8", "surrogateescape")
        key = name_of(name)
        if self._headers.setdefault(key, text) is not text and key in ONCE:
            raise HttpParserError(f"its header {key} comes twice")

    def on_headers_complete(self) -> None:
        self._phase = _ARRIVED

    def on_body(self, part: bytes) -> None:
        if self.ignoring:
            return
        body = self.body
        body.add(part)
        self._apart = -1
        if self._phase == _BODY and (refused := body.reserve(body.size)) is not None:
            self._unread(refused)

    def on_message_complete(self) -> None:
        if not self.ignoring and not (self._parser.should_upgrade() and self._framing()):
            self._whole()

    def _framing(self) -> bytes:
        """The header line with the length or coding of the body; empty: there is no body."""
        if "transfer-encoding" in self._headers:
            return f"transfer-encoding: {self._headers['transfer-encoding']}\r\n".encode()
        length = self._stated()
        return b"content-length: %d\r\n" % length if length else b""

    def _stated(self) -> int:
        """The size of the body by its header; 0: unknown, or no body."""
        return int(self._headers.get("content-length", "0"))

    def _not_upgraded(self) -> str | None:
        """Ignores an offer to upgrade, which Java's client makes with every request.

        The parser would read all bytes after the headers as the other protocol. So a new parser continues. It learns
        the body's length, if there is one, from a short head; the old parser has checked method and length. Returns
        the reason why it cannot: a CONNECT has no body, and some codings leave the end of a body open.
        """
        method, self._parser = self._parser.get_method(), HttpRequestParser(self)
        if framing := self._framing():
            target, headers = self._target, self._headers
            self.begin()
            try:
                self._parser.feed_data(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, framing))
            except (HttpParserError, HttpParserUpgrade):
                return "it has a body whose end is unknown beside an upgrade or CONNECT"
            self._headers = headers
        return None

    def _count(self, size: int) -> None:
        self.head_bytes += size
        if self.head_bytes > MAX_HEAD or self._head_count > MAX_HEADERS:
            raise HttpParserError(HEAD_TOO_LARGE)

    # Called by the connection.

    @property
    def arrived(self) -> bool:
        """Whether the head has come before its body, and it is not decided whether the body is read."""
        return self._phase == _ARRIVED

    @property
    def keep_alive(self) -> bool:
        """Whether the caller may send another request after this one."""
        return self._parser.should_keep_alive()

    def request(self, body: bytes | None, keep_alive: bool, opener: Opener) -> Request:
        """The request whose head has come."""
        method = self._parser.get_method()
        # The parser would format the version anew with each call.
        target, headers = self._target, self._headers
        new = self._first.startswith(b" HTTP/1.1\r\n", len(method) + 1 + len(target))
        version = "1.1" if new else self._parser.get_http_version()
        if not target.startswith(b"/") and b"://" in target:  # a whole URL: its host replaces `Host` (RFC 9112)
            authority, _, path = target.partition(b"://")[2].partition(b"/")
            target, headers["host"] = b"/" + path, authority.decode("latin-1")
        return Request(method.decode("ascii"), _path(target), version, headers, body, keep_alive, opener)

    def admitted(self) -> bool:
        """Whether the body is read before the handler has seen the request."""
        return self._admits(self._parser.get_method().decode("ascii"), _path(self._target), self._headers)

    def room(self) -> Refused | None:
        """Takes memory for the part of a body that came with its head. Unknown callers cannot fill all memory."""
        body = self.body
        if body.size and self._phase == _ARRIVED and self._memory.scarce and not self.admitted():
            return body.no_memory()
        return body.reserve(body.size)

    def accept(self) -> Refused | None:
        """Takes memory for the body, which is read from now on. Returns the reason why it cannot be, or None."""
        if (refused := self.body.reserve(max(self._stated(), self.body.size))) is not None:
            return refused
        self._phase = _BODY
        self._first = self._first[: len(self._target) + LINE]  # the part that `request` reads
        return None

    def keep_back(self) -> None:
        """Called when the handler has the request, and the body is not read until `accept`."""
        self._phase, self._first = _KEPT_BACK, b""

    def expects_continue(self) -> bool:
        """Whether the caller waits for an interim answer before it sends the body."""
        return self.body.size == 0 and self._headers.get("expect", "").lower() == "100-continue"


def _path(target: bytes) -> str:
    """The path of a request's target."""
    if _QUERY in target:
        target = target.partition(b"?")[0]
    return target.decode("latin-1")
