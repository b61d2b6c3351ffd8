"""`weir demo`: the whole of Weir on one machine in half a minute, and a model that dies half-way."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import msgspec
import typer
import uvloop
from rich.console import Console, RenderableType
from rich.live import Live

from weir_cli.demo.prompts import Shot, shots
from weir_cli.demo.screen import WIDTH, screen
from weir_cli.demo.tally import Tally
from weir_cli.shared.output import Exit, Format, address, console, errors, fail, print_json
from weir_cli.shared.workspace import Workspace, open_workspace
from weir_cli.sim import Fault, FaultKind, SimulatorThread
from weir_cli.sim.fleet import FLEET
from weir_router.app import Router
from weir_router.contract import CompiledConfig
from weir_router.run.process import STOP_SIGNALS

RATE = 8.0  # requests per second: enough to fill the picture, little enough for a laptop
DIES_AT = 0.4  # share of the duration at which the busiest model dies ...
RETURNS_AT = 0.7  # ... and at which it is back
REFRESH = 8  # pictures per second
GRACE = 5.0  # seconds for open answers at the end: simulated ones need no more
INTERRUPTED = 130  # as a shell counts a command that Ctrl-C ended
SIM_IN_MANIFESTS = "http://127.0.0.1:9100"
FREE = ("127.0.0.1", 0)
NAMESPACE = "team-a"  # whose caller the demo is, as the quickstart's policy has it

TRY = """The gateway is up; Ctrl-C ends it. Metrics and state: {admin}/metrics, {admin}/state

curl {url}/v1/chat/completions -H 'content-type: application/json' \\
  -d '{{"model": "auto", "messages": [{{"role": "user", "content": "What is 2 + 2?"}}]}}'

from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="unused")
print(client.chat.completions.create(model="auto", messages=[{{"role": "user", "content": "Hi!"}}]))"""


NEXT = """Next:  OPENAI_API_KEY=... weir up   the same on real models, with the keys that you have
       weir demo --serve            keeps a gateway to these models up"""


def quickstart() -> Path:
    """The example manifests: inside an installed wheel, or in a checkout."""
    packaged = Path(__file__).parent / "quickstart"
    return packaged if packaged.exists() else Path(__file__).parents[3] / "examples" / "quickstart"


def demo(
    duration: Annotated[
        float, typer.Option(help="Seconds of traffic.", min=5.0, max=600.0, envvar="WEIR_DEMO_DURATION")
    ] = 30.0,
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep the gateway up afterwards, and print what to try.")
    ] = False,
    listen: Annotated[
        str, typer.Option(help="Where callers connect with --serve; without it a free port is taken.")
    ] = "127.0.0.1:8080",
    admin: Annotated[
        str, typer.Option(help="Where metrics and state are with --serve; without it a free port is taken.")
    ] = "127.0.0.1:9090",
    svg: Annotated[Path | None, typer.Option(help="Write the last picture as an SVG.")] = None,
    seed: Annotated[int, typer.Option(help="Which mixture of prompts.")] = 1,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="json prints the summary for machines.")
    ] = Format.TABLE,
) -> None:
    """Four tiers of simulated models, the router, and a mixed stream of prompts; half-way a model dies.

    \b
    weir demo
    weir demo --serve

    Shows live where requests go, their time to first token, failovers, and dollars spent against all-premium. Ends by
    itself; with --serve the gateway then goes on until Ctrl-C.

    Exit code 0: every request was answered; 1: one was not; 2: an address is in use; 130: Ctrl-C before the end.
    """
    workspace = open_workspace(quickstart(), namespace=NAMESPACE, environ=os.environ)
    if workspace.errors:
        raise fail(f"the example manifests in {quickstart()} do not compile: {workspace.errors[0].message}")
    with SimulatorThread(FLEET) as simulator:
        config = _pointed_at(workspace.config, simulator.url)
        run = _Run(config, workspace, simulator, duration, seed, as_json=output is Format.JSON)
        places = (address(listen), address(admin)) if serve else (FREE, FREE)
        try:
            code = uvloop.run(run.play(*places, serve=serve, svg=svg))
        except OSError as error:
            raise fail(f"{error.strerror or error}; choose another with --listen, --admin or --svg.") from error
    raise typer.Exit(code)


def _pointed_at(config: CompiledConfig, url: str) -> CompiledConfig:
    """The manifests' config with the simulator at the port that it got."""
    replace = msgspec.structs.replace
    tiers = {
        key: replace(
            tier,
            backends=tuple(
                replace(backend, base_url=backend.base_url.replace(SIM_IN_MANIFESTS, url)) for backend in tier.backends
            ),
        )
        for key, tier in config.tiers.items()
    }
    return replace(config, tiers=tiers, anonymous_namespace=NAMESPACE)


