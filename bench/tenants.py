"""Honest callers of one namespace beside another: beside honest neighbours first, then beside hostile ones.

    python -m bench.tenants [--seconds 30] [--kind large]

The router has one core, and everything else the other one. Both halves have a router of their own, the same honest
load, and neighbours of another namespace: honest ones that ask as often as the hostile ones do, then all kinds of
`bench.neighbours` at once. Exit code 1: an honest request failed, the 99th percentile beside hostile neighbours is
beyond its bound, the router computed for too long in one turn of its loop, or its memory left the pod's limit.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE
from rich.table import Table

from bench.job import Job
from bench.neighbours import HELD, KINDS, MODELS, PAUSE, neighbours, resources
from bench.neighbours import KEY as THEIR_KEY
from bench.paced import p99, paced
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
from weir_router.identify.keys import fingerprint

BUDGET = 256
"""MiB of the router's `--memory`: half of the pod's limit, as it is by default."""

LIMIT = 2 * BUDGET
"""MiB of the pod's limit."""

MEMORY_SHARE = 0.8
"""Share of the pod's limit that the router may have resident."""

P99_MS, P99_RATIO = 250.0, 3.0
"""Bound of the 99th percentile beside hostile neighbours: milliseconds, or times that beside honest ones."""

TURN_MS = 50.0
"""Milliseconds that the router may compute in one turn of its event loop."""

RATE = 40.0
"""Honest requests per second, of each of plain and streamed ones."""

NEIGHBOURS_RATE = (len(MODELS) + 2) / PAUSE
"""Requests per second of the honest neighbours: as many as the hostile kinds begin that hold nothing."""

WARM = 3.0
"""Seconds before anything counts."""

SAMPLE = 0.05
"""Seconds between two looks at the router's memory."""


class Half(msgspec.Struct):
    """Figures of the honest callers and of their router, beside one kind of neighbours."""

    answers: int
    failed: int
    plain_p99: float  # milliseconds
    stream_p99: float  # milliseconds until the first content
    turn_cpu: float  # milliseconds
    turn_wall: float  # milliseconds
    peak: int  # MiB


def main(
    seconds: Annotated[float, typer.Option(help="Of each half.", min=5)] = 30.0,
    kind: Annotated[list[str] | None, typer.Option(help=f"Only this kind: {', '.join(KINDS)}.")] = None,
) -> None:
    """Measures both halves, prints them side by side, and checks the bounds."""
    console = WideConsole()
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    halves = {}
    for name, kinds in (("honest", []), ("hostile", kind or list(KINDS))):
        with console.status(f"{seconds:.0f} seconds beside {name} neighbours"):
            halves[name] = _half(seconds, kinds)
    console.print(_table(halves))
    wrong = broken(halves["honest"], halves["hostile"])
    for line in wrong:
        console.print(line)
    if wrong:
        raise typer.Exit(1)


def broken(honest: Half, hostile: Half) -> list[str]:
    """The bounds that did not hold beside hostile neighbours, as sentences."""
    said = []
    if hostile.failed or not hostile.answers:
        said.append(f"{hostile.failed} honest requests failed, and {hostile.answers} were served (none may fail)")
    for kind, theirs, ours in (
        ("plain", honest.plain_p99, hostile.plain_p99),
        ("streamed", honest.stream_p99, hostile.stream_p99),
    ):
        bound = max(P99_MS, P99_RATIO * theirs)
        if ours > bound:
            said.append(f"the 99th percentile of {kind} requests was {ours:.0f} ms (may be {bound:.0f})")
    if hostile.turn_cpu > TURN_MS:
        said.append(f"one turn of the loop computed for {hostile.turn_cpu:.0f} ms (may be {TURN_MS:.0f})")
    if hostile.peak > MEMORY_SHARE * LIMIT:
        said.append(f"the router held {hostile.peak} MiB (may be {MEMORY_SHARE * LIMIT:.0f})")
    return said


