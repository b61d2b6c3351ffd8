"""The answer to one request on an upstream connection, as it comes. Used by `http1`."""

from __future__ import annotations

import asyncio

from weir_router.call.transport import base
from weir_router.call.transport.base import DRAIN_TIMEOUT, Grow, Receive, free, read_whole
from weir_router.errors import AttemptFailed, forget_frames
from weir_router.paced import Paced


class Carrier(Paced):
    """The part of a connection that its exchange uses: `http1.Connection`."""

    loop: asyncio.AbstractEventLoop

    def release(self, exchange: Exchange) -> None:
        """Ends an exchange: the connection is free for the next one, or closed."""
        raise NotImplementedError


class Exchange:
    """The answer to one request, as it comes; a `Response` once `begun`."""

    __slots__ = (
        "_connection", "_receive", "_waiter", "begun", "broken", "complete", "due", "headers", "held", "parts",
        "status",
    )  # fmt: skip

    def __init__(self, connection: Carrier) -> None:
        # Fields used for every chunk come first, so that they share cache lines.
        self._receive: Receive | None = None
        self.held = 0  # bytes in parts
        self._connection = connection
        self._waiter: asyncio.Future[None] | None = None
        self.parts: list[bytes] = []  # of the body, not yet read
        self.begun = False  # the headers have come
        self.complete = False  # the last byte has come
        self.broken: AttemptFailed | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.due: float | None = None  # loop time by which an answer that is no longer wanted should end

    def passes(self, part: bytes) -> bool:
        """Hands `part` to the receiver at once. False: there is none, or earlier parts are still kept."""
        receive = self._receive
        if receive is None or self.held:
            return False
        try:
            if not receive(part):
                self._enough()
        except BaseException as error:
            self._enough(error)
        return True

    def _enough(self, error: BaseException | None = None) -> None:
        """Ends `each`: the receiver wants no more parts, or gets the `error`."""
        self._receive = None
        waiter = self._waiter
        if waiter is None or waiter.done():  # cancelled, and has not run yet
            if isinstance(error, AttemptFailed):
                forget_frames(error)  # one of them is of this exchange, which may keep the error
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def wake(self) -> None:
        """Called when parts have come, or the answer has ended or failed."""
        if self.due is not None:
            self.parts, self.held = [], 0
            if self.complete:
                self.release()
            return
        waiter = self._waiter
        if self._receive is not None:
            self._hand_out(self._receive)
        elif waiter is not None and not waiter.done():
            waiter.set_result(None)

    def change(self) -> asyncio.Future[None]:
        """A future that is done after the next `wake`. A coroutine would cost twice as much."""
        waiter: asyncio.Future[None] = asyncio.Future(loop=self._connection.loop)
        self._waiter = waiter
        return waiter

    async def read(self) -> bytes:
        while not self.parts:
            if self.complete:
                return b""
            if self.broken is not None:
                raise self.broken
            await self.change()
        return self._taken()

    def _taken(self) -> bytes:
        parts, self.parts, self.held = self.parts, [], 0
        self._connection.resume()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def each(self, receive: Receive) -> None:
        if self.parts:
            self._connection.resume()
        self._receive = receive
        waiter = self.change()
        try:
            self._hand_out(receive)
            await waiter
        finally:
            self._waiter = self._receive = None

    def _hand_out(self, receive: Receive) -> None:
        """Hands out parts within the event loop's own call, so that a chunk wakes up no task."""
        try:
            if not self._give(receive):
                self._enough()
        except BaseException as error:
            self._enough(error)

    def _give(self, receive: Receive) -> bool:
        """Gives the kept parts to `receive`; returns whether it wants more and more may come."""
        parts = self.parts
        while parts:
            self.parts, self.held = [], 0
            for number, part in enumerate(parts, 1):
                if not receive(part):
                    self.parts = parts[number:] + self.parts
                    self.held = sum(map(len, self.parts))
                    return False
            parts = self.parts
        if self.complete:
            receive(b"")
            return False
        if self.broken is not None:
            raise self.broken
        return True

    def hold(self, held: bool) -> None:
        if held:
            self._connection.pause()
        else:
            self._connection.resume()

    async def read_all(self, grow: Grow = free) -> bytes:
        if self.complete and self.held <= base.MAX_WHOLE_ANSWER:  # a short answer, which came with its headers
            return self._taken()
        return await read_whole(self, grow)

    def ended(self) -> bool:
        return self.complete

    def release(self) -> None:
        self._connection.release(self)

    def finish(self) -> None:
        if self.complete:
            self.release()
            return
        self.due = self._connection.loop.time() + DRAIN_TIMEOUT
        self._connection.resume()

    def framed(self) -> bool:
        """Whether the answer says where it ends; otherwise it ends with the connection."""
        return "content-length" in self.headers or self.headers.get("transfer-encoding", "").lower().endswith("chunked")
