"""Requests as they come in on one connection, read by llhttp: heads and bodies. Used by `connection`.

The parser is strict: it refuses ambiguous bytes, which could smuggle a request past a proxy in front.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from weir_router.header import name_of
from weir_router.serve.http.body import Body
from weir_router.serve.http.message import MALFORMED, NO_CODING, NO_METHOD, NO_VERSION, Admits, Opener, Refused, Request

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers, trailers included. SDKs send 1 to 2 KiB; proxies in front add tracing."""

MAX_HEADERS: Final = 256
"""Headers of one request, trailers included."""

ONCE = frozenset({"host", "origin", "sec-fetch-site", "transfer-encoding"})
"""Headers that must not come twice: they decide whether a request is served and where it ends, and a proxy may read the
other one.
"""

LISTS = frozenset({"anthropic-beta", "openai-beta", "via"})
"""Headers with several values, of which some clients send each in a line of its own: the same as one with commas."""

HEAD_TOO_LARGE = f"its headers are larger than {MAX_HEAD} bytes, or more than {MAX_HEADERS}"

LINE = 64
"""Bytes, at least, of a request's first line besides its target: method, version and spaces."""

_HEAD: Final = 0  # the head is still to come, or a part of it
_ARRIVED: Final = 1  # the head has come, and it is not decided whether the body is read
_BODY: Final = 2  # the body is being read
_KEPT_BACK: Final = 3  # the handler has the request, and has not asked for the body
_AGAIN: Final = 4  # a short head in place of one that has come is being read

