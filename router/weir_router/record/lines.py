"""Writes request lines to a file descriptor, without ever delaying a request. Used by `weir up` and `weir router`.

Lines are gathered for a moment and written in a thread: a stalled reader of stdout stalls that thread, and nothing
else. Lines beyond a bound are then dropped and counted; a line reports their number once the reader goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading

FLUSH_EVERY = 0.05
"""Seconds that a line waits for others: people who watch a log see no difference, and one write costs as much as ten
lines."""

MAX_WAITING = 8 * 1024 * 1024
"""Bytes that may wait for a reader, about 10,000 lines. Beyond them new lines are dropped: answers matter more."""


LAST_WORDS = 1.0
"""Seconds that a process waits at its end for a reader of the last lines."""


class Lines:
    """An `Output` of `record.log`."""

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0  # lines dropped since the last report
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._size = 0
        self._under_way = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._parts: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # A daemon thread: a stalled reader must not keep the process from ending.
        self._writer = threading.Thread(target=self._run, name="request lines", daemon=True)

    def __call__(self, line: bytes) -> None:
        if self._size > MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(line)
        self._size += len(line) + 1
        if not self._under_way:
            self._under_way = True
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
                self._writer.start()
            self._loop.call_later(FLUSH_EVERY, self._hand_over)

    def close(self) -> None:
        """Writes the waiting lines, at the end of the process."""
        if self._loop is not None:
            self._parts.put(self._taken())
            self._parts.put(None)
            self._writer.join(LAST_WORDS)

    def _hand_over(self) -> None:
        self._parts.put(self._taken())

    def _written(self) -> None:
        self._under_way = bool(self._waiting)
        if self._under_way and self._loop is not None:
            self._loop.call_later(FLUSH_EVERY, self._hand_over)  # not at once: each turn takes the interpreter's lock

    def _taken(self) -> bytes:
        waiting, self._waiting, self._size = self._waiting, [], 0
        if self.dropped:
            waiting.append(b'{"dropped_lines":%d}' % self.dropped)
            self.dropped = 0
        return b"\n".join([*waiting, b""])

    def _run(self) -> None:
        assert self._loop is not None
        while (data := self._parts.get()) is not None:
            self._write(data)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._written)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        with contextlib.suppress(OSError):  # the router serves on, even if its reader went away
            while rest:
                written = os.write(self._descriptor, rest)  # by itself: mypyc runs a call within a slice twice
                rest = rest[written:]
