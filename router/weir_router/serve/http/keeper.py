"""Protocols between a server and its connections, so that the two modules do not import each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from weir_router.admit.memory import Memory
from weir_router.serve.http.body import Largest
from weir_router.serve.http.message import Answer, Common, Request


class Kept(Protocol):
    """The part of a connection that its server uses."""

    peer: str  # the caller's address, such as 10.0.0.7
    due: float  # when the loop's time has passed it, the server calls `overdue`

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or received."""

    @property
    def slow(self) -> bool:
        """Whether a part of a request has come, and the rest of it has not come in time."""

    def close(self) -> None:
        """Closes once all written data has been sent."""

    def overdue(self) -> None:
        """Called when the loop's time has passed `due`."""

    def abort(self) -> None:
        """Closes at once, even in the middle of an answer."""


class Keeper(Protocol):
    """The part of the server that a connection uses."""

    largest: Largest  # body
    memory: Memory  # the ledger in which bodies are counted
    draining: bool  # no further request is taken
    common: Common  # header lines of every answer
    lingering: int  # connections that are only read from until their callers have seen the refusal

    def time(self) -> float:
        """The loop's time, in seconds."""

    def admits(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        """See `message.Admits`."""

    def later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """The loop's `call_later`."""

    def start(self, serving: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task of the server."""

    def turn(self) -> asyncio.Future[None]:
        """A new future of the loop, which is done when there is another request."""

    async def handle(self, request: Request) -> Answer | None:
        """See `message.Handler`; raises only when cancelled."""

    def refusal(self, path: str, headers: dict[str, str], status: int, message: str) -> Answer:
        """The answer to bytes that are not a valid HTTP request; see `message.Refusal`."""

    def opened(self, connection: Kept) -> None:
        """Called when the connection can be written to. It is closed at once if there is no place for it."""

    def refused(self, reason: str) -> None:
        """Counts a connection or request that is refused before a handler has seen it; see `message.REASONS`."""

    def closed(self, connection: Kept) -> None:
        """Called when the connection has ended."""
