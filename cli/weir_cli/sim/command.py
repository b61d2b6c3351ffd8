"""`weir sim`: the simulator on the command line, until SIGTERM or Ctrl-C.

Mounted by `weir_cli.app` as `app.command("sim")(sim)`. Its docstring, which is its help, lists every fault.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from weir_cli.sim.control import __doc__ as _control_doc
from weir_cli.sim.faults import HELP
from weir_cli.sim.fleet import FLEET
from weir_cli.sim.models import ModelsFileError, SimModel, read_models
from weir_cli.sim.server import Simulator

DEFAULT_LISTEN = "127.0.0.1:9100"
"""Beside the router's 8080 and 9090."""

EXAMPLE = """models:
- {name: quick, ttft: 135ms, tokens_per_second: 75}
- {name: parrot, dialect: Anthropic, answer: "You said: {prompt}", key: any-secret}"""

EXIT_UNUSABLE = 2
"""The models file or the address cannot be used: the same code as for a wrong option."""


def sim(
    models_file: Annotated[
        Path | None, typer.Argument(metavar="[MODELS.yaml]", help="Models to serve; without it the demo's four tiers.")
    ] = None,
    listen: Annotated[str, typer.Option(help="Address and port; port 0 takes a free one.")] = DEFAULT_LISTEN,
    seed: Annotated[int, typer.Option(help="For answers, jitter and the luck of faults.")] = 0,
) -> None:
    try:
        models = list(FLEET) if models_file is None else read_models(models_file)
        host, port = _address(listen)
        uvloop.run(_serve(models, host, port, seed))
    except (ModelsFileError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"cannot listen on {listen}: {error.strerror}; choose another port with --listen")


def _help() -> str:
    endpoints = [line.strip() for line in str(_control_doc).splitlines() if line.startswith("    ")]
    faults = [f"{kind:<19} {line}" for kind, line in HELP.items()]
    # \b keeps the lines of a paragraph apart.
    return "\n".join(
        (
            "Serves simulated OpenAI and Anthropic models with set speed, and faults switched on at run time.",
            "\n\b\nweir sim",
            "weir sim models.yaml --listen 127.0.0.1:9200",
            "\nA file of models, for example:\n\n\b",
            EXAMPLE,
            f"\nFields of a model: {', '.join(SimModel.__struct_fields__)}.",
            "\nControl endpoints:\n\n\b",
            *endpoints,
            "\nFor example, the next five requests:\n\n\b",
            f"curl -X PUT http://{DEFAULT_LISTEN}/_sim/faults/{FLEET[0].name}"
            """ -d '{"kind": "rate_limit", "count": 5}'""",
            "\nFields of every fault: kind, probability, count (requests), lasts (seconds). Kinds:\n\n\b",
            *faults,
            "\nExit code 2: the file or the address cannot be used.",
        )
    )


sim.__doc__ = _help()


async def _serve(models: Sequence[SimModel], host: str, port: int, seed: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Simulator(models, host, port, seed) as simulator:
        # The first line on stdout tells a parent process where, and that it is ready.
        typer.echo(f"{len(models)} simulated models on {simulator.url}: {', '.join(model.name for model in models)}")
        sys.stdout.flush()
        await stop.wait()


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"--listen {listen!r}: write HOST:PORT, for example {DEFAULT_LISTEN}")
    return host.strip("[]") or "127.0.0.1", int(port)


def _fail(message: str) -> None:
    typer.echo(f"weir sim: {message}", err=True)
    raise typer.Exit(EXIT_UNUSABLE)
