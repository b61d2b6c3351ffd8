"""`make soak`: a million requests while every fault goes on and off, and the router's memory after each round of them.

Each fault has a model of its own that falls ill, beside one that is well; half of the requests stream. Meanwhile
hostile neighbours attack (`bench.neighbours`), and honest callers ask for a model that is well: each of these requests
must be served. Memory must stay what it was when everything had happened once. Writes `bench/results/soak.json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.answer import Outcome
from bench.job import Job
from bench.load import Run
from bench.neighbours import neighbours, resources
from bench.processes import (
    CALLER,
    COMPILED,
    KEY,
    LOAD_CORE,
    Process,
    asked,
    free_port,
    resource,
    simulator,
    weir,
)
from weir_cli.shared.output import WideConsole
from weir_cli.sim import Fault, FaultKind
from weir_router.identify.keys import fingerprint

RESULTS = Path(__file__).parent / "results"

WARM = 3
"""Rounds after which everything has happened that fills a cache, a pool or a sample."""

TOLERANCE = 0.02
"""Share of the memory after the warm rounds by which it may grow: noise of the allocator."""

BESIDE_NEIGHBOURS = 0.05
"""The same beside neighbours, whose bodies and answers come and go in other places of the heap each time."""

MEMORY = "64MiB"
"""The router's budget of bytes beside neighbours."""

HONEST = "honest"
"""The model that honest callers ask for."""

HONEST_SECONDS = 30.0
"""Seconds within which the honest requests of one phase must be answered."""

PHASE_SECONDS = 2.0
"""Bound of one phase, for faults that make requests wait. Callers that still wait then go away, as callers do."""


LOOKS, LOOK_EVERY = 20, 0.1
"""Looks at the memory after a round, and seconds between two: the least of them has no large body under way."""


class Round(msgspec.Struct):
    """One time through all faults, on and off."""

    requests: int
    not_ok: int  # what the faults made of them: errors and broken streams
    honest: int  # requests of honest callers, and of these the failed ones
    honest_failed: int
    seconds: float
    resident: int  # bytes, after it