class _Run:
    """One run of the demo."""

    def __init__(
        self,
        config: CompiledConfig,
        workspace: Workspace,
        simulator: SimulatorThread,
        duration: float,
        seed: int,
        *,
        as_json: bool,
    ) -> None:
        self._config = config
        self._workspace = workspace
        self._simulator = simulator
        self._duration = duration
        self._rng = random.Random(seed)
        self._as_json = as_json
        self._out = errors if as_json else console
        self._events: list[str] = []
        self._killed: str | None = None

    async def play(self, place: tuple[str, int], admin: tuple[str, int], *, serve: bool, svg: Path | None) -> int:
        """The traffic, the picture, and what comes after. Gives the exit code."""
        stopped = asyncio.Event()
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        addresses = {"host": place[0], "port": place[1], "admin_host": admin[0], "admin_port": admin[1]}
        with Tally() as tally:
            async with Router(**addresses, rng=self._rng, grace=GRACE) as router:  # type: ignore[arg-type]
                router.store.apply(self._config, self._workspace.secrets)
                whole = await self._show(router, tally, stopped, svg)
                code = INTERRUPTED if not whole else Exit.PROBLEMS if tally.unanswered else Exit.OK
                if serve and whole:
                    self._out.print(
                        TRY.format(url=router.url, admin=router.admin_url),
                        highlight=False,
                        markup=False,
                        soft_wrap=True,
                    )
                    await stopped.wait()
        return code

    async def _show(self, router: Router, tally: Tally, stopped: asyncio.Event, svg: Path | None) -> bool:
        """The traffic with its picture, and the summary. False: it was interrupted."""
        started = time.monotonic()

        def picture() -> RenderableType:
            return screen(
                self._config,
                tally,
                router.board.view(),
                elapsed=time.monotonic() - started,
                duration=self._duration,
                events=self._events,
            )

        if self._out.is_terminal:
            with Live(get_renderable=picture, console=self._out, refresh_per_second=REFRESH, transient=True):
                whole = await _before(stopped, self._traffic(router, tally))
        else:
            self._out.print(f"{RATE:g} requests a second for {self._duration:g} s, to simulated models ...")
            whole = await _before(stopped, self._traffic(router, tally))
        if self._as_json:
            print_json(self._summary(tally))
        else:
            self._out.print(picture())
            self._out.print(NEXT, highlight=False, markup=False)
        if svg is not None:
            _write_svg(picture(), svg)
        return whole

    async def _traffic(self, router: Router, tally: Tally) -> None:
        """Open loop: the next request does not wait for the last one's answer."""
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(router.url, timeout=timeout) as session, asyncio.TaskGroup() as group:
            loop = asyncio.get_running_loop()
            start = loop.time()
            for number, shot in enumerate(shots(self._rng)):
                at = number / RATE
                if at >= self._duration:
                    break
                await asyncio.sleep(start + at - loop.time())
                self._stage(at, tally)
                group.create_task(self._send(session, shot))

    def _stage(self, at: float, tally: Tally) -> None:
        if self._killed is None and at >= self._duration * DIES_AT:
            key = max(tally.places, key=lambda key: tally.places[key].answered)
            tier, _, name = key.rpartition("/")
            model = next(b.model for b in self._config.tiers[tier].backends if b.name == name)
            self._simulator.fault(model, Fault(FaultKind.REFUSE))
            self._killed, place = model, key.partition("/")[2]
            self._tell(f"{at:4.1f} s  {place}, the busiest, dies: its connections are cut")
        elif self._killed and at >= self._duration * RETURNS_AT:
            self._simulator.clear(self._killed)
            self._tell(f"{at:4.1f} s  {self._killed} is back; its breaker will find out by a probe")
            self._killed = ""

    async def _send(self, session: aiohttp.ClientSession, shot: Shot) -> None:
        try:
            async with session.post(shot.path, json=shot.body, headers={"x-weir-feature": "demo"}) as response:
                await response.read()
                if response.status != 200:
                    self._tell(f"       HTTP {response.status}: {(await response.text())[:120]}")
        except aiohttp.ClientError as error:
            self._tell(f"       {error}")

    def _tell(self, event: str) -> None:
        """The picture shows it; where there is no terminal, it is a line as it happens."""
        self._events.append(event)
        if not self._out.is_terminal:
            self._out.print(event, highlight=False, markup=False, soft_wrap=True)

    def _summary(self, tally: Tally) -> dict[str, object]:
        """The outcome, for machines."""
        places = {
            key: {"answered": place.answered, "failed": place.failed, "dollars": place.dollars}
            for key, place in tally.places.items()
        }
        return {
            "answered": tally.answered,
            "unanswered": tally.unanswered,
            "failovers": tally.failovers,
            "dollars": tally.dollars,
            "allPremiumDollars": tally.baseline_dollars,
            "backends": places,
            "events": self._events,
        }


async def _before(stopped: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` came to its end before `stopped`."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(stopped.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    for task in (working, waiting):
        task.cancel()
    try:
        await working
    except asyncio.CancelledError:
        return False
    return True


def _write_svg(picture: RenderableType, path: Path) -> None:
    with open(os.devnull, "w") as nowhere:
        recorder = Console(record=True, width=WIDTH, file=nowhere)
        recorder.print(picture)
    recorder.save_svg(str(path), title="weir demo")
    errors.print(f"Wrote {path}.", highlight=False, markup=False, soft_wrap=True)
