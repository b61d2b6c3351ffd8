"""One caller's connection: requests in, answers out, over llhttp. Made by `serve.http.server`.

One request is answered at a time. Requests sent ahead wait, and the caller is not read from meanwhile. The parser is
strict: it refuses ambiguous bytes, which could smuggle a request past a proxy in front, and the connection is closed.

A request whose body has come with its head goes to the handler whole. For any other, the server decides first whether
to read the body (`Keeper.admits`). If so, memory is taken for it and the handler gets it whole. If not, the
connection is not read from, and the handler gets the request at once: it answers, which ends the connection, or asks
for the body (`Request.read`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from weir_router.admit.memory import Memory
from weir_router.header import name_of
from weir_router.serve.http.body import Body
from weir_router.serve.http.message import MALFORMED, Answer, Common, Refused, Request, Stream
from weir_router.serve.http.outgoing import Outgoing, chunk_of

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers, trailers included. SDKs send 1 to 2 KiB; proxies in front add tracing."""

MAX_HEADERS = 256
"""Headers of one request, trailers included."""

ONCE = frozenset({"host", "origin", "sec-fetch-site"})
"""Headers that must not come twice: they decide whether a request is served, and a proxy may read the other one."""

HEAD_TOO_LARGE = f"its headers are larger than {MAX_HEAD} bytes, or more than {MAX_HEADERS}"

MAX_AHEAD = 32
"""Requests that may be sent ahead of an answer. No SDK sends any; a caller that sends more gets these answered, and
then the connection closed."""

IDLE_TIMEOUT = 75.0
"""Seconds for which a connection is kept between requests: nginx' default, and longer than clients keep theirs."""

READ_TIMEOUT = 60.0
"""Seconds for the whole head of a request, and between two parts of its body (nginx' defaults)."""

WRITE_TIMEOUT = 300.0
"""Seconds within which a caller that has stopped reading must catch up: long, since people pause in debuggers."""

LINGER_TIMEOUT = 5.0
"""Seconds for a refused caller that is still sending to read the answer, which closing at once would destroy."""

LINGER_PACE = 0.002
"""Seconds between two reads from refused callers that are still sending, all together: 256 KiB each, so 128 MB
per second. Reading from them as fast as they send would leave no time for others."""

NEVER = float("inf")

LINE = 64
"""Bytes, at least, of a request's first line besides its target: method, version and spaces."""

_HEAD: Final = 0  # the head is still to come, or a part of it
_ARRIVED: Final = 1  # the head has come, and it is not decided whether the body is read
_BODY: Final = 2  # the body is being read
_KEPT_BACK: Final = 3  # the handler has the request, and has not asked for the body

logger = logging.getLogger("weir.http")

