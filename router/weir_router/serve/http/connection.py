"""One caller's connection: requests in, answers out, over llhttp. Made by `serve.http.server`.

One request is answered at a time; what was sent ahead waits, and the caller is not read from meanwhile. The parser is
strict: what could be understood in two ways, and so smuggle a request past a proxy in front, is refused and the
connection closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from weir_router.header import name_of
from weir_router.serve.http.message import Answer, Common, Request, Stream

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers, trailers included: SDKs send 1 to 2 KiB, and proxies in front add tracing."""

MAX_HEADERS = 256
"""Headers of one request, trailers included."""

TOO_LARGE = f"its headers are larger than {MAX_HEAD} bytes, or more than {MAX_HEADERS}"

MAX_AHEAD = 32
"""Requests that may be sent ahead of an answer. No SDK sends one; who sends more gets these answered, and a close."""

IDLE_TIMEOUT = 75.0
"""Seconds that a connection is kept between requests: nginx' default, and longer than clients keep theirs."""

READ_TIMEOUT = 60.0
"""Seconds for a request's head from its first byte, and between two parts of its body (nginx' defaults)."""

WRITE_TIMEOUT = 300.0
"""Seconds in which a caller who has stopped reading must have caught up. Long, since people stop in debuggers."""

LINGER_TIMEOUT = 5.0
"""Seconds for a caller who is still sending to read why it was refused: closing at once would destroy the answer."""

NEVER = float("inf")

logger = logging.getLogger("weir.http")

