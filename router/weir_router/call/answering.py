"""An answer that is ready to be sent, from any source. `serve.story` knows no more of it.

An attempt at its commit point is one. A source of another kind, such as a cache, stands beside it: `app` names it to
the gateway, which asks it before it decides where a request goes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from weir_router.contract import Policy
from weir_router.decide.types import Asked
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Place
from weir_router.dialects.usage import Usage


class Sink(Protocol):
    """The destination of a stream."""

    def write(self, data: bytes) -> None:
        """Sends bytes; does nothing for empty ones."""

    def end(self, last: bytes) -> None:
        """Sends the last bytes, if there are any."""

    def waiting(self) -> int:
        """Bytes that the caller has not taken yet."""

    def on_pressure(self, listener: Callable[[bool], None]) -> None:
        """Calls `listener(True)` when it is full, and `listener(False)` when it is empty again."""


class Answering(Protocol):
    """One answer in the caller's format."""

    tier: str | None  # that answers, e.g. "llm/fast"; None: no tier does
    name: str  # of the backend that answers, or of the source: for headers, log and metrics, e.g. "cache"
    headers: dict[str, str]  # for the caller, beside those that every answer has
    body: bytes  # the first bytes of a stream, or a whole answer
    done: bool  # nothing follows `body`
    usage: Usage | None
    content_at: float | None  # monotonic seconds of the first content; None: it has none

    def counted(self) -> int:
        """Bytes of `body` that are counted in the router's memory. The request gives them back once they are sent."""

    async def relay(self, sink: Sink) -> None:
        """Writes what follows `body`, and ends `sink`. Raises `AttemptFailed` for a stream that breaks."""

    def place(self) -> Place | None:
        """The place at which its stream breaks: see `base.Renderer`."""

    def cancel(self) -> None:
        """Ends the work for this answer. Does nothing after the end."""


Source = Callable[[Ask, Asked, Policy], Awaitable[Answering | None]]
"""Gives the answer to a request without an attempt; None: it has none. A plain caller gets `body` alone."""
