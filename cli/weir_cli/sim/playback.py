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
from weir_cli.sim.frames import Part, as_json
from weir_cli.sim.models import SimModel
from weir_cli.sim.wires import WIRES

DEFAULT_SECONDS = 0.1
"""Seconds between bytes, tokens or pings of a fault that gives no `seconds`."""

_BREAKS = frozenset(
    {FaultKind.STALL, FaultKind.CUT, FaultKind.RESET, FaultKind.ENDS_EARLY, FaultKind.ERROR_EVENT, FaultKind.MALFORMED}
)
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
        elif kind is FaultKind.ERROR_BODY or (kind is FaultKind.ERROR_EVENT and not self._exchange.stream):
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
        if self._kind is FaultKind.MALFORMED:
            body = body[: len(body) // 2]
        if self._kind is FaultKind.BYTE_DRIP:
            self._out.open(self._exchange.content_type, self._headers, len(body))
            await self._drip(body)
        elif self._kind in _BREAK_PLAIN:
            self._out.open(self._exchange.content_type, self._headers, len(body))
            await self._out.send(body[: len(body) // 2])
            await self._break()
        else:
            self._out.whole(200, self._exchange.content_type, self._headers, body)

    async def _stream(self) -> None:
        frames = self._exchange.parts(exhausted=True) if self._kind is FaultKind.EMPTY_LENGTH else self._exchange.frames
        send = self._drip if self._kind is FaultKind.BYTE_DRIP else self._out.send
        breaks_after = _after(self._fault) if self._kind in _BREAKS else None
        self._out.open(self._exchange.stream_type, {**self._headers, "cache-control": "no-cache"})
        clock = asyncio.get_running_loop().time
        due, content = clock() + self._pace.first(), 0
        for part, data in frames:
            if part is _LEFT_OUT.get(self._kind):
                continue
            if breaks_after is not None and content >= breaks_after and part in (Part.CONTENT, Part.FINISH):
                if await self._break():
                    return
                breaks_after = None
                continue
            # An answer without content keeps its model waiting all the same, up to the finish reason.
            if part is Part.CONTENT or (part is Part.FINISH and not content):
                content += 1
                # Due times are absolute, so that late wake-ups do not add up to a slower model.
                if (wait := due - clock()) > 0:
                    await asyncio.sleep(wait)
                due += self._pace.each()
            await send(data)
        self._out.end()

    async def _drip(self, data: bytes) -> None:
        for at in range(len(data)):
            await self._out.send(data[at : at + 1])
            await self._tick()

    async def _tick(self) -> None:
        await asyncio.sleep(self._fault.seconds or DEFAULT_SECONDS)

    async def _break(self) -> bool:
        """Breaks the answer here; False: it goes on."""
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
            if self._kind is FaultKind.ERROR_EVENT:
                await self._out.send(self._wire.error_event(self._error()))
            self._out.end()
        return True

    def _error(self) -> dict[str, Any]:
        return self._wire.payload(self._wire.ERROR_IN_200, self._request_id)


def _after(fault: Fault) -> int:
    if fault.after is not None:
        return fault.after
    return 0 if fault.kind is FaultKind.ERROR_EVENT else DEFAULT_AFTER