_STARTS = {
    version: {it.value: f"HTTP/{version} {it.value} {it.phrase}\r\n".encode() for it in HTTPStatus}
    for version in ("1.0", "1.1")
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = b"connection: close\r\n"
_QUERY = ord("?")  # a byte is looked for ten times as fast by its number
_LAST_CHUNK = b"0\r\n\r\n"
_SIZES = [b"%x\r\n" % size for size in range(1024)]  # how nearly every chunk begins; formatting the number costs more


class Keeper(Protocol):
    """What a connection needs of its server."""

    max_body: int  # bytes
    draining: bool  # no further request is taken
    common: Common  # what every answer bears

    def time(self) -> float:
        """The loop's."""

    def start(self, serving: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the server's."""

    def turn(self) -> asyncio.Future[None]:
        """The loop's: for when there is another request."""

    async def handle(self, request: Request) -> Answer | None:
        """See `message.Handler`; raises only when cancelled."""

    def refusal(self, why: str) -> Answer:
        """The answer to what is no HTTP."""

    def opened(self, connection: Connection) -> None:
        """It can be written to."""

    def closed(self, connection: Connection) -> None:
        """It has ended."""


class Connection(asyncio.Protocol):
    """One caller. `due`: when the loop's time has passed it, the server calls `expire`."""

    __deletable__ = ("_parser",)  # for mypyc

    __slots__ = (
        "_ahead", "_apart", "_body", "_deaf", "_first", "_head_bytes", "_head_count", "_headers", "_in_head", "_keeper",
        "_linger", "_parser", "_reading", "_refusal", "_served", "_size", "_stream", "_target", "_task",
        "_transport", "_turn", "_writable", "due",
    )  # fmt: skip

    def __init__(self, keeper: Keeper) -> None:
        self.due = keeper.time() + READ_TIMEOUT
        self._keeper = keeper
        self._parser = HttpRequestParser(self)
        self._ahead: deque[Request] = deque()  # whole requests that wait for their turn
        self._served: Request | None = None  # the one that is being answered
        self._task: asyncio.Task[None] | None = None  # answers, from the first request to the connection's end
        self._turn: asyncio.Future[None] | None = None  # where it waits for the next one
        self._stream: _Stream | None = None  # as which it is answered
        self._refusal: Answer | None = None  # to what came behind the last request, and was none
        self._deaf = False  # nothing that comes is looked at any more
        self._linger = False  # the caller may still be sending
        self._reading = self._writable = True
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._first = b""  # read of this request
        self._body: list[bytes] = []
        self._size = self._head_bytes = self._head_count = 0
        self._in_head = True
        self._apart = -1  # bytes since the last of a body; -1: this read has brought some, or begun a request

    # What the server calls.

    @property
    def busy(self) -> bool:
        """Whether a request is being answered, or has begun to come."""
        return self._served is not None or self._head_bytes > 0

    def close(self) -> None:
        """Closes once what was written has gone out."""
        self._deaf = True
        self._transport.close()

    def abort(self) -> None:
        """Closes at once, in the middle of whatever it is."""
        self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        self._keeper.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if not self._head_bytes:
            self._first = data
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._not_upgraded()
            if rest := data[upgrade.args[0] :]:
                self.data_received(rest)
        except HttpParserError as error:
            self._refuse(str(error))
        # Headers, chunk sizes and trailers: the parser keeps what is unfinished of them, however long it gets.
        self._apart = 0 if self._apart < 0 else self._apart + len(data)
        if self._apart > MAX_HEAD:
            self._refuse(TOO_LARGE)
        if self._served is None and not self._deaf:
            self._wait()

    def eof_received(self) -> bool:
        return False  # closes our side too: who says that nothing more comes has gone

    def connection_lost(self, error: Exception | None) -> None:
        self._deaf = True
        self.due = NEVER
        if self._stream is not None:
            self._stream.gone = True
        if self._task is not None:
            self._task.cancel()
        # What refers back to us: without it nothing waits for the garbage collector.
        self._task = self._served = None
        self._ahead.clear()
        del self._parser
        self._keeper.closed(self)

    def pause_writing(self) -> None:
        self._writable = False
        self.due = self._keeper.time() + WRITE_TIMEOUT
        if self._stream is not None:
            self._stream.press(True)

    def resume_writing(self) -> None:
        self._writable = True
        self.due = NEVER
        if self._stream is not None:
            self._stream.press(False)
        elif self._served is None:
            self._go_on()

    # What the parser calls.

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._count(len(part))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_count += 1
        self._count(len(name) + len(value))
        if not self._in_head:
            return  # a trailer: whatever a header decides was decided before it
        try:  # with an error handler it costs three times as much
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("utf-8", "surrogateescape")
        self._headers.setdefault(name_of(name), text)

    def on_headers_complete(self) -> None:
        self._in_head = False
        headers = self._headers
        if self._deaf:
            return
        if "content-length" in headers and int(headers["content-length"]) > self._keeper.max_body:
            self._too_large()
        elif "expect" in headers and headers["expect"].lower() == "100-continue" and self._served is None:
            self._transport.write(_CONTINUE)

    def on_body(self, part: bytes) -> None:
        if self._deaf:
            return
        self._body.append(part)
        self._apart = -1
        self._size += len(part)
        if self._size > self._keeper.max_body:
            self._too_large()

    def on_message_complete(self) -> None:
        if self._deaf or (self._parser.should_upgrade() and self._framing()):
            return
        body = self._body
        request = self._request(body[0] if len(body) == 1 else b"".join(body), self._parser.should_keep_alive())
        self._begin()
        self._take(request)

    # From bytes to requests.

    def _framing(self) -> bytes:
        """The header line that says where the body ends; empty: there is none."""
        if "transfer-encoding" in self._headers:
            return f"transfer-encoding: {self._headers['transfer-encoding']}\r\n".encode()
        length = int(self._headers.get("content-length", "0"))
        return b"content-length: %d\r\n" % length if length else b""

    def _not_upgraded(self) -> None:
        """An offer to upgrade (Java's client makes one with every request) is passed over.

        The parser takes all behind the headers for the other protocol. So a new one reads on, and where a body is to
        come it is told of it; its method and length were checked by the old one.
        """
        method, self._parser = self._parser.get_method(), HttpRequestParser(self)
        if framing := self._framing():
            target, headers = self._target, self._headers
            self._begin()
            self._parser.feed_data(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, framing))
            self._headers = headers

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD or self._head_count > MAX_HEADERS:
            raise HttpParserError(TOO_LARGE)

    def _request(self, body: bytes | None, keep_alive: bool) -> Request:
        method = self._parser.get_method()
        # The parser formats its version anew each time, which costs as much as reading three headers.
        new = self._first.startswith(b" HTTP/1.1\r\n", len(method) + 1 + len(self._target))
        version = "1.1" if new else self._parser.get_http_version()
        return Request(method.decode("ascii"), _path(self._target), version, self._headers, body, keep_alive, self)

    def _too_large(self) -> None:
        """Is answered at once: nobody waits for megabytes that are of no use."""
        request = self._request(None, False)
        self._linger = True
        self._begin()
        self._take(request)

    def _take(self, request: Request) -> None:
        """It is next, or waits for its turn."""
        self._deaf = not request.keep_alive
        if self._writable and self._served is None:
            self._answer(request)
            return
        self._ahead.append(request)
        if len(self._ahead) >= MAX_AHEAD:
            request.keep_alive, self._deaf, self._linger = False, True, True
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _refuse(self, why: str) -> None:
        """What came is no HTTP, and nothing that follows can be trusted to be."""
        if self._deaf:
            return  # it came behind the last request
        self._deaf = self._linger = True
        self._refusal = self._keeper.refusal(why)
        if self._served is None:
            self._go_on()

    # From requests to answers.

    def _answer(self, request: Request) -> None:
        self.due = NEVER
        self._served = request
        if self._turn is None:
            self._task = self._keeper.start(self._serve())
        else:
            self._turn.set_result(None)

    async def _serve(self) -> None:
        """One request after the other: a task for each would cost as much as reading it."""
        while (request := self._served) is not None:
            try:
                answer = await self._keeper.handle(request)
            except BaseException as error:
                self._abandon()
                if not isinstance(error, Exception):
                    raise  # cancelled: the caller is gone, or the grace period over
                logger.error("%s %s failed by a bug of Weir", request.method, request.path, exc_info=error)
                return
            if not self._answered(request, answer):
                return
            turn = self._turn = self._keeper.turn()
            request = answer = None  # nothing of them is kept while nobody asks
            self._go_on()
            await turn

    def _answered(self, request: Request, answer: Answer | None) -> bool:
        """Sends what has not been sent. Whether another request may follow."""
        self._served = None
        stream, self._stream = self._stream, None
        if answer is not None:
            self._send(request.version, answer, head_only=request.method == "HEAD", last=self._closes_after(request))
        elif stream is None or not stream.ended:
            self._abandon()
            return False
        if self._closes_after(request):
            self._end()
            return False
        return True

    def _abandon(self) -> None:
        """In the middle of an answer: its end is missing, and the caller must notice."""
        self._deaf = True
        self._transport.abort()

    def _closes_after(self, request: Request) -> bool:
        return not request.keep_alive or request.version == "1.0" or self._keeper.draining

    def _go_on(self) -> None:
        """Nothing is being answered: on to whatever comes next, but not faster than the caller reads."""
        if not self._writable or self._transport.is_closing():
            return
        if self._ahead:
            self._answer(self._ahead.popleft())
        elif self._refusal is not None:
            self._send("1.1", self._refusal, last=True)
            self._end()
        else:
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()
            self._wait()

    def _wait(self) -> None:
        """For a request, or the rest of one."""
        self.due = self._keeper.time() + (READ_TIMEOUT if self._head_bytes else IDLE_TIMEOUT)

    def _end(self) -> None:
        """After the last answer."""
        self._deaf = True
        self._ahead.clear()
        if self._linger:
            self._transport.write_eof()
            self.due = self._keeper.time() + LINGER_TIMEOUT
            if not self._reading:
                self._transport.resume_reading()  # into the void, up to the caller's own end
        else:
            self._transport.close()

    def _send(self, version: str, answer: Answer, *, last: bool, head_only: bool = False) -> None:
        parts = (
            _start(version, answer.status),
            self._keeper.common.lines(),
            answer.fields,
            _CLOSE if last else b"",
            b"content-length: %d\r\n\r\n" % len(answer.body),
            b"" if head_only else answer.body,
        )
        self._transport.write(b"".join(parts))

    def open(self, request: Request, status: int, fields: bytes, first: bytes) -> Stream:
        """See `message.Opener`."""
        chunked = request.version != "1.0"
        stream = self._stream = _Stream(self._transport, chunked)
        parts = (
            _start(request.version, status),
            self._keeper.common.lines(),
            fields,
            _CLOSE if self._closes_after(request) else b"",
            b"transfer-encoding: chunked\r\n\r\n" if chunked else b"\r\n",
            _chunk(first) if first and chunked else first,
        )
        self._transport.write(b"".join(parts))
        return stream


class _Stream:
    """`message.Stream` on one connection."""

    __slots__ = ("_chunked", "_pressed", "_told", "_transport", "ended", "gone")

    def __init__(self, transport: asyncio.Transport, chunked: bool) -> None:
        self.ended = False
        self.gone = False  # the connection, before it was told so; one that is closing takes what nobody gets
        self._transport = transport
        self._chunked = chunked
        self._pressed = False
        self._told: Callable[[bool], None] | None = None

    def write(self, data: bytes) -> None:
        if data and not self.gone:
            self._transport.write(_chunk(data) if self._chunked else data)

    def end(self, last: bytes = b"") -> None:
        if self.ended:
            return
        self.ended = True
        if not self._chunked:
            self.write(last)
        elif not self.gone:
            self._transport.write(_chunk(last) + _LAST_CHUNK if last else _LAST_CHUNK)

    def on_pressure(self, told: Callable[[bool], None]) -> None:
        self._told = told
        if self._pressed:
            told(True)

    def press(self, pressed: bool) -> None:
        """The connection's buffer is full, or empty again."""
        self._pressed = pressed
        if self._told is not None:
            self._told(pressed)


def _chunk(data: bytes) -> bytes:
    size = len(data)
    return (_SIZES[size] if size < len(_SIZES) else b"%x\r\n" % size) + data + b"\r\n"  # `join` costs twice as much


def _path(target: bytes) -> str:
    """Of a request's target, which may be a whole URL."""
    if not target.startswith(b"/") and b"://" in target:
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    if _QUERY in target:
        target = target.partition(b"?")[0]
    return target.decode("latin-1")


def _start(version: str, status: int) -> bytes:
    known = _STARTS["1.0" if version == "1.0" else "1.1"]
    return known.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()  # upstreams have statuses of their own
