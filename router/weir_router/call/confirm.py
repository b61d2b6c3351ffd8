"""The router's own tiny request, which decides whether an upstream refuses our credential or only one request.

Used by `call.journey` after a refusal of credential, credit or model. Such a refusal would put a backend out for all
callers, and firewalls and providers also answer so to a single request: one that needs more credit than is left, for
example. The tiny request holds nothing of a caller. If it meets the same, the backend is ejected; if it is answered,
the doubt is over. It is never part of a caller's request, which has gone elsewhere by then.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from weir_router.call.transport import Transport
from weir_router.clock import Clock
from weir_router.contract import Dialect
from weir_router.decide.types import Candidate
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import ConversationRecord
from weir_router.dialects.registry import caller_named, pairing_of, record_of
from weir_router.errors import AttemptFailed, FailureKind, WeirError
from weir_router.health.board import Board

ASK_SECONDS = 10.0
"""Seconds for the whole tiny request. Refusals come at once, and its answer has one token."""

ASK_EVERY = 10.0
"""Seconds between two tiny requests to one backend, so that a caller who provokes refusals causes hardly any."""

CONNECT_SECONDS = 2.0
"""Seconds to make its connection, as for an attempt by default."""


class Confirmer:
    """Asks backends that are in doubt. One per router."""

    def __init__(self, board: Board, transport: Transport, clock: Clock) -> None:
        self._board: Final = board
        self._transport: Final = transport
        self._clock: Final = clock
        self._tasks: Final[dict[str, asyncio.Task[None]]] = {}  # of requests under way, by the backend's key
        self._next: Final[dict[str, float]] = {}  # monotonic moment from which a backend may be asked again

    def doubt(self, candidate: Candidate, credential: str | None, refused: Format) -> None:
        """Asks the backend in the background, if it is in doubt and was not asked just now. `refused`: the format of
        the refused request, since a model for embeddings knows no chat.
        """
        key, now = candidate.key, self._clock.monotonic()
        if key in self._tasks or now < self._next.get(key, now) or not self._board.in_doubt(key):
            return
        ask = _question(candidate.backend.provider, refused)
        if ask is None:
            return
        self._next[key] = now + ASK_EVERY
        task = asyncio.get_running_loop().create_task(self._settle(candidate, credential, ask))
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key, None))

    async def _settle(self, candidate: Candidate, credential: str | None, ask: Ask) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                kind = await self._meets(candidate, credential, ask)
                self._board.settle(candidate.key, kind, candidate.backend)

    async def _meets(self, candidate: Candidate, credential: str | None, ask: Ask) -> FailureKind | None:
        """The failure that the tiny request meets; None: it was answered."""
        backend = candidate.backend
        pairing = pairing_of(ask, backend)
        try:
            outgoing = pairing.format.prepare(ask, backend, pairing, credential, stream=False)
            url = backend.base_url + outgoing.path
            response = await self._transport.post(url, outgoing.headers, outgoing.body, CONNECT_SECONDS)
            try:
                body = await response.read_all()
            finally:
                response.release()
            if response.status == 200:
                return None
            return pairing.format.failure(response.status, response.headers, body, outgoing.added).kind
        except AttemptFailed as failure:
            return failure.kind
        except WeirError:  # the backend's parameters make no request of it
            return FailureKind.CALLER


def _question(provider: Dialect, refused: Format) -> Ask | None:
    """The tiny request for a backend that has refused one of this format; None: there is none."""
    record = record_of(refused)
    if isinstance(record, ConversationRecord):
        record = caller_named(provider)
    return None if record.question is None else record.read(record.question, {})
