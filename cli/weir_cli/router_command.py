"""`weir router`: the router of a pod, on config that the operator hands out, and that the kubelet mounts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weir_cli.output import fail
from weir_cli.process import MaxInFlight, address, log_to_stdout, poll, run, serve
from weir_router.admit.queue import MAX_IN_FLIGHT
from weir_router.app import SHUTDOWN_GRACE, Router
from weir_router.config.access import Access
from weir_router.config.mounted import MountedConfig


def router(
    config_dir: Annotated[
        Path, typer.Option("--config-dir", help="Directory where the published ConfigMaps and Secrets are mounted.")
    ],
    config_server: Annotated[
        str | None, typer.Option(help="URL of the operator's config server: changes arrive within a second.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="ServiceAccount token for the config server; read for each poll.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Authority of the config server's certificate; default: the system's.")
    ] = None,
    listen: Annotated[str, typer.Option(help="Where callers connect.")] = "0.0.0.0:8080",
    admin: Annotated[str, typer.Option(help="Where /metrics, /state, /healthz and /readyz are.")] = "0.0.0.0:9090",
    max_in_flight: MaxInFlight = MAX_IN_FLIGHT,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that open answers may take to end after SIGTERM.")
    ] = SHUTDOWN_GRACE,
    log: Annotated[bool, typer.Option(help="One JSON line per request on stdout.")] = True,
) -> None:
    """Runs the router on published config, and goes over to what is mounted next.

    \b
    weir router --config-dir /etc/weir/config
    weir router --config-dir /etc/weir/config --config-server https://weir-operator:8443 --token-file /run/weir/token
    curl http://127.0.0.1:9090/readyz

    It listens at once and answers 503 until there is a config. A config that is torn or not understood is refused:
    the last good one goes on, and /readyz says why. With --config-server it starts from the directory, follows the
    server, and goes back to the directory when that has something newer. To run a directory of manifests, use weir up.
    Exit code 2: wrong arguments, or an address that is in use.
    """
    access = _access(config_server, token_file, ca_file)
    host, port = address(listen)
    admin_host, admin_port = address(admin)
    log_to_stdout(log)
    gateway = Router(
        host=host,
        port=port,
        admin_host=admin_host,
        admin_port=admin_port,
        grace=grace,
        reviewer=access,
        max_in_flight=max_in_flight,
    )
    run(_serve(gateway, MountedConfig(config_dir, gateway.store), access))


def _access(url: str | None, token_file: Path | None, ca_file: Path | None) -> Access | None:
    """How to reach the config server; None: there is none."""
    if url is None:
        if token_file or ca_file:
            raise fail("--token-file and --ca-file are for a config server: add --config-server.")
        return None
    if not url.startswith(("http://", "https://")):
        raise fail(f"{url!r} is not the URL of a config server, such as https://weir-operator:8443.")
    if token_file is None:
        raise fail("--config-server needs --token-file: the server asks who is there.")
    return Access(url, token_file, ca_file)


async def _serve(gateway: Router, mounted: MountedConfig, access: Access | None) -> None:
    await mounted.look()  # before the ports are open: who starts with a config is ready at once
    await serve(gateway, mounted.run(), *([poll(gateway, access, gateway=True)] if access else []))
