"""One client's connection: requests in, answers out, and full say over how it ends.

`weir_cli.sim.server` makes one per client and answers its requests, at once or in a task; `weir_cli.sim.playback`
writes through it. No framework lets a handler send RST, close without HTTP's end, or stay silent. No TLS; pipelined
requests wait their turn.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from weir_cli.sim.http1 import BadHttp, Request, Short, read_request

_FLUSH_POLL = 0.001
"""Seconds between looks at the write buffer; only a reset in the middle of an answer waits for it."""

_NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: close sends RST and drops what was not sent."""

_REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found", 429: b"Too Many Requests"}
_OTHER_REASON = b"Status"

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"


def head_of(
    status: int, content_type: str, headers: Mapping[str, str], length: int | None, *, chunks: bool = True
) -> bytes:
    """The head of an answer. `length` None: chunked, or until the connection closes where chunks are not understood."""
    size = (
        f"content-length: {length}"
        if length is not None
        else "transfer-encoding: chunked"
        if chunks
        else "connection: close"
    )
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reason = _REASONS.get(status, _OTHER_REASON)
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (
        status,
        reason,
        f"content-type: {content_type}\r\n{size}\r\n{more}".encode("latin-1"),
    )


class Connection(asyncio.Protocol):
    """One client. `handler` gets each whole request; `on_open` True at the start and False at the end."""

    def __init__(
        self, handler: Callable[[Connection, Request], None], on_open: Callable[[Connection, bool], None]
    ) -> None:
        self._handler = handler
        self._on_open = on_open
        self._held = bytearray()  # what came but is not yet a whole request, or has to wait
        self._wanted = 0  # no need to look at `_held` before it is this long
        self._continued = False
        self._task: asyncio.Task[None] | None = None
        self._chunking = False
        self._keep_alive = True
        self._writable = asyncio.Event()
        self._writable.set()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # asyncio sets it before anything else

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream server's transports can write
        self._on_open(self, True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_open(self, False)
        if self._task is not None and not self._task.done():
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._task is None and not self._held:
            self._take(data)
            return
        self._held += data
        if self._task is None and len(self._held) >= self._wanted:
            self._take_held()

    def _take_held(self) -> None:
        data = bytes(self._held)
        self._held.clear()
        self._take(data)

    def _take(self, data: bytes) -> None:
        while data and self._task is None and not self.transport.is_closing():
            try:
                found = read_request(data)
            except BadHttp:
                self.transport.abort()
                return
            if isinstance(found, Short):
                self._held += data
                self._wanted = found.wanted
                self._go_on(found)
                return
            request, data = found
            self._continued = False
            self._keep_alive, self._chunking = request.keep_alive, request.chunks
            self._handler(self, request)
            if self._task is None and not self._keep_alive:
                self.transport.close()
        self._held += data
        self._wanted = 0

    def _go_on(self, short: Short) -> None:
        if short.expects_continue and not self._continued:
            self._continued = True
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # Answers out.

    @property
    def buffered(self) -> int:
        """Bytes that the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def run(self, answer: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Answers in a task, which is cancelled when the client goes away; the next request waits for its end."""
        self._task = asyncio.ensure_future(answer)
        self._task.add_done_callback(self._answered)
        return self._task

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if error := task.exception():
            # A bug of the simulator's own: shown, and the client is not left waiting.
            task.get_loop().call_exception_handler({"message": "simulator", "exception": error})
            self.transport.close()
        elif self.transport.is_closing():
            return
        elif not self._keep_alive:
            self.transport.close()
        elif self._held:
            self._take_held()

    def whole(self, status: int, content_type: str, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer."""
        self.transport.write(head_of(status, content_type, headers, len(body)) + body)

    def open(self, content_type: str, headers: Mapping[str, str], length: int | None = None) -> None:
        """The head of a 200; `send` follows. With a `length`, bytes go out as they are."""
        if length is not None:
            self._chunking = False
        elif not self._chunking:
            self._keep_alive = False
        self.transport.write(head_of(200, content_type, headers, length, chunks=self._chunking))

    async def send(self, data: bytes) -> None:
        """One write; waits while the client does not read."""
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunking else data)
        if not self._writable.is_set():
            await self._writable.wait()

    def end(self) -> None:
        """HTTP's own end of an answer."""
        if self._chunking:
            self.transport.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Closes TCP cleanly (FIN) wherever the answer stands."""
        self.transport.close()

    async def reset(self) -> None:
        """Sends RST, after what was written has left."""
        while self.buffered and not self.transport.is_closing():  # noqa: ASYNC110  # transports tell of no empty buffer
            await asyncio.sleep(_FLUSH_POLL)
        self.abort()

    def abort(self) -> None:
        """Sends RST at once."""
        shared: socket.socket = self.transport.get_extra_info("socket")
        # A duplicate of the descriptor, because uvloop's own socket object takes no options.
        with socket.socket(fileno=socket.dup(shared.fileno())) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    async def hang(self) -> None:
        """Nothing more, until the client goes away."""
        await asyncio.Event().wait()
