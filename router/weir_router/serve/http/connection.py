"""One caller's connection: requests in, answers out. Made by `serve.http.server`; `incoming` reads the requests.

One request is answered at a time. Requests sent ahead wait, and the caller is not read from meanwhile.

A request whose body has come with its head goes to the handler whole. For any other, the server decides first whether
to read the body (`Keeper.admits`). If so, memory is taken for it and the handler gets it whole. If not, the
connection is not read from, and the handler gets the request at once: it answers, which ends the connection, or asks
for the body (`Request.read`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import cast

from weir_router.paced import TURN, Paced
from weir_router.serve.http import limits
from weir_router.serve.http.body import Body
from weir_router.serve.http.incoming import Incoming
from weir_router.serve.http.keeper import Keeper
from weir_router.serve.http.message import Answer, Refused, Request, Stream
from weir_router.serve.http.outgoing import CONTINUE, PART, Outgoing, beginning, whole
from weir_router.serve.http.places import peer_of

logger = logging.getLogger("weir.http")


class Connection(Paced):
    """One caller's connection. The server aborts it when the loop's time has passed `due`."""

    __slots__ = (
        "_ahead", "_coming", "_common", "_incoming", "_keeper", "_linger", "_lingering", "_memory", "_refusal",
        "_served", "_since", "_stream", "_task", "_turn", "_untaken", "_waiter", "_writable", "due", "peer",
    )  # fmt: skip

    def __init__(self, keeper: Keeper) -> None:
        super().__init__()
        self.due = keeper.time() + limits.READ_TIMEOUT
        self.peer = ""
        self._since = 0.0  # the loop's time at which the head that is coming, or its body, began; 0: there is none
        self._keeper = keeper
        self._common = keeper.common
        self._memory = keeper.memory
        body = Body(keeper.memory, keeper.largest)
        self._incoming = Incoming(keeper.admits, body, self._came, self._unread)
        self._ahead: deque[Request] = deque()  # requests that wait for their turn
        self._coming: Request | None = None  # request that the handler gets, or has, before its body has come
        self._waiter: asyncio.Future[None] | None = None  # done when the body of `_coming` has come or is refused
        self._served: Request | None = None  # the request that is being answered
        self._task: asyncio.Task[None] | None = None  # answers requests, from the first one to the connection's end
        self._turn: asyncio.Future[None] | None = None  # done when the next request has come
        self._stream: Outgoing | None = None  # stream of the current answer, if it is one
        self._refusal: Answer | None = None  # pending answer to bytes that were not a valid request
        self._linger = False  # the caller may still be sending
        self._lingering = False  # the last answer was sent, and the caller is read from for a while
        self._writable = True
        self._untaken = 0  # bytes that waited for the caller at the last look

    # Called by the server.

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or received."""
        return self._served is not None or self._since > 0

    @property
    def slow(self) -> bool:
        """Whether a part of a request has come, and the rest of it has not come in time."""
        return self._since > 0

    def close(self) -> None:
        """Closes once all written data has been sent."""
        self._incoming.ignoring = True
        self._transport.close()

    def overdue(self) -> None:
        """Closes at once, unless the caller is only slow in taking what waits for it."""
        left = self._transport.get_write_buffer_size()
        taken, self._untaken = self._untaken - left, left
        if self._writable or taken < limits.LEAST_READ:
            self.abort()
        else:
            self.due = self._keeper.time() + limits.WRITE_TIMEOUT

    def abort(self) -> None:
        """Closes at once, even in the middle of an answer."""
        self._transport.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        self.peer = peer_of(transport)
        self._keeper.opened(self)

    def data_received(self, data: bytes) -> None:
        incoming = self._incoming
        if incoming.ignoring:
            if self._lingering and self._reading:
                self.pause()
                self._keeper.later(limits.LINGER_PACE * self._keeper.lingering, self.resume)
            return
        if len(data) > TURN:
            self.share(data)
            return
        if (refused := incoming.feed(data)) is not None:
            self._refuse(refused)
        if incoming.ignoring:
            return
        if incoming.arrived:
            self._admit()
        if self._served is None or self._waiter is not None:
            if not self._since:
                self._since = self._keeper.time()
            self._wait()

    def eof_received(self) -> bool:
        return False  # closes our side, too: a caller that sends no more has gone

    def connection_lost(self, error: Exception | None) -> None:
        self._incoming.ignoring = True
        self._rest = b""
        self.due = limits.NEVER
        if self._stream is not None:
            self._stream.leave()
        if self._task is not None:
            self._task.cancel()
        self._incoming.body.clear()
        if self._lingering:
            self._keeper.lingering -= 1
        if self._served is not None:
            self._release(self._served)
        self._drop_ahead()
        # These refer back to us, and a cycle would wait for the garbage collector.
        self._task = self._served = self._coming = self._waiter = None
        self._incoming.forget()
        self._keeper.closed(self)

    def pause_writing(self) -> None:
        self._writable = False
        self.due = self._keeper.time() + limits.WRITE_TIMEOUT
        self._untaken = self._transport.get_write_buffer_size()
        if self._stream is not None:
            self._stream.press(True)

    def resume_writing(self) -> None:
        self._writable = True
        self.due = limits.NEVER
        if self._stream is not None:
            self._stream.press(False)
        elif self._served is None:
            self._go_on()
        if self._waiter is not None:
            self._wait()

    # From bytes to requests.

    def _came(self) -> None:
        """Called when a request has come with its body."""
        incoming, request = self._incoming, self._coming
        body = incoming.body
        if request is not None:
            body.belongs(request.namespace)
        if (refused := incoming.room()) is not None:
            self._unread(refused)
            return
        content = body.whole()
        if request is None:
            request = incoming.request(content, incoming.keep_alive, self)
            body.hand_over(request)
            incoming.begin()
            self._take(request)
        else:
            incoming.begin()
            self._complete(request, content)

    def _admit(self) -> None:
        """Decides, after the head, whether the body is read now or when the handler asks for it."""
        if self._served is None and not self._ahead and self._incoming.admitted():
            self._accept()
        else:
            self._hand_over()

    def _accept(self) -> None:
        """Takes memory for the body, and reads it."""
        incoming = self._incoming
        if (refused := incoming.accept()) is not None:
            self._unread(refused)
            return
        self._since = self._keeper.time()
        if incoming.expects_continue():
            self._transport.write(CONTINUE)

    def _hand_over(self) -> None:
        """Gives the request to the handler without its body, which is not read until the handler asks for it."""
        incoming = self._incoming
        refused = incoming.room()
        request = self._coming = incoming.request(None, incoming.keep_alive, self)
        incoming.keep_back()
        if refused is not None:
            self._unread(refused)
        self.pause()
        if self._writable and self._served is None:
            self._answer(request)
        else:
            self._wait_ahead(request)

    def read(self, request: Request) -> asyncio.Future[None]:
        """See `message.Opener`."""
        waiter = self._waiter = self._keeper.turn()
        self._incoming.body.belongs(request.namespace)
        self._accept()
        if not waiter.done():
            self.resume()
            self._wait()
        return waiter

    def _complete(self, request: Request, body: bytes) -> None:
        """Adds the body to a request that the handler already has."""
        request.body = body
        self._incoming.body.hand_over(request)
        self._coming = None
        self._incoming.ignoring = not request.keep_alive
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        self._since = 0.0
        self.due = limits.NEVER if self._served is not None else self.due
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _unread(self, refused: Refused) -> None:
        """Answers at once that the body is not read, so that useless megabytes need not come first."""
        self._incoming.body.clear()
        self._linger = True
        request = self._coming
        if request is not None:
            request.refused = refused
            self._incoming.ignoring = True
            self._wake()
            return
        request = self._incoming.request(None, False, self)
        request.refused = refused
        self._incoming.begin()
        self._take(request)

    def _take(self, request: Request) -> None:
        """Answers the request now, or lets it wait for its turn."""
        self._incoming.ignoring = not request.keep_alive
        if self._writable and self._served is None:
            self._answer(request)
            return
        self._wait_ahead(request)
        self._incoming.ignoring = not request.keep_alive
        self.pause()

    def _wait_ahead(self, request: Request) -> None:
        self._ahead.append(request)
        if len(self._ahead) >= limits.MAX_AHEAD:
            request.keep_alive, self._linger = False, True

    def _refuse(self, refused: Refused) -> None:
        """Refuses bytes that are not a valid request; all further input is ignored."""
        if self._incoming.ignoring:
            return  # the bytes came after the last request
        if self._coming is not None:
            self._unread(refused)
            return
        self._incoming.body.clear()
        self._incoming.ignoring = self._linger = True
        self._refusal = self._keeper.refusal(*self._incoming.place(), *refused)
        self._keeper.refused("malformed")
        if self._served is None:
            self._go_on()

    # From requests to answers.

    def _answer(self, request: Request) -> None:
        self.due, self._since = limits.NEVER, 0.0
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
                if answer is not None and len(answer.body) > PART and request.method != "HEAD":
                    self._send(request.version, answer, last=self._closes_after(request), head_only=True)
                    stream = self._stream = Outgoing(self._transport, self._memory, request.namespace, chunked=False)
                    answer = await stream.send(answer.body)
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
        last = self._closes_after(request)
        if answer is not None:
            self._send(request.version, answer, last=last, head_only=request.method == "HEAD")
        elif stream is None or not stream.close():
            self._abandon()
            return False
        if last:
            self._end()
        return not last

    def _abandon(self) -> None:
        """Closes in the middle of an answer, so that the caller notices the missing end."""
        self._incoming.ignoring = True
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
        self._memory.give_back(held, request.namespace)

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
            self._since = self._keeper.time() if self._incoming.head_bytes else 0.0
            self.resume()
            self._wait()

    def _wait(self) -> None:
        """Sets the time until which a request, or the rest of one, must come. Bytes of a head do not renew it."""
        if not self._since:
            self.due = self._keeper.time() + limits.IDLE_TIMEOUT
            return
        self.due = self._since + limits.READ_TIMEOUT
        if self._incoming.reading:
            self.due += self._incoming.body.size / (limits.SCARCE_RATE if self._memory.scarce else limits.LEAST_RATE)

    def _end(self) -> None:
        """Ends the connection after the last answer."""
        self._incoming.ignoring = True
        self._coming = None
        self._incoming.body.clear()
        self._drop_ahead()
        if self._linger:
            if self._transport.can_write_eof():  # TLS cannot
                self._transport.write_eof()
            self._lingering = True
            self._keeper.lingering += 1
            self.due = self._keeper.time() + limits.LINGER_TIMEOUT
            self.resume()  # read and ignore, up to the caller's own end
        else:
            self._transport.close()

    def _send(self, version: str, answer: Answer, *, last: bool, head_only: bool = False) -> None:
        self._transport.write(whole(version, answer, self._common.lines(), last=last, head_only=head_only))

    def open(self, request: Request, status: int, fields: bytes, first: bytes) -> Stream:
        """See `message.Opener`."""
        chunked = request.version != "1.0"
        stream = self._stream = Outgoing(self._transport, self._memory, request.namespace, chunked=chunked)
        common, last = self._common.lines(), self._closes_after(request)
        self._transport.write(beginning(request.version, status, fields, first, common=common, last=last))
        return stream
