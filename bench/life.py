"""Measurements of a router besides its throughput: start, latency, many streams at once, memory, drain, and two
of them. Used by `bench`.

A router of its own for each part, so that none inherits another's memory.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from functools import partial
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from bench import latency, pair, streams
from bench.processes import KEY, Process, asked, models, pod, weir
from weir_router.identify.keys import fingerprint

STARTS = 5
SETTLED = 0.5  # seconds from listening until nothing of the start is left to do

Figures = dict[str, float]


class Part(StrEnum):
    """Part of a router's life that is measured by itself."""

    START = "start"
    LATENCY = "latency"
    STREAMS = "streams"
    DRAIN = "drain"
    PAIR = "pair"


def measure(compiled: Path | None, many: int, parts: Sequence[Part] = tuple(Part)) -> Figures:
    """Every figure of `parts` of one router. `many`: streams at once."""
    figures: Figures = {}
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="weir-life-") as temporary:
            folder = Path(temporary)
            figures |= pair.measure(folder, compiled) if part is Part.PAIR else _part(part, folder, compiled, many)
    return figures


def _part(part: Part, folder: Path, compiled: Path | None, many: int) -> Figures:
    with models(folder) as sim:
        if part is Part.START:
            return _starts(folder, sim, compiled)
        with pod(folder, sim.port, fingerprint(KEY), compiled) as router:
            if part is Part.LATENCY:
                return latency.measure(folder, sim, router)
            if part is Part.STREAMS:
                return streams.measure(folder, sim, router, many)
            return asyncio.run(_open_streams(router, many))


def _starts(folder: Path, sim: Process, compiled: Path | None) -> Figures:
    figures = {}
    for prefix, command in (("", pod), ("up_", weir)):
        start, idle = _start(partial(command, folder, sim.port, fingerprint(KEY), compiled))
        figures |= {f"{prefix}start_s": start, f"{prefix}idle_mb": idle}
    return figures


def _start(router: Callable[[], AbstractContextManager[Process]]) -> tuple[float, float]:
    """Seconds until it listens, and its resident MB when idle: medians of some starts."""
    seconds, megabytes = [], []
    for _ in range(STARTS):
        started = time.perf_counter()
        with router() as process:
            seconds.append(time.perf_counter() - started)
            time.sleep(SETTLED)
            megabytes.append(process.memory() / 1e6)
    return statistics.median(seconds), statistics.median(megabytes)


async def _open_streams(router: Process, many: int) -> Figures:
    """Memory of as many open streams, then SIGTERM in their middle: all must end whole, and none may come later."""
    before = router.memory()
    body = asked("calm", stream=True)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
    request = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()

    async def stream(opened: asyncio.Event) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
        writer.write(request)
        await reader.readuntil(b"data: {")
        opened.set()
        rest = await reader.readuntil(b"0\r\n\r\n")
        writer.close()
        return b"[DONE]" in rest

    opened = [asyncio.Event() for _ in range(many)]
    tasks = [asyncio.create_task(stream(event)) for event in opened]
    await asyncio.gather(*(event.wait() for event in opened))
    held = router.memory() - before
    router.terminate()
    refused = not await _connects(router.port)
    whole = await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "open": many,
        "kb_per_stream": held / many / 1e3,
        "drained": sum(it is True for it in whole),
        "refused": float(refused),
    }


async def _connects(port: int) -> bool:
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await asyncio.sleep(0.02)
    return True


ROWS = {
    "start_s": "start of weir router to listening, s",
    "idle_mb": "resident when idle, MB",
    "up_start_s": "start of weir up to listening, s",
    "up_idle_mb": "resident when idle, MB",
    **latency.ROWS,
    **streams.ROWS,
    "open": "open streams at SIGTERM",
    "kb_per_stream": "resident per open stream, KB",
    "drained": "of them ended whole after SIGTERM",
    **pair.ROWS,
}


def table(lives: dict[str, Figures]) -> Table:
    """One column per router; without what has not been measured."""
    result = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    result.add_column("")
    for name in lives:
        result.add_column(name, justify="right")
    for key, text in ROWS.items():
        if any(key in figures for figures in lives.values()):
            result.add_row(text, *(_shown(figures.get(key)) for figures in lives.values()))
    return result


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".removesuffix(".00")
