"""One HTTP/1.1 connection to an upstream: an asyncio protocol over llhttp, Node's parser. Used by `pool`.

One exchange at a time, no pipelining. The connection is used again only if the request was sent as a whole, the answer
is complete and allows it, and not a byte followed it: such a byte would begin the answer to another caller's request.
In doubt it is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from weir_router.call.transport.base import READ_BUFFER, failed
from weir_router.call.transport.exchange import Carrier, Exchange
from weir_router.dialects.wire.outgoing import Body
from weir_router.errors import AttemptFailed, FailureKind
from weir_router.header import name_of
from weir_router.paced import TURN

MAX_HEAD = 64 * 1024
"""Bytes of an answer's headers, interim answers and trailers included. Servers' own limits for requests are 8 to 64
KiB; quota and tracing headers of providers take 4 KiB.
"""

MAX_HEADERS = 256
"""Headers of one answer, interim answers included."""

IN_PARTS = 64 * 1024
"""Bytes of a request above which it is sent in parts, as fast as the upstream takes it: the size at which asyncio
pauses a writer.
"""

_CHUNK_HEADS = {len(head) + size + 2: head for size in range(1, 4096) for head in [b"%x\r\n" % size]}
"""First bytes of a read that is exactly one chunk, by the length of the read."""

TOO_LARGE = f"the answer's headers are larger than {MAX_HEAD} bytes, or more than {MAX_HEADERS}"

STALE_WITHIN = 1.0
"""Seconds within which a used connection must break to count as closed by keep-alive, and not as a failure of an
upstream at work: a close that crosses our request is seen within a round trip.
"""

IDLE_CLOSED = 1.0
"""Seconds without use before which no server closes an idle connection (Gunicorn after 2 s, Node and uvicorn after 5,
nginx after 75). A break before that is a failure, which must count for the backend's health.
"""


class Connection(Carrier):
    """One connection. `lost` is done when it is closed."""

    __deletable__ = ("_parser",)  # for mypyc

    def __init__(self, free: Callable[[Connection], None]) -> None:
        """`free` is called whenever the connection can take another exchange."""
        super().__init__()
        self._exchange: Exchange | None = None  # these two first: used for every chunk
        self._between = False  # chunks: the next byte begins one, or the end
        self.loop = asyncio.get_running_loop()  # remembered: looking it up makes a system call
        self.lost: asyncio.Future[None] = self.loop.create_future()
        self.opened_at = 0.0  # loop time
        self.asked_at = 0.0
        self.idle_since = 0.0
        self.stale = False  # closed during a request that was most likely never read
        self._free = free
        self._parser = HttpResponseParser(self)
        self._uses = 0
        self._heard = False  # a byte has come in this exchange
        self._sent = False  # the whole request was sent
        self._reusable = False
        self._head_bytes = self._head_count = 0
        self._apart_from_body = 0  # bytes since the last of a body
        self._in_chunk = True  # or the body is not chunked
        self._writing = True

    async def exchange(self, head: bytes, body: Body) -> Exchange:
        """Sends a request and waits for the answer's headers. Raises `AttemptFailed`; then, and when cancelled, the
        connection is closed.
        """
        self._uses += 1
        self._heard = self._sent = self._reusable = False
        self._head_bytes = self._head_count = self._apart_from_body = 0
        exchange = self._exchange = Exchange(self)
        started = self.asked_at = self.loop.time()
        try:
            if isinstance(body, bytes) and len(body) <= IN_PARTS:
                self._transport.write(b"".join((head, body)))
                self._sent = True
            else:
                await self._send_in_parts(exchange, [head, body] if isinstance(body, bytes) else [head, *body.parts])
            while not exchange.begun:
                if exchange.broken is not None:
                    raise exchange.broken
                await exchange.change()
        except BaseException:
            now = self.loop.time()
            was_idle = self._uses > 1 and started - self.idle_since >= IDLE_CLOSED
            self.stale = self.closed() and was_idle and not self._heard and now - started < STALE_WITHIN
            self.abort()
            raise
        return exchange

    def overdue(self, now: float) -> bool:
        """Whether an answer that is no longer wanted should have ended by `now`."""
        exchange = self._exchange
        return exchange is not None and exchange.due is not None and exchange.due < now

    def closed(self) -> bool:
        """Whether it is closed or about to be."""
        return self.lost.done() or self._transport.is_closing()

    async def _send_in_parts(self, exchange: Exchange, parts: list[bytes | memoryview]) -> None:
        for part in parts:
            rest = memoryview(part)
            while rest:
                if exchange.begun or exchange.broken is not None:
                    return  # the upstream has answered early, or is gone
                if self._writing:
                    self._transport.write(rest[:IN_PARTS])
                    rest = rest[IN_PARTS:]
                else:
                    await exchange.change()
        self._sent = True

    def release(self, exchange: Exchange) -> None:
        if exchange is not self._exchange:
            return
        if exchange.complete and self._sent and self._reusable and not self._rest and not self.closed():
            self._exchange = None
            self.resume()
            self._free(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Closes the connection at once, even with unsent data; a reader that waits for the answer gets a failure."""
        if not self.lost.done():
            self._transport.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # data without a request
            self._transport.abort()
            return
        if self._between and (part := _only(data)) is not None and exchange.passes(part):
            return  # nearly every chunk of a stream takes this way; the parser has missed nothing
        if len(data) > TURN:
            self.share(data)
            return
        self._heard = True
        held = exchange.held
        try:
            self._between = False
            self._parser.feed_data(data)
            self._between = not self._in_chunk and data.endswith(b"\r\n")
        except (HttpParserError, HttpParserUpgrade) as error:
            self._reusable = False
            if not exchange.complete:
                self._fail(exchange, AttemptFailed(FailureKind.MALFORMED, f"not an HTTP answer: {error}"))
        if exchange.held > held:
            self._apart_from_body = 0
        elif not exchange.complete:
            # Headers, chunk sizes and trailers: the parser keeps unfinished ones without a limit.
            self._apart_from_body += len(data)
            if self._apart_from_body > MAX_HEAD:
                self._fail(exchange, AttemptFailed(FailureKind.MALFORMED, TOO_LARGE))
        exchange.wake()
        if exchange.held > READ_BUFFER:
            self.pause()

    def eof_received(self) -> bool:
        self._ended(None)
        return False  # closes our side too

    def connection_lost(self, error: Exception | None) -> None:
        self._ended(error)
        self._exchange, self._rest = None, b""
        del self._parser  # it refers back to us, and a cycle would wait for the garbage collector
        self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._writing = False

    def resume_writing(self) -> None:
        self._writing = True
        if self._exchange is not None:
            self._exchange.wake()

    def _ended(self, error: Exception | None) -> None:
        self._reusable = False
        exchange = self._exchange
        if exchange is None or exchange.complete:
            return
        if exchange.begun and error is None and exchange.broken is None and not exchange.framed():
            exchange.complete = True
        else:
            why = ConnectionError("closed by the upstream") if error is None else error
            self._fail(exchange, failed(FailureKind.RESET, "the connection broke", why))
        exchange.wake()

    def _fail(self, exchange: Exchange, failure: AttemptFailed) -> None:
        exchange.broken = exchange.broken or failure
        self._transport.abort()

    # Called by the parser. `feed_data` raises their errors as one of its own.

    def on_message_begin(self) -> None:
        if self._exchange is None or self._exchange.complete:
            raise HttpParserError("bytes behind the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._exchange
        if exchange is None or exchange.begun:
            return  # a trailer
        self._head_count += 1
        self._head_bytes += len(name) + len(value)
        if self._head_count > MAX_HEADERS or self._head_bytes > MAX_HEAD:
            raise HttpParserError(TOO_LARGE)
        exchange.headers.setdefault(name_of(name), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        status = self._parser.get_status_code()
        if status < 100:
            raise HttpParserError("no HTTP status")
        if status < 200:
            exchange.headers.clear()  # an interim answer; the final one follows
        else:
            exchange.status = status
            exchange.begun = True

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.begun:
            exchange.parts.append(body)
            exchange.held += len(body)

    def on_chunk_header(self) -> None:
        self._in_chunk = True

    def on_chunk_complete(self) -> None:
        self._in_chunk = False

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.begun:
            exchange.complete = self._in_chunk = True
            self._reusable = self._parser.should_keep_alive()


def _only(data: bytes) -> bytes | None:
    """The content of `data` if it is exactly one chunk; otherwise None."""
    head = _CHUNK_HEADS.get(len(data))
    if head is None or not data.startswith(head) or not data.endswith(b"\r\n"):
        return None
    return data[len(head) : -2]
