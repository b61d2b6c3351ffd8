"""`weir router`: the router of a pod, on config that the operator has published and the kubelet mounts."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from weir_cli.output import errors, fail
from weir_cli.up import STOP_SIGNALS, address, calm_collector, log_to_stdout
from weir_router.app import Router
from weir_router.config.mounted import MountedConfig


def router(
    config_dir: Annotated[
        Path, typer.Option("--config-dir", help="Directory where the published ConfigMaps and Secrets are mounted.")
    ],
    listen: Annotated[str, typer.Option(help="Where callers connect.")] = "0.0.0.0:8080",
    admin: Annotated[str, typer.Option(help="Where /metrics, /state, /healthz and /readyz are.")] = "0.0.0.0:9090",
    log: Annotated[bool, typer.Option(help="One JSON line per request on stdout.")] = True,
) -> None:
    """Runs the router on published config, and goes over to what is mounted next.

    \b
    weir router --config-dir /etc/weir/config
    curl http://127.0.0.1:9090/readyz

    It listens at once and answers 503 until there is a config. A config that is torn or not understood is refused:
    the last good one goes on, and /readyz says why. To run a directory of manifests, use weir up.
    Exit code 2: wrong arguments, or an address that is in use.
    """
    host, port = address(listen)
    admin_host, admin_port = address(admin)
    log_to_stdout(log)
    gateway = Router(host=host, port=port, admin_host=admin_host, admin_port=admin_port)
    try:
        calm_collector()
        uvloop.run(_serve(gateway, MountedConfig(config_dir, gateway.store)))
    except OSError as error:
        raise fail(
            f"cannot listen: {error.strerror or error}. Choose another address with --listen or --admin."
        ) from error


async def _serve(gateway: Router, mounted: MountedConfig) -> None:
    """Until SIGTERM; answers that are under way are finished."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    await mounted.look()  # before the ports are open: who starts with a config is ready at once
    async with gateway, asyncio.TaskGroup() as tasks:
        errors.print(
            f"Serving callers on {gateway.url}, metrics and state on {gateway.admin_url}.",
            highlight=False,
            soft_wrap=True,
        )
        watching = tasks.create_task(mounted.run())
        await stopped.wait()
        watching.cancel()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, os._exit, 128 + number)  # as a shell counts a process that was killed
