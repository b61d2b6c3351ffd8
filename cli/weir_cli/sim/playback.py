"""Sends an answer at its model's pace, or breaks it as a fault says.

`weir_cli.sim.server` runs a `Playback` in a task for every request that takes time or meets a fault. Cancelled when the
client goes away. HTTP errors (`faults.refusal`) never come here.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from weir_cli.sim.connection import JSON, Connection
from weir_cli.sim.exchange import Exchange
from weir_cli.sim.faults import DEFAULT_AFTER, Fault, FaultKind
from weir_cli.sim.frames import Frame, Part, as_json
from weir_cli.sim.models import SimModel
from weir_cli.sim.wires import WIRES

DEFAULT_SECONDS = 0.1
"""Seconds between bytes, tokens or pings of a fault that gives no `seconds`."""

_ERRORS = frozenset({FaultKind.ERROR_EVENT, FaultKind.QUOTA_EVENT, FaultKind.FAILED_EVENT})
"""Faults that end a stream with an error."""

_BREAKS = _ERRORS | {FaultKind.STALL, FaultKind.CUT, FaultKind.RESET, FaultKind.ENDS_EARLY, FaultKind.MALFORMED}
_PACED = frozenset({Part.THOUGHT, Part.CONTENT})
_BREAK_PLAIN = frozenset({FaultKind.STALL, FaultKind.CUT, FaultKind.RESET})
_LEFT_OUT: dict[FaultKind | None, Part] = {FaultKind.NO_DONE: Part.END, FaultKind.NO_FINISH: Part.FINISH}


_NO_FAULT = Fault(FaultKind.SILENCE)
"""Stands for the fields of a fault where there is none; its kind is never looked at."""


class Pace:
    """The times at which tokens are due. Draws its jitter from `rng`, which the simulator seeds."""

    def __init__(self, model: SimModel, fault: Fault | None, rng: random.Random) -> None:
        self._jitter = model.jitter
        self._sigma = model.ttft_sigma
        self._rng = rng
        self._first = model.ttft
        self._each = 1 / model.tokens_per_second if model.tokens_per_second else 0.0
        if fault is not None and fault.kind is FaultKind.SLOW_FIRST_TOKEN:
            self._first = model.ttft * fault.factor + fault.seconds
        if fault is not None and fault.kind is FaultKind.DRIP:
            self._each = fault.seconds or DEFAULT_SECONDS

    def first(self) -> float:
        """Seconds to the first token."""
        spread = self._rng.lognormvariate(0.0, self._sigma) if self._sigma else 1.0
        return self._shaken(self._first) * spread

    def each(self) -> float:
        """Seconds from one token to the next."""
        return self._shaken(self._each)

    def whole(self, tokens: int) -> float:
        """Seconds to the last of `tokens`."""
        return self.first() + self._shaken(self._each * (tokens - 1))

    def _shaken(self, seconds: float) -> float:
        return seconds * (1 + self._rng.uniform(-self._jitter, self._jitter)) if self._jitter else seconds


class Playback:
    """One request's answer on its way out. `fault` None: nothing goes wrong."""

    def __init__(self, out: Connection, exchange: Exchange, fault: Fault | None, pace: Pace, request_id: str) -> None:
        self._out = out
        self._exchange = exchange
        self._wire = WIRES[exchange.dialect]
        self._fault = fault or _NO_FAULT
        self._kind = None if fault is None else fault.kind
        self._pace = pace
        self._request_id = request_id
        self._headers = {self._wire.REQUEST_ID_HEADER: request_id}

    async def run(self) -> None:
        """Answers, or does what the fault says instead."""
        kind, out = self._kind, self._out
        if kind is FaultKind.SILENCE:
            await out.hang()
        elif kind is FaultKind.REFUSE or (kind is FaultKind.RESET and self._fault.after is None):
            out.abort()
        elif kind is FaultKind.PINGS:
            await self._ping()
        elif kind is FaultKind.ERROR_BODY or (kind in _ERRORS and not self._exchange.stream):
            out.whole(200, JSON, self._headers, as_json(self._error()))
        elif self._exchange.stream and kind is not FaultKind.STREAM_IGNORED:
            await self._stream()
        else:
            await self._plain()

    async def _ping(self) -> None:
        stream = self._exchange.stream
        self._out.open(self._exchange.stream_type if stream else self._exchange.content_type, self._headers)
        while True:
            await self._out.send(self._wire.PING if stream else b"\n")
            await self._tick()

    async def _plain(self) -> None:
        body = self._exchange.whole(exhausted=True) if self._kind is FaultKind.EMPTY_LENGTH else self._exchange.body
        await asyncio.sleep(self._pace.whole(self._exchange.steps))
        if self._kind is FaultKind.SILENT_REASONING:
            await self._silence()
        if self._kind is FaultKind.MALFORMED:
            body = body[: len(body) // 2]
        if self._kind is FaultKind.BYTE_DRIP:
            self._out.open(self._exchange.content_type, self._headers, len(body))
            await self._drip(body)
        elif self._kind in _BREAK_PLAIN:
            self._out.open(self._exchange.content_type, self._headers, len(body))
            await self._out.send(body[: len(body) // 2])
            await self._break(b"", 0)
        else:
            self._out.whole(200, self._exchange.content_type, self._headers, body)

    async def _stream(self) -> None:
        frames = self._frames()
        silent = self._kind is FaultKind.SILENT_REASONING
        send = self._drip if self._kind is FaultKind.BYTE_DRIP else self._out.send
        breaks_after = _after(self._fault) if self._kind in _BREAKS else None
        self._out.open(self._exchange.stream_type, {**self._headers, "cache-control": "no-cache"})
        clock = asyncio.get_running_loop().time
        due, content = clock() + self._pace.first(), 0
        for number, (part, data) in enumerate(frames):
            if silent and part in (Part.THOUGHT, Part.CONTENT, Part.FINISH):
                await self._silence()
                silent = False
            if part is _LEFT_OUT.get(self._kind):
                continue
            if breaks_after is not None and content >= breaks_after and (part in _PACED or part is Part.FINISH):
                if await self._break(frames[0].data, number):
                    return
                breaks_after = None
                continue
            # An answer without content keeps its model waiting all the same, up to the finish reason.
            if part in _PACED or (part is Part.FINISH and not content):
                content += 1
                # Due times are absolute, so that late wake-ups do not add up to a slower model.
                if (wait := due - clock()) > 0:
                    await asyncio.sleep(wait)
                due += self._pace.each()
            await send(data)
        self._out.end()

    def _frames(self) -> list[Frame]:
        if self._kind is FaultKind.EMPTY_LENGTH:
            return self._exchange.parts(exhausted=True)
        frames = self._exchange.frames
        return self._wire.unfinished(frames) if self._kind is FaultKind.ITEM_NEVER_DONE else frames

    async def _silence(self) -> None:
        if not self._fault.seconds:
            await self._out.hang()
        await asyncio.sleep(self._fault.seconds)

    async def _drip(self, data: bytes) -> None:
        for at in range(len(data)):
            await self._out.send(data[at : at + 1])
            await self._tick()

    async def _tick(self) -> None:
        await asyncio.sleep(self._fault.seconds or DEFAULT_SECONDS)

    async def _break(self, begun: bytes, number: int) -> bool:
        """Breaks the answer here; False: it goes on. `begun` is its first event, and `number` that of the next one."""
        if self._kind is FaultKind.MALFORMED:
            await self._out.send(self._wire.BROKEN)
            return False
        if self._kind is FaultKind.STALL:
            await self._out.hang()
        elif self._kind is FaultKind.CUT:
            self._out.cut()
        elif self._kind is FaultKind.RESET:
            await self._out.reset()
        else:
            if self._kind is FaultKind.FAILED_EVENT:
                await self._out.send(self._wire.failed_event(self._error(), begun, number))
            elif self._kind in _ERRORS:
                await self._out.send(self._wire.error_event(self._error()))
            self._out.end()
        return True

    def _error(self) -> dict[str, Any]:
        quota = self._kind is FaultKind.QUOTA_EVENT
        error = self._wire.ERRORS[FaultKind.INSUFFICIENT_QUOTA] if quota else self._wire.ERROR_IN_200
        return self._wire.payload(error, self._request_id)


def _after(fault: Fault) -> int:
    if fault.after is not None:
        return fault.after
    return 0 if fault.kind in _ERRORS else DEFAULT_AFTER