_STARTS = {
    version: {it.value: f"HTTP/{version} {it.value} {it.phrase}\r\n".encode() for it in HTTPStatus}
    for version in ("1.0", "1.1")
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = b"connection: close\r\n"
_QUERY = ord("?")  # searching for a byte by its number is ten times as fast


class Keeper(Protocol):
    """The part of the server that a connection uses."""

    max_body: int  # bytes
    memory: Memory  # the ledger in which bodies are counted
    draining: bool  # no further request is taken
    common: Common  # header lines of every answer
    lingering: int  # connections that are only read from until their callers have seen the refusal

    def time(self) -> float:
        """The loop's time, in seconds."""

    def admits(self, method: str, path: str, headers: dict[str, str]) -> bool:
        """Whether to read a body before the handler has seen the request."""

    def later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """The loop's `call_later`."""

    def start(self, serving: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task of the server."""

    def turn(self) -> asyncio.Future[None]:
        """A new future of the loop, which is done when there is another request."""

    async def handle(self, request: Request) -> Answer | None:
        """See `message.Handler`; raises only when cancelled."""

    def refusal(self, why: str) -> Answer:
        """The answer to bytes that are not a valid HTTP request."""

    def opened(self, connection: Connection) -> None:
        """Called when the connection can be written to."""

    def closed(self, connection: Connection) -> None:
        """Called when the connection has ended."""


class Connection(asyncio.Protocol):
    """One caller's connection. The server calls `expire` when the loop's time has passed `due`."""

    __deletable__ = ("_parser",)  # for mypyc

    __slots__ = (
        "_ahead", "_apart", "_body", "_coming", "_first", "_head_bytes", "_head_count", "_headers", "_ignoring",
        "_keeper", "_linger", "_lingering", "_memory", "_parser", "_phase", "_reading", "_refusal", "_served",
        "_stream", "_target", "_task", "_transport", "_turn", "_waiter", "_writable", "due",
    )  # fmt: skip

    def __init__(self, keeper: Keeper) -> None:
        self.due = keeper.time() + READ_TIMEOUT
        self._keeper = keeper
        self._memory = keeper.memory
        self._parser = HttpRequestParser(self)
        self._body = Body(keeper.memory, keeper.max_body)
        self._ahead: deque[Request] = deque()  # requests that wait for their turn
        self._coming: Request | None = None  # request that the handler gets, or has, before its body has come
        self._waiter: asyncio.Future[None] | None = None  # done when the body of `_coming` has come or is refused
        self._served: Request | None = None  # the request that is being answered
        self._task: asyncio.Task[None] | None = None  # answers requests, from the first one to the connection's end
        self._turn: asyncio.Future[None] | None = None  # done when the next request has come
        self._stream: Outgoing | None = None  # stream of the current answer, if it is one
        self._refusal: Answer | None = None  # pending 400 for bytes that were not a valid request
        self._ignoring = False  # True: ignore all further input
        self._linger = False  # the caller may still be sending
        self._lingering = False  # the last answer was sent, and the caller is read from for a while
        self._reading = self._writable = True
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._first = b""  # first read of this request
        self._head_bytes = self._head_count = 0
        self._phase = _HEAD
        self._apart = -1  # bytes since the last part of a body; -1: this read brought a part, or began a request

    # Called by the server.

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or received."""
        return self._served is not None or self._head_bytes > 0

    def close(self) -> None:
        """Closes once all written data has been sent."""
        self._ignoring = True
        self._transport.close()

    def abort(self) -> None:
        """Closes at once, even in the middle of an answer."""
        self._transport.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        self._keeper.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._ignoring:
            if self._lingering and self._reading:
                self._pause()
                self._keeper.later(LINGER_PACE * self._keeper.lingering, self._resume)
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
        # Headers, chunk sizes and trailers: the parser keeps unfinished ones without a limit.
        self._apart = 0 if self._apart < 0 else self._apart + len(data)
        if self._apart > MAX_HEAD:
            self._refuse(HEAD_TOO_LARGE)
        if self._ignoring:
            return
        if self._phase == _ARRIVED:
            self._admit()
        if self._served is None or self._waiter is not None:
            self._wait()

    def eof_received(self) -> bool:
        return False  # closes our side, too: a caller that sends no more has gone

    def connection_lost(self, error: Exception | None) -> None:
        self._ignoring = True
        self.due = NEVER
        if self._stream is not None:
            self._stream.gone = True
        if self._task is not None:
            self._task.cancel()
        self._forget_body()
        if self._lingering:
            self._keeper.lingering -= 1
        if self._served is not None:
            self._release(self._served)
        self._drop_ahead()
        # These refer back to us, and a cycle would wait for the garbage collector.
        self._task = self._served = self._coming = self._waiter = None
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
        if self._waiter is not None:
            self._wait()

    # Called by the parser.

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._count(len(part))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_count += 1
        self._count(len(name) + len(value))
        if self._phase != _HEAD:
            return  # a trailer: headers that decide something must come before the body
        try:  # an error handler would cost three times as much
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("utf-8", "surrogateescape")
        key = name_of(name)
        if self._headers.setdefault(key, text) is not text and key in ONCE:
            raise HttpParserError(f"its header {key} comes twice")

    def on_headers_complete(self) -> None:
        self._phase = _ARRIVED

    def on_body(self, part: bytes) -> None:
        if self._ignoring:
            return
        body = self._body
        body.add(part)
        self._apart = -1
        if self._phase == _BODY and (refused := body.reserve(body.size)) is not None:
            self._unread(refused)

    def on_message_complete(self) -> None:
        if self._ignoring or (self._parser.should_upgrade() and self._framing()):
            return
        if (refused := self._room()) is not None:
            self._unread(refused)
            return
        body = self._body
        whole, held, request = body.whole(), body.clear(), self._coming
        if request is None:
            request = self._request(whole, self._parser.should_keep_alive())
            request.held = held
            self._begin()
            self._take(request)
        else:
            self._begin()
            self._complete(request, whole, held)

    # From bytes to requests.

    def _framing(self) -> bytes:
        """The header line with the length or coding of the body; empty: there is no body."""
        if "transfer-encoding" in self._headers:
            return f"transfer-encoding: {self._headers['transfer-encoding']}\r\n".encode()
        length = int(self._headers.get("content-length", "0"))
        return b"content-length: %d\r\n" % length if length else b""

    def _not_upgraded(self) -> None:
        """Ignores an offer to upgrade, which Java's client makes with every request.

        The parser would read all bytes after the headers as the other protocol. So a new parser continues. It learns
        the body's length, if there is one, from a short head; the old parser has checked method and length.
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
            raise HttpParserError(HEAD_TOO_LARGE)

    def _request(self, body: bytes | None, keep_alive: bool) -> Request:
        method = self._parser.get_method()
        # The parser formats the version with each call, which costs as much as reading three headers.
        target, headers = self._target, self._headers
        new = self._first.startswith(b" HTTP/1.1\r\n", len(method) + 1 + len(target))
        version = "1.1" if new else self._parser.get_http_version()
        if not target.startswith(b"/") and b"://" in target:  # a whole URL: its host replaces `Host` (RFC 9112)
            authority, _, path = target.partition(b"://")[2].partition(b"/")
            target, headers["host"] = b"/" + path, authority.decode("latin-1")
        return Request(method.decode("ascii"), _path(target), version, headers, body, keep_alive, self)

    def _is_admitted(self) -> bool:
        return self._keeper.admits(self._parser.get_method().decode("ascii"), _path(self._target), self._headers)

    def _room(self) -> Refused | None:
        """Takes memory for the part of a body that came with its head. Unknown callers cannot fill all memory."""
        body = self._body
        if body.size and self._phase == _ARRIVED and self._memory.scarce and not self._is_admitted():
            return body.no_memory()
        return body.reserve(body.size)

    def _admit(self) -> None:
        """Decides, after the head, whether the body is read now or when the handler asks for it."""
        if self._served is None and not self._ahead and self._is_admitted():
            self._accept()
        else:
            self._hand_over()

    def _accept(self) -> None:
        """Takes memory for the body, and reads it."""
        stated = int(self._headers.get("content-length", "0"))
        if (refused := self._body.reserve(max(stated, self._body.size))) is not None:
            self._unread(refused)
            return
        self._phase = _BODY
        self._first = self._first[: len(self._target) + LINE]  # the part that `_request` reads
        if self._body.size == 0 and self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(_CONTINUE)

    def _hand_over(self) -> None:
        """Gives the request to the handler without its body, which is not read until the handler asks for it."""
        refused = self._room()
        request = self._coming = self._request(None, self._parser.should_keep_alive())
        self._phase, self._first = _KEPT_BACK, b""
        if refused is not None:
            self._unread(refused)
        self._pause()
        if self._writable and self._served is None:
            self._answer(request)
        else:
            self._wait_ahead(request)

    def read(self, request: Request) -> asyncio.Future[None]:
        """See `message.Opener`."""
        waiter = self._waiter = self._keeper.turn()
        self._accept()
        if not waiter.done():
            self._resume()
            self._wait()
        return waiter

    def _complete(self, request: Request, body: bytes, held: int) -> None:
        """Adds the body to a request that the handler already has."""
        request.body = body
        request.held += held
        self._coming = None
        self._ignoring = not request.keep_alive
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        self.due = NEVER if self._served is not None else self.due
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _unread(self, refused: Refused) -> None:
        """Answers at once that the body is not read, so that useless megabytes need not come first."""
        self._forget_body()
        self._linger = True
        request = self._coming
        if request is not None:
            request.refused = refused
            self._ignoring = True
            self._wake()
            return
        request = self._request(None, False)
        request.refused = refused
        self._begin()
        self._take(request)

    def _take(self, request: Request) -> None:
        """Answers the request now, or lets it wait for its turn."""
        self._ignoring = not request.keep_alive
        if self._writable and self._served is None:
            self._answer(request)
            return
        self._wait_ahead(request)
        self._ignoring = not request.keep_alive
        self._pause()

    def _wait_ahead(self, request: Request) -> None:
        self._ahead.append(request)
        if len(self._ahead) >= MAX_AHEAD:
            request.keep_alive, self._linger = False, True

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def _refuse(self, why: str) -> None:
        """Refuses bytes that are not a valid request; all further input is ignored."""
        if self._ignoring:
            return  # the bytes came after the last request
        if self._coming is not None:
            self._unread((MALFORMED, f"This is not an HTTP/1.1 request: {why}."))
            return
        self._forget_body()
        self._ignoring = self._linger = True
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
        """Answers one request after the other. A task for each would cost as much as reading it."""
        while (request := self._served) is not None:
            try:
                answer = await self._keeper.handle(request)
            except BaseException as error:
                self._abandon()
                if not isinstance(error, Exception):
                    raise  # cancelled: the caller is gone, or the grace period over
                logger.error("%s %s failed because of a bug in Weir", request.method, request.path, exc_info=error)
                return
            finally:
                self._release(request)
            if not self._answered(request, answer):
                return
            turn = self._turn = self._keeper.turn()
            request = answer = None  # keep nothing of them between requests
            self._go_on()
            await turn

    def _answered(self, request: Request, answer: Answer | None) -> bool:
        """Sends the unsent part of an answer. Returns whether another request may follow."""
        self._served = None
        stream, self._stream = self._stream, None
        if request is self._coming:  # answered without its body, more of which may be on its way
            self._linger = True
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
        """Closes in the middle of an answer, so that the caller notices the missing end."""
        self._ignoring = True
        self._transport.abort()

    def _closes_after(self, request: Request) -> bool:
        return (
            not request.keep_alive
            or request.version == "1.0"
            or self._keeper.draining
            or request is self._coming  # the end of its body, and so the next request, is unknown
        )

    def _release(self, request: Request) -> None:
        """Gives back the memory counted for a request; nothing the second time."""
        held, request.held = request.held, 0
        self._memory.give_back(held)

    def _forget_body(self) -> None:
        self._memory.give_back(self._body.clear())

    def _drop_ahead(self) -> None:
        for request in self._ahead:
            self._release(request)
        self._ahead.clear()

    def _go_on(self) -> None:
        """Continues with the next request after an answer, but not faster than the caller reads."""
        if not self._writable or self._transport.is_closing():
            return
        if self._ahead:
            self._answer(self._ahead.popleft())
        elif self._refusal is not None:
            self._send("1.1", self._refusal, last=True)
            self._end()
        else:
            self._resume()
            self._wait()

    def _wait(self) -> None:
        """Sets the time until which a request, or the rest of one, must come."""
        self.due = self._keeper.time() + (READ_TIMEOUT if self._head_bytes else IDLE_TIMEOUT)

    def _end(self) -> None:
        """Ends the connection after the last answer."""
        self._ignoring = True
        self._coming = None
        self._forget_body()
        self._drop_ahead()
        if self._linger:
            self._transport.write_eof()
            self._lingering = True
            self._keeper.lingering += 1
            self.due = self._keeper.time() + LINGER_TIMEOUT
            self._resume()  # read and ignore, up to the caller's own end
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
        stream = self._stream = Outgoing(self._transport, chunked)
        parts = (
            _start(request.version, status),
            self._keeper.common.lines(),
            fields,
            _CLOSE if self._closes_after(request) else b"",
            b"transfer-encoding: chunked\r\n\r\n" if chunked else b"\r\n",
            chunk_of(first) if first and chunked else first,
        )
        self._transport.write(b"".join(parts))
        return stream


def _path(target: bytes) -> str:
    """The path of a request's target."""
    if _QUERY in target:
        target = target.partition(b"?")[0]
    return target.decode("latin-1")


def _start(version: str, status: int) -> bytes:
    known = _STARTS["1.0" if version == "1.0" else "1.1"]
    return known.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()  # an upstream's own status
