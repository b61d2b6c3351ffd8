"""What a router's life is like besides its throughput: start, latency, many streams, memory, drain. Used by `bench`.

A router of its own for each measurement, so that none inherits another's memory.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from rich.box import SIMPLE
from rich.table import Table

from bench.load import Job, Outcome
from bench.processes import Process, load_of, pod, simulator, weir
from weir_router.identify.keys import fingerprint

STEADY_SECONDS = 8.0
"""Of a measurement at half load."""

CONNECTIONS = 32
STARTS = 5
SETTLED = 0.5  # seconds from listening until nothing of the start is left to do


def measure(key: str, plain: str, streamed: str, compiled: Path | None, rate: float, many: int) -> dict[str, float]:
    """Every figure of one router. `rate`: requests per second for the latency; `many`: streams at once."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="weir-life-") as temporary:
        folder = Path(temporary)
        with simulator(folder) as sim:
            for prefix, command in (("", pod), ("up_", weir)):
                start, idle = _start(partial(command, folder, sim.port, fingerprint(key), compiled))
                figures |= {f"{prefix}start_s": start, f"{prefix}idle_mb": idle}
            with pod(folder, sim.port, fingerprint(key), compiled) as router:
                figures |= _latency(sim, router, key, plain, rate)
                direct, through = (
                    _gaps(it, key, body, many) for it, body in ((sim, _upstreams_own(streamed)), (router, streamed))
                )
                figures |= {
                    "many": many,
                    "many_cpu": through["cpu"],
                    "gap_p99_added_ms": through["gap"] - direct["gap"],
                }
                figures["first_p99_added_ms"] = through["first"] - direct["first"]
            with pod(folder, sim.port, fingerprint(key), compiled) as router:
                figures |= asyncio.run(_open_streams(router, key, streamed, many))
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


def _job(process: Process, key: str, body: str, **more: Any) -> Outcome:
    job = Job(port=process.port, body=body, headers={"authorization": f"Bearer {key}"}, **more)
    done = subprocess.run(load_of(job), capture_output=True, check=True, timeout=job.timeout + 30)
    return msgspec.json.decode(done.stdout, type=Outcome)


def _upstreams_own(body: str) -> str:
    """With the model's name that the simulator knows."""
    return body.replace('"as-asked"', '"bench-plain"').replace('"calm"', '"bench-calm"')


def _latency(sim: Process, router: Process, key: str, body: str, rate: float) -> dict[str, float]:
    """At half of what saturates it, over what the upstream alone takes at the same rate."""
    total = int(rate * STEADY_SECONDS)
    direct, through = (
        _job(it, key, it_body, connections=CONNECTIONS, total=total, rate=rate).latencies
        for it, it_body in ((sim, _upstreams_own(body)), (router, body))
    )
    return {
        "rate": rate,
        "added_p50_ms": (statistics.median(through) - statistics.median(direct)) * 1e3,
        "added_p99_ms": (_p99(through) - _p99(direct)) * 1e3,
    }


def _gaps(process: Process, key: str, body: str, many: int) -> dict[str, float]:
    before, started = process.cpu(), time.perf_counter()
    outcome = _job(process, key, body, connections=many, total=many, streamed=True)
    cpu = (process.cpu() - before) / (time.perf_counter() - started)
    return {"cpu": cpu, "gap": _p99(outcome.gaps) * 1e3, "first": _p99(outcome.latencies) * 1e3}


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


async def _open_streams(router: Process, key: str, body: str, many: int) -> dict[str, float]:
    """Memory of as many open streams, then SIGTERM in their middle: all must end whole, and nobody new get in."""
    before = router.memory()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
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
    return {"kb_per_stream": held / many / 1e3, "drained": sum(it is True for it in whole), "refused": float(refused)}


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
    "rate": "half of the saturating load, requests/s",
    "added_p50_ms": "latency added there, p50, ms",
    "added_p99_ms": "latency added there, p99, ms",
    "many": "streams at once, 20 chunks/s each",
    "many_cpu": "share of the core that they take",
    "gap_p99_added_ms": "gap between chunks added, p99, ms",
    "first_p99_added_ms": "first chunk added, p99, ms (all begin at once)",
    "kb_per_stream": "resident per open stream, KB",
    "drained": "of them ended whole after SIGTERM",
}


def table(lives: dict[str, dict[str, float]]) -> Table:
    """One column per router."""
    result = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    result.add_column("")
    for name in lives:
        result.add_column(name, justify="right")
    for key, text in ROWS.items():
        result.add_row(text, *(f"{figures[key]:.2f}".removesuffix(".00") for figures in lives.values()))
    return result