def main(
    requests: Annotated[int, typer.Option(help="About so many in all.", min=1000)] = 1_000_000,
    rounds: Annotated[int, typer.Option(help="Times through all faults.", min=WARM + 4)] = 12,
    connections: Annotated[int, typer.Option(help="Callers at once.", min=1, max=1000)] = 32,
    faults: Annotated[int, typer.Option(help="Only the first so many faults, for a short run.", min=1)] = len(
        FaultKind
    ),
    hostile: Annotated[bool, typer.Option(help="Neighbours that attack meanwhile.")] = True,
) -> None:
    """Exit code 1: memory went beyond its tolerance, an honest request failed, or the router ended."""
    console = WideConsole()
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    per_phase = max(connections, requests // (rounds * faults * 4))
    with tempfile.TemporaryDirectory(prefix="weir-soak-") as temporary:
        folder = Path(temporary)
        compiled = COMPILED if (COMPILED / "weir_router").exists() else None
        with simulator(folder, _models()) as sim:
            _set_faults(sim.port, None)
            port = free_port()
            objects = [*_resources(sim.port), *resources(port)]
            with contextlib.ExitStack() as stack:
                options = ("--memory", MEMORY) if hostile else ()
                router = stack.enter_context(weir(folder, sim.port, fingerprint(KEY), compiled, objects, options))
                if hostile:
                    stack.enter_context(neighbours(folder, router.port, port))
                done = uvloop.run(
                    _rounds(console, sim, router, rounds, list(FaultKind)[:faults], per_phase, connections)
                )
                alive = router.alive()
    drift, tolerance = drifts(done), BESIDE_NEIGHBOURS if hostile else TOLERANCE
    failed = sum(it.honest_failed for it in done)
    console.print(_table(done))
    _write(done, drift, compiled is not None)
    lasts = f"{sum(it.requests for it in done):,} requests, {len(done)} rounds of {faults} faults"
    console.print(f"{lasts}: memory moved by {drift:+.1%} after round {WARM} (may be ±{tolerance:.0%})")
    console.print(f"{failed} of {sum(it.honest for it in done):,} honest requests failed (may be 0)")
    if not alive or failed or abs(drift) > tolerance:
        raise typer.Exit(1)


def drifts(done: list[Round]) -> float:
    """How far the last rounds' memory is from that of the first ones after `WARM`, as a share; medians of three."""
    after = [it.resident for it in done[WARM:]]
    first = statistics.median(after[:3])
    return (statistics.median(after[-3:]) - first) / first


async def _rounds(
    console: Console,
    sim: Process,
    router: Process,
    rounds: int,
    faults: list[FaultKind],
    per_phase: int,
    connections: int,
) -> list[Round]:
    done = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=rounds * len(faults) * 2)
        for number in range(rounds):
            started, asked, ok, honest, failed = time.perf_counter(), 0, 0, 0, 0
            for kind in faults:
                for on in (True, False):
                    _set_faults(sim.port, kind if on else None)
                    progress.update(task, description=f"round {number + 1}, {kind} {'on' if on else 'off'}", advance=1)
                    for job in _jobs(router.port, kind, per_phase, connections):
                        well = _honest(router.port, max(1, per_phase // 10), streamed=job.streamed)
                        outcome, theirs = await asyncio.gather(_played(job), _played(well))
                        asked += outcome.answers + outcome.failed
                        ok += outcome.answers
                        honest += well.total
                        failed += well.total - theirs.answers
            _set_faults(sim.port, None)
            seconds = time.perf_counter() - started
            done.append(Round(asked, asked - ok, honest, failed, seconds, await _least(router)))
    return done


async def _least(router: Process) -> int:
    """The least of several looks at the router's memory, in bytes."""
    looks = []
    for _ in range(LOOKS):
        looks.append(router.memory())
        await asyncio.sleep(LOOK_EVERY)
    return min(looks)


async def _played(job: Job) -> Outcome:
    run = Run(job)
    try:
        return await run.play()
    except TimeoutError:
        return run.outcome


def _jobs(port: int, kind: FaultKind, total: int, connections: int) -> Iterator[Job]:
    for streamed in (False, True):
        yield _job(port, kind.value.replace("_", "-"), total, connections, PHASE_SECONDS, streamed=streamed)


def _honest(port: int, total: int, *, streamed: bool) -> Job:
    return _job(port, HONEST, total, 2, HONEST_SECONDS, streamed=streamed)


def _job(port: int, model: str, total: int, connections: int, timeout: float, *, streamed: bool) -> Job:
    return Job(
        port=port,
        body=asked(model, stream=streamed),
        headers=CALLER,
        connections=min(connections, total),
        total=total,
        streamed=streamed,
        timeout=timeout,
    )


def _models() -> dict[str, object]:
    names = ["well", *(f"sick-{kind.value}" for kind in FaultKind)]
    return {"models": [{"name": name, "answer_tokens": 24} for name in names]}


def _resources(upstream: int) -> Iterator[dict[str, object]]:
    def backend(model: str, price: str) -> dict[str, object]:
        return {
            "name": model.replace("_", "-"),
            "provider": "OpenAI",
            "baseURL": f"http://127.0.0.1:{upstream}/v1",
            "model": model,
            "price": {"input": price, "output": price},
            "timeouts": {"ttft": "300ms", "idle": "300ms", "total": "1s"},
        }

    yield resource("ModelTier", HONEST, {"backends": [{**backend("well", "1"), "timeouts": {"ttft": "20s"}}]})
    yield _policy(HONEST)
    for kind in FaultKind:
        name = kind.value.replace("_", "-")
        backends = [backend(f"sick-{kind.value}", "0.1"), backend("well", "1")]
        # Tried again as soon as may be, so that every round sees the fault and not an open breaker.
        breaker = {"openFor": "1s", "maxOpenFor": "1s", "maxRetryAfter": "1s", "slowStart": "1s"}
        yield resource("ModelTier", name, {"backends": backends, "breaker": breaker})
        yield _policy(name)


def _policy(name: str) -> dict[str, object]:
    routes = [{"name": "all", "tiers": [{"name": name}]}]
    return resource("RoutingPolicy", name, {"models": [{"name": name}], "routes": routes})


def _set_faults(port: int, kind: FaultKind | None) -> None:
    if kind is None:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/_sim/faults/", method="DELETE")
    else:
        status = 418 if kind is FaultKind.STATUS else None
        fault = Fault(kind, seconds=0.02, factor=3.0, retry_after=1.0, status=status)
        url = f"http://127.0.0.1:{port}/_sim/faults/sick-{kind.value}"
        request = urllib.request.Request(url, data=msgspec.json.encode(fault), method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def _table(done: list[Round]) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("round", "requests", "not ok", "honest", "failed", "per s", "resident, MB"):
        table.add_column(column, justify="right")
    for number, it in enumerate(done, 1):
        rate = it.requests / it.seconds
        counts = (it.requests, it.not_ok, it.honest, it.honest_failed, round(rate))
        table.add_row(str(number), *(f"{count:,}" for count in counts), f"{it.resident / 1e6:.1f}")
    return table


def _write(done: list[Round], drift: float, compiled: bool) -> None:
    RESULTS.mkdir(exist_ok=True)
    content = {"date": time.strftime("%Y-%m-%d"), "compiled": compiled, "drift": drift, "rounds": done}
    (RESULTS / "soak.json").write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


if __name__ == "__main__":
    typer.run(main)
