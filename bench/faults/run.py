"""One run of one row, in a process of its own: `python -m bench.faults.run '{"row": "silent", ...}'` prints its
figures as a JSON line. Started by `bench.faults`.

The fleet and the callers live here, the gateway in another process; they talk over real sockets.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
import uvloop

from bench.faults.callers import Service, load
from bench.faults.figures import Figures, Moments, figures
from bench.faults.fleet import ANSWER, SAMPLE, Fleet
from bench.faults.proxies import gateway
from bench.faults.rows import ROWS, Row


class Job(msgspec.Struct, kw_only=True):
    """Rows, seeds and gateway of a run."""

    row: str
    seed: int = 0
    rate: float = 20.0
    gateway: str = "weir"
    phases: tuple[float, float, float] | None = None  # in place of the row's: calm, fault, after


async def play(job: Job) -> Figures:
    """Runs it."""
    row = next(row for row in ROWS if row.name == job.row)
    phases = job.phases or row.phases
    with tempfile.TemporaryDirectory(prefix="weir-faults-") as temporary:
        fleet = Fleet(row, Path(temporary), job.seed)
        async with fleet.running() as urls:
            with gateway(job.gateway, row, urls, Path(temporary)) as service:
                return await _measured(job, row, phases, fleet, service)


async def _measured(job: Job, row: Row, phases: tuple[float, float, float], fleet: Fleet, service: Service) -> Figures:
    calm, fault, after = phases
    moments: list[Moments] = []

    async def conduct(start: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(start + calm - loop.time())
        ill = loop.time()
        await fleet.fall_ill()
        await asyncio.sleep(ill + fault - loop.time())
        well = loop.time()
        await fleet.recover()
        moments.append(Moments(start, ill, well, well + after))

    calls = await load(service, ANSWER, job.rate, sum(phases), conduct)
    await asyncio.sleep(2 * SAMPLE)
    result = figures(row, job.seed, calls, fleet.samples, moments[0])
    if fleet.front is not None and row.front == "moves":
        last = fleet.front.last_on_old
        result.moved = None if last is None else last - moments[0].ill
    return result


async def _until_stopped(job: Job) -> Figures:
    """SIGTERM ends the run, and with it what it started."""
    playing = asyncio.ensure_future(play(job))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    return await playing


def main() -> None:
    """Reads the job from the command line, prints the figures."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    sys.stdout.write(msgspec.json.encode(uvloop.run(_until_stopped(job))).decode() + "\n")


if __name__ == "__main__":
    main()
