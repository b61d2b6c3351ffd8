"""The models of the benchmark: what the simulator says, sent by less. Run as a process of its own.

`python -m bench.models MODELS.yaml PORT`. The simulator can fail in every way, and takes a task, a timer and a queued
write per chunk for it, four times the kernel's own part: 1,500 streams were more than its share of a core. Here all
streams stand in one heap by when they are due, and a chunk, made before, is one system call. A stream's chunks come at
its own pace from its own beginning, at most `GRAIN` late as long as this process gets its core.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import select
import socket
import sys
import time
from collections.abc import Sequence
from functools import cache
from itertools import count, pairwise
from pathlib import Path

from weir_cli.sim import SimModel, read_models
from weir_cli.sim.connection import EVENT_STREAM, JSON, head_of
from weir_cli.sim.exchange import Exchange, ExchangeBook
from weir_cli.sim.frames import Part
from weir_cli.sim.http1 import Short, read_request
from weir_cli.sim.server import BACKLOG
from weir_router.contract import WireFormat

GRAIN = 0.0002
"""Seconds between two checks for due chunks: with 2,000 streams eight chunks, for the wake-up of one."""

_READ = 65536
_REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"

_Due = tuple[float, int, socket.socket, list[bytes], float]
"""A stream to continue: moment; unique number; socket; remaining parts, the last first; seconds between two parts."""


class Models:
    """Serves OpenAI's dialect on a port."""

    def __init__(self, models: Sequence[SimModel], port: int) -> None:
        self._book = ExchangeBook(models, seed=0)
        self._listening = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        self._listening.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listening, select.EPOLLIN)
        self._callers: dict[int, socket.socket] = {}
        self._held: dict[int, bytes] = {}  # requests that are not whole yet
        self._due: list[_Due] = []  # a heap
        self._numbers = count()

    def serve(self) -> None:
        """Serves until the process ends."""
        while True:
            if self._due:
                time.sleep(GRAIN)
                self._send_due()
            for descriptor, _ in self._poll.poll(0 if self._due else None):
                if descriptor == self._listening.fileno():
                    self._accept()
                else:
                    self._read(descriptor)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                caller, _ = self._listening.accept()
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                caller.setblocking(False)
                self._callers[caller.fileno()] = caller
                self._poll.register(caller, select.EPOLLIN)

    def _read(self, descriptor: int) -> None:
        caller = self._callers[descriptor]
        try:
            data = caller.recv(_READ)
        except ConnectionError:
            data = b""
        if not data:
            del self._callers[descriptor]
            self._held.pop(descriptor, None)
            caller.close()  # its stream finds out when it is due
            return
        data = self._held.pop(descriptor, b"") + data
        found = read_request(data)
        if isinstance(found, Short):
            self._held[descriptor] = data
            return
        with contextlib.suppress(ConnectionError):  # it has left: the next read finds out
            self._answer(caller, self._book.look_up(WireFormat.CHAT, found[0].body))

    def _answer(self, caller: socket.socket, exchange: Exchange) -> None:
        number, model = next(self._numbers), exchange.model
        headers = {"x-request-id": f"req_{number:012x}"}
        if model is None or exchange.refused is not None:
            caller.send(_REFUSAL)
        elif not exchange.stream:
            caller.send(head_of(200, JSON, headers, len(exchange.body)) + exchange.body)
        else:
            pause = 1 / model.tokens_per_second if model.tokens_per_second else 0.0
            first, *rest = _steps(exchange) if pause else [b"".join(exchange.wire)]
            caller.send(head_of(200, EVENT_STREAM, {**headers, "cache-control": "no-cache"}, None) + first)
            if rest:
                heapq.heappush(self._due, (time.time() + pause, number, caller, rest[::-1], pause))

    def _send_due(self) -> None:
        due, now = self._due, time.time()
        while due and due[0][0] <= now:
            moment, number, caller, left, pause = due[0]
            try:
                caller.send(left.pop())
            except OSError:  # it has left, or does not read
                caller.close()
                left.clear()
            if left:
                heapq.heapreplace(due, (moment + pause, number, caller, left, pause))
            else:
                heapq.heappop(due)


@cache
def _steps(exchange: Exchange) -> list[bytes]:
    """The parts that are sent at once: each content with its frame, and the end with the last."""
    contents = [number for number, frame in enumerate(exchange.frames) if frame.part is Part.CONTENT]
    cuts = [0, *contents[1:], len(exchange.wire)]
    return [b"".join(exchange.wire[start:end]) for start, end in pairwise(cuts)]


def main() -> None:
    """Reads the models' file and the port from the command line."""
    models = Models(read_models(Path(sys.argv[1])), int(sys.argv[2]))
    gc.disable()  # nothing here is in a cycle
    models.serve()


if __name__ == "__main__":
    main()