def _half(seconds: float, kinds: list[str]) -> Half:
    """Beside honest neighbours if `kinds` is empty."""
    with tempfile.TemporaryDirectory(prefix="weir-tenants-") as temporary:
        folder = Path(temporary)
        compiled = COMPILED if (COMPILED / "weir_router").exists() else None
        with simulator(folder, {"models": [{"name": "well", "answer_tokens": 24}]}) as sim:
            port, admin = free_port(), free_port()
            objects = [*_objects("default", sim.port), *_objects("neighbour", sim.port), *resources(port)]
            options = ("--memory", f"{BUDGET}MiB", "--admin", f"127.0.0.1:{admin}")
            with contextlib.ExitStack() as stack:
                router = stack.enter_context(weir(folder, sim.port, fingerprint(KEY), compiled, objects, options))
                jobs = [_job(router, seconds, CALLER, RATE, streamed=streamed) for streamed in (False, True)]
                if kinds:
                    stack.enter_context(neighbours(folder, router.port, port, kinds))
                else:
                    caller = {"authorization": f"Bearer {THEIR_KEY}"}
                    jobs.append(_job(router, seconds, caller, NEIGHBOURS_RATE, streamed=True))
                with _sampled(router.memory) as sizes:
                    window = paced(jobs, [router])
                wall, cpu = _turns(admin)
                if not router.alive():
                    raise RuntimeError("the router has ended")
    plain, streamed = window.outcomes[:2]
    return Half(
        answers=plain.answers + streamed.answers,
        failed=plain.failed + streamed.failed,
        plain_p99=p99(plain.latencies) * 1e3,
        stream_p99=p99(streamed.latencies) * 1e3,
        turn_cpu=cpu * 1e3,
        turn_wall=wall * 1e3,
        peak=max(sizes) >> 20,
    )


def _objects(namespace: str, upstream: int) -> Iterator[dict[str, object]]:
    backend = {
        "name": "well",
        "provider": "OpenAI",
        "baseURL": f"http://127.0.0.1:{upstream}/v1",
        "model": "well",
        "price": {"input": "1", "output": "1"},
    }
    policy = {"models": [{"name": "well"}], "routes": [{"name": "all", "tiers": [{"name": "well"}]}]}
    for kind, spec in (("ModelTier", {"backends": [backend]}), ("RoutingPolicy", policy)):
        yield {**resource(kind, "well", spec), "metadata": {"name": "well", "namespace": namespace}}


def _job(router: Process, seconds: float, caller: dict[str, str], rate: float, *, streamed: bool) -> Job:
    return Job(
        port=router.port,
        body=asked("well", stream=streamed),
        headers=caller,
        connections=HELD,
        streamed=streamed,
        rate=rate,
        warm=WARM,
        seconds=seconds,
    )


@contextlib.contextmanager
def _sampled(size: Callable[[], int]) -> Iterator[list[int]]:
    """Values of `size`, taken by a thread of its own every `SAMPLE` seconds."""
    sizes, ended = [size()], threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE):
            sizes.append(size())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()


def _turns(admin: int) -> tuple[float, float]:
    """Seconds of the longest turn of the router's loop, by the clock and by its own CPU."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if line.startswith("weir_loop_turn_seconds_max{"))
    values = {clock: float(value) for clock in ("wall", "cpu") for key, value in found.items() if f'"{clock}"' in key}
    return values["wall"], values["cpu"]


def _table(halves: dict[str, Half]) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for column in (
        "beside",
        "served",
        "failed",
        "plain p99, ms",
        "first content p99, ms",
        "turn, CPU ms",
        "by the clock",
    ):
        table.add_column(column, justify="right")
    table.add_column("resident at most, MiB", justify="right")
    for name, it in halves.items():
        times = (it.plain_p99, it.stream_p99, it.turn_cpu, it.turn_wall)
        table.add_row(name, f"{it.answers:,}", f"{it.failed}", *(f"{time:.1f}" for time in times), f"{it.peak}")
    return table


if __name__ == "__main__":
    typer.run(main)
