"""The simulated fleet of one row, and what reaches it. Used by `run`; one simulator per model, each on its own port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from bench.faults.front import Front
from bench.faults.rows import FLEET, Row
from weir_cli.sim import SimModel, Simulator
from weir_cli.sim.faults import Fault

TTFT, SPREAD = 0.5, 0.5
"""Seconds to the first token at the median, and the sigma of its lognormal spread: p99 is 3.2 times the median."""
TOKENS, SPEED = 20, 20.0
ANSWER = " ".join(f"word{number}" for number in range(TOKENS))
"""Every model says the same, so that a piece that is missing shows."""
SAMPLE = 0.1  # seconds


class Sample(msgspec.Struct, frozen=True):
    """Requests that have reached each model so far."""

    at: float  # of the loop's clock
    requests: dict[str, int]


class Fleet:
    """Four models, of which some can be made sick."""

    def __init__(self, row: Row, folder: Path, seed: int) -> None:
        self._row = row
        self._folder = folder
        self._seed = seed
        self._sims: dict[str, Simulator] = {}
        self._flapping: asyncio.Task[None] | None = None
        self.front: Front | None = None
        self.samples: list[Sample] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, str]]:
        """Base URLs by model, without `/v1`, while it runs."""
        async with contextlib.AsyncExitStack() as stack:
            for number, name in enumerate(FLEET):
                model = SimModel(
                    name,
                    ttft=TTFT,
                    ttft_sigma=SPREAD,
                    tokens_per_second=SPEED,
                    answer=ANSWER,
                    reasoning_tokens=self._row.reasoning,
                )
                self._sims[name] = await stack.enter_async_context(
                    Simulator([model], seed=self._seed * len(FLEET) + number)
                )
            urls = {name: sim.url for name, sim in self._sims.items()}
            if self._row.front:
                self.front = Front(self._row.front, int(urls["a"].rpartition(":")[2]), self._folder)
                await self.front.start()
                stack.push_async_callback(self.front.stop)
                urls["a"] = self.front.url
            sampling = asyncio.create_task(self._sample())
            stack.callback(sampling.cancel)
            yield urls

    async def fall_ill(self) -> None:
        """The fault begins."""
        if self.front is not None:
            await self.front.fail()
        elif self._row.flapping:
            self._flapping = asyncio.create_task(self._flap(self._row.flapping))
        elif self._row.fault is not None:
            self._switch(on=True)

    async def recover(self) -> None:
        """It ends."""
        if self._flapping is not None:
            self._flapping.cancel()
        self._switch(on=False)
        if self.front is not None:
            await self.front.recover()

    async def _flap(self, seconds: float) -> None:
        while True:
            self._switch(on=True)
            await asyncio.sleep(seconds)
            self._switch(on=False)
            await asyncio.sleep(seconds)

    def _switch(self, *, on: bool) -> None:
        for name in self._row.sick:
            if on:
                self._sims[name].fault(name, msgspec.convert(dict(self._row.fault or {}), Fault))
            else:
                self._sims[name].clear()

    async def _sample(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            counts = {name: sim.stats[name].requests for name, sim in self._sims.items()}
            self.samples.append(Sample(now(), counts))
            await asyncio.sleep(SAMPLE)