_QUERY = ord("?")  # numbers are found faster, see fast.md
_NEW: Final = b" HTTP/1.1\r\n"
_LINE = re.compile(rb"(?:\r?\n)*(?:[!-~]* )?[!-~]+ HTTP/1\.[01]\r\n")  # the method may have come before
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%~_-]+\]|[0-9A-Za-z._~%!$&'()*+;=-]*)(?::[0-9]*)?")
_SHOWN: Final = 100  # characters of a header in an error message


class Incoming:
    """The request that is coming in. The parser calls the `on_` methods."""

    __deletable__ = ("_parser", "_unread", "_whole")  # for mypyc

    __slots__ = (
        "_admits", "_apart", "_chunk", "_first", "_head_count", "_headers", "_host", "_keep_alive", "_line", "_method",
        "_opened", "_parser", "_phase", "_promised", "_refused", "_target", "_unread", "_version", "_whole",
        "body", "head_bytes", "ignoring",
    )  # fmt: skip

    def __init__(
        self, admits: Admits, body: Body, whole: Callable[[], None], unread: Callable[[Refused], None]
    ) -> None:
        """`whole` is called when a request has come with its body, `unread` when its body is too large to go on."""
        self.body = body
        self.ignoring = False  # True: ignore all further input
        self._admits = admits
        self._whole = whole
        self._unread = unread
        self._parser = HttpRequestParser(self)
        self._host: str | None = None  # the last valid value of `Host`; most connections send one
        self._refused: Refused | None = None  # the reason why a callback of the parser failed
        self._keep_alive = False  # what a head said whose body is read with a short head in its place
        self._opened = False  # the present read brought the beginning of a chunk
        self._method = b""
        self._version = "1.1"
        self.begin()

    def begin(self) -> None:
        """Gets ready for the next request."""
        self._target = b""
        self._headers: dict[str, str] = {}
        self._first = b""  # first read of this request
        self.head_bytes = self._head_count = 0
        self._phase = _HEAD
        self._apart = -1  # bytes since the last part of a body; -1: this read brought a part, or began a request
        self._chunk = -1  # bytes of the unfinished chunk that have come; -1: there is none
        self._line = b""  # the end of the last read of a body in chunks, which may hold a part of a chunk's size
        self._promised = 0  # size of the body at the end of the unfinished chunk

    def forget(self) -> None:
        """Breaks the cycles through the parser and the connection, so that no garbage collector is needed."""
        del self._parser, self._unread, self._whole

    def feed(self, data: bytes) -> Refused | None:
        """Reads `data`. Returns the reason why it is refused, or None."""
        if not self.head_bytes:
            self._first = data
        self._opened = False
        refused = None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            refused = self._not_upgraded()
            if refused is None and not self.ignoring and (rest := data[upgrade.args[0] :]):
                refused = self.feed(rest)
        except HttpParserError as error:
            refused = self._refused or _malformed(str(error))
        # Headers, chunk sizes and trailers: the parser keeps unfinished ones without a limit.
        self._apart = 0 if self._apart < 0 else self._apart + len(data)
        if self._apart > MAX_HEAD:
            return refused or _malformed(HEAD_TOO_LARGE)
        if "transfer-encoding" in self._headers:
            self._look_ahead(data)
        return refused

    def _look_ahead(self, data: bytes) -> None:
        """Refuses a body as soon as the size of a chunk says that it will be too large.

        The parser does not tell that size. It stands in the line before those bytes of the chunk that have come.
        """
        if self._opened and self._chunk >= 0:
            line = (self._line + data[: len(data) - self._chunk])[-LINE:]
            number = line.rstrip(b"\r\n").rpartition(b"\n")[2].partition(b";")[0]
            try:
                size = int(number, 16)
            except ValueError:  # a long extension hides it; then the bytes count as they come
                size = 0
            self._promised = self.body.size - self._chunk + size
            if self._phase == _BODY and (refused := self.body.beyond(self._promised)) is not None:
                self._unread(refused)
        self._line = (self._line + data)[-LINE:]

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
        key, headers = name_of(name), self._headers
        if key not in headers:
            headers[key] = text
        elif key in ONCE:
            raise self._refusing(_malformed(f"its header {key} comes twice"))
        elif key in LISTS:
            headers[key] = f"{headers[key]}, {text}"

    def on_headers_complete(self) -> None:
        if self._phase == _AGAIN:
            self._phase = _ARRIVED
            return
        self._phase = _ARRIVED
        headers = self._headers
        method = self._method = self._parser.get_method()
        # The parser would format the version anew with each call.
        at = len(method) + 1 + len(self._target)
        new = self._first[at : at + len(_NEW)] == _NEW
        self._version = "1.1" if new else self._parser.get_http_version()
        host = headers.get("host")
        usual = new and host is not None and host == self._host and "transfer-encoding" not in headers
        if usual and self._target.startswith(b"/"):
            return
        if (refused := self._judged(host)) is not None:
            raise self._refusing(refused)
        self._host = host

    def _judged(self, host: str | None) -> Refused | None:
        """The reason why a head that is not a usual one is refused, as RFC 9112 says; None: it is not."""
        version = self._version
        if version not in ("1.0", "1.1"):
            return NO_VERSION, f"This server speaks HTTP/1.1, not HTTP/{version}."
        if b"\n" in self._first.lstrip(b"\r\n") and _LINE.match(self._first) is None:
            return _malformed("its first line is not METHOD TARGET HTTP/1.1, with one space between them")
        if self._method == b"CONNECT":
            return NO_METHOD, "This server is no proxy, so it opens no tunnels: CONNECT is not served."
        if host is None and version == "1.1":
            return _malformed("it has no Host header")
        if host is not None and _HOST.fullmatch(host) is None:
            return _malformed(f"its Host header {host[:_SHOWN]!r} is not HOST or HOST:PORT")
        coding = self._headers.get("transfer-encoding", "chunked")
        if coding.strip().lower() != "chunked":
            return NO_CODING, f"This server reads chunked bodies, but not the transfer coding {coding[:_SHOWN]!r}."
        if version == "1.0" and "transfer-encoding" in self._headers:
            return _malformed("HTTP/1.0 has no Transfer-Encoding")
        return None

    def _refusing(self, refused: Refused) -> HttpParserError:
        """The error with which a callback stops the parser, which does not pass the error's text on."""
        self._refused = refused
        return HttpParserError(refused[1])

    def on_body(self, part: bytes) -> None:
        if self.ignoring:
            return
        body = self.body
        body.add(part)
        self._apart = -1
        if self._chunk >= 0:
            self._chunk += len(part)
        if self._phase == _BODY and (refused := body.reserve(body.size)) is not None:
            self._unread(refused)

    def on_chunk_header(self) -> None:
        self._opened, self._chunk = True, 0

    def on_chunk_complete(self) -> None:
        self._chunk, self._promised = -1, 0

    def on_message_complete(self) -> None:
        if self.ignoring:
            return
        if self._parser.should_upgrade() and self._framing():
            self._keep_alive = self._parser.should_keep_alive()  # the parser forgets it afterwards
        else:
            self._whole()

    def _framing(self) -> bytes:
        """The header line with the length or coding of the body; empty: there is no body."""
        if "transfer-encoding" in self._headers:
            return f"transfer-encoding: {self._headers['transfer-encoding']}\r\n".encode()
        length = self._stated()
        return b"content-length: %d\r\n" % length if length else b""

    def _stated(self) -> int:
        """The size of the body by its header, or at the end of its chunk; 0: unknown, or no body."""
        return max(int(self._headers.get("content-length", "0")), self._promised)

    def _not_upgraded(self) -> Refused | None:
        """Ignores an offer to upgrade, which Java's client makes with every request.

        The parser would read all bytes after the headers as the other protocol. So a new parser continues. It learns
        the body's length, if there is one, from a short head; the old parser has checked method, version and length.
        Returns the reason why it cannot.
        """
        self._parser = HttpRequestParser(self)
        if framing := self._framing():
            target, headers = self._target, self._headers
            kept = b"keep-alive" if self._keep_alive else b"close"
            self.begin()
            self._phase = _AGAIN
            head = b"%b %b HTTP/%b\r\nconnection: %b\r\n%b\r\n"
            try:
                self._parser.feed_data(head % (self._method, target, self._version.encode(), kept, framing))
            except (HttpParserError, HttpParserUpgrade):
                return _malformed("it has a body whose end is unknown beside an upgrade")
            self._headers = headers
        return None

    def _count(self, size: int) -> None:
        self.head_bytes += size
        if self.head_bytes > MAX_HEAD or self._head_count > MAX_HEADERS:
            raise self._refusing(_malformed(HEAD_TOO_LARGE))

    # Called by the connection.

    @property
    def arrived(self) -> bool:
        """Whether the head has come before its body, and it is not decided whether the body is read."""
        return self._phase == _ARRIVED

    @property
    def keep_alive(self) -> bool:
        """Whether the caller may send another request after this one."""
        return self._parser.should_keep_alive()

    @property
    def reading(self) -> bool:
        """Whether the body is being read."""
        return self._phase == _BODY

    def request(self, body: bytes | None, keep_alive: bool, opener: Opener) -> Request:
        """The request whose head has come."""
        target, headers = self._target, self._headers
        if not target.startswith(b"/") and b"://" in target:  # a whole URL: its host replaces `Host` (RFC 9112)
            authority, target = _parted(target)
            headers["host"] = authority.decode("latin-1")
        method, query = self._method.decode("ascii"), _query(target)
        return Request(method, _path(target), self._version, headers, body, keep_alive, opener, query)

    def place(self) -> tuple[str, dict[str, str]]:
        """The path and the headers of a request that is refused, as far as they have come."""
        whole = not self._target.startswith(b"/") and b"://" in self._target
        return _path(_parted(self._target)[1] if whole else self._target), self._headers

    def admitted(self) -> bool:
        """Whether the body is read before the handler has seen the request."""
        namespace = self._admits(self._method.decode("ascii"), _path(self._target), self._headers)
        if namespace is None:
            return False
        self.body.belongs(namespace)
        return True

    def room(self) -> Refused | None:
        """Takes memory for the part of a body that came with its head: of the strangers' share, while it has any."""
        body = self.body
        refused = body.reserve(body.size)
        if refused is not None and self._phase == _ARRIVED and self.admitted():
            return body.reserve(body.size)
        return refused

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
        waits = self._headers.get("expect", "").lower() == "100-continue"
        return waits and self.body.size == 0 and self._version != "1.0"


def _malformed(why: str) -> Refused:
    return MALFORMED, f"This is not an HTTP/1.1 request: {why}."


def _parted(target: bytes) -> tuple[bytes, bytes]:
    """The authority of a whole URL, and the target that it would be by itself."""
    authority, _, path = target.partition(b"://")[2].partition(b"/")
    return authority, b"/" + path


def _path(target: bytes) -> str:
    """The path of a request's target."""
    if _QUERY in target:
        target = target.partition(b"?")[0]
    return target.decode("latin-1")


def _query(target: bytes) -> str:
    """The query of a request's target, without the question mark."""
    return target.partition(b"?")[2].decode("latin-1") if _QUERY in target else ""
